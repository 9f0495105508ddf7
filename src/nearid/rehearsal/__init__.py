"""A dress rehearsal: every job of a config with the real rules, on small stand-ins of its downloads.

`overlay` derives the sizes, `needs` says which stand-in a download gets, modules named after what they stand for make
them, `run` does it all in a folder of its own, `report` tells what ran and what stays empty.
"""
