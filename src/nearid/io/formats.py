"""The number of each file format of ours: raise it where the layout of a file changes.

How files are written and read (`nearid.io`) is not part of a step's fingerprint; these numbers are, of the steps that
write or read a format. Arrays of figures and the manifest need none: the code that lays them out is part of it.
tests/io/test_formats.py describes the files as they are really written.
"""

FORMATS = {
    "records": 1,  # data/positives/*.parquet, data/identities.parquet, data/splits.json
    "part_edits": 1,  # data/mtg/*.parquet
    "distractors": 1,  # distractors/<source>/*.parquet
    "tokens": 1,  # tokens/<backbone>/<collection>/*.h5
    "head": 1,  # heads/<ablation>/head.safetensors and config.json
    "scores": 1,  # scores/<scorer>/*.parquet
    "metrics": 2,  # scores/<scorer>/metrics.json
}
