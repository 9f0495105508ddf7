"""The ground: atomic files, hashes, tables, images, progress and keyed randomness."""
