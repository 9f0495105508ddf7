"""The layout of our files, as they are really written: who changes one raises its number in nearid.io.formats.

Describe them anew with `python tests/io/test_formats.py`.
"""

import json
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file
from safetensors.torch import save_file
from transformers import SiglipVisionConfig

from nearid.config.settings.scores import SummariseScores
from nearid.data.schema import DISTRACTORS, IDENTITIES, MTG, POSITIVES
from nearid.heads.map_head import MAPHead
from nearid.io.formats import FORMATS
from nearid.io.tables import IMAGE, write_table
from nearid.layout import Layout
from nearid.scores import mtg, nearid_bench
from nearid.scores.summary import summarise
from nearid.tokens.shard import KEY
from nearid.tokens.writer import write_shard

GOLDEN = Path(__file__).with_name("formats.json")


def describe_tables(folder, **schemas):
    """Columns, compression, rows of a group and the keys of what is told beside them."""
    described = {}
    for name, schema in schemas.items():
        values = {"string": "a", "bool": True, "list<item: int64>": [1, 2]}
        row = {field.name: b"a" if field.type == IMAGE else values.get(str(field.type), 1) for field in schema}
        path = folder / f"{name}.parquet"
        write_table(path, {key: [value] * 65 for key, value in row.items()}, schema)
        file = pq.ParquetFile(path)
        group = file.metadata.row_group(0)
        told = json.loads(file.schema_arrow.metadata[b"huggingface"])["info"]["features"]
        described[name] = {
            "columns": {field.name: str(field.type) for field in file.schema_arrow},
            "compression": group.column(0).compression,
            "rows of a group": group.num_rows,
            "told": {key: feature["_type"] for key, feature in told.items()},
        }
    return described


def describe_tokens(folder):
    keys = np.array([(1, 0, b"full"), (1, 0, b"fg")], KEY)
    origin = {"backbone": "b", "weights_hash": "w", "preprocess_hash": "p", "content_key": "c"}
    write_shard(folder / "000.h5", keys, [np.zeros((2, 3, 4), np.float16)], (3, 4), origin)
    with h5py.File(folder / "000.h5") as file:
        arrays = {name: [str(part.dtype), list(part.shape), part.chunks] for name, part in file.items()}
        return {"arrays": arrays, "attributes": sorted(file.attrs), "format": file.attrs["format"].decode()}


def describe_head(folder):
    path = folder / "head.safetensors"
    config = SiglipVisionConfig(hidden_size=8, num_attention_heads=2, intermediate_size=16)
    save_file(MAPHead(config).state_dict(), path)
    return {name: [str(part.dtype), list(part.shape)] for name, part in sorted(load_file(path).items())}


def describe_metrics(folder):
    layout = Layout(folder)
    rows = [(n, n, "a", condition) for condition in ("full", "fg") for n in range(4)]
    columns = dict(zip(("row", "id", "source", "condition"), zip(*rows, strict=True), strict=True))
    columns |= {name: np.linspace(0, 1, len(rows)) for name in nearid_bench.SCHEMA.names if name not in columns}
    write_table(layout.scores("s", "nearid_bench"), columns, nearid_bench.SCHEMA)
    settings = {"scorer_id": "s", "groups": {"all": ["a"]}, "headline_group": "all", "seed": 0}
    summarise(SummariseScores.parse(settings | {"benchmarks": ["nearid_bench"]}), layout)
    return outline(json.loads(layout.metrics("s").read_text()))


def outline(content):
    if isinstance(content, dict):
        return {key: outline(value) for key, value in content.items()}
    return [outline(content[0])] if isinstance(content, list) and content else type(content).__name__


def describe(folder):
    return {
        "records": describe_tables(folder, positives=POSITIVES, identities=IDENTITIES),
        "part_edits": describe_tables(folder, mtg=MTG),
        "distractors": describe_tables(folder, distractors=DISTRACTORS),
        "tokens": describe_tokens(folder),
        "head": describe_head(folder),
        "scores": describe_tables(folder, nearid_bench=nearid_bench.SCHEMA, mtg=mtg.SCHEMA),
        "metrics": describe_metrics(folder),
    }


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return json.loads(json.dumps(describe(tmp_path_factory.mktemp("formats"))))


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_layout_has_a_new_number(found, name):
    golden = json.loads(GOLDEN.read_text())[name]
    what = "raise its number in src/nearid/io/formats.py, and run `python tests/io/test_formats.py`"
    assert {"number": FORMATS[name], "layout": found[name]} == golden, what


def write_golden():
    known = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        layouts = json.loads(json.dumps(describe(Path(folder))))
    for name, layout in layouts.items():
        old = known.get(name, {"number": 0})
        if old.get("layout", layout) != layout and old["number"] == FORMATS[name]:
            sys.exit(f"{name}: another layout under the number {FORMATS[name]}; raise it in src/nearid/io/formats.py")
    entries = {name: {"number": FORMATS[name], "layout": layout} for name, layout in layouts.items()}
    GOLDEN.write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    write_golden()
