"""A dress rehearsal: every job of a config with the real rules, on small stand-ins of its downloads.

`overlay` derives the sizes, `needs` chooses the stand-in of each download, the modules named after downloads make them,
`run` runs everything in a folder of its own, and `report` says what ran and which cells are empty.
"""
