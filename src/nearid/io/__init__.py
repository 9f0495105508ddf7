"""The lowest level: atomic files, hashes, tables, images, progress and keyed randomness."""
