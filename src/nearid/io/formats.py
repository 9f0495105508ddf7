"""Version numbers of our file formats: increase one when the layout of its files changes.

The code that writes and reads files (`nearid.io`) is not part of a step's fingerprint; the numbers of the formats that
it writes or reads are. Figure data and the manifest need none, since the code that lays them out is part of it.
tests/io/test_formats.py describes the files as they are written.
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
