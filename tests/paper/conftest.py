from pathlib import Path

import numpy as np
import pytest
from paper_run import RUN, SSR, identities, write_scores

from nearid.data.schema import DISTRACTORS, IDENTITIES, POSITIVES
from nearid.io.files import write_text
from nearid.io.images import encode_png
from nearid.io.tables import write_table
from nearid.layout import Layout
from nearid.scores.nearid_bench import SCHEMA

SPLITS = ["train"] * 4 + ["val"] * 10 + ["test"] * 6


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A results folder with data lists and scores, without images and tokens."""
    layout = Layout(tmp_path / "results" / "tiny")
    write_scores(layout, SSR)
    count = len(SPLITS)
    columns = {
        "row": range(count),
        "id": [100 + row for row in range(count)],
        "shard": ["000" if row < 12 else "001" for row in range(count)],
        "shard_row": [row if row < 12 else row - 12 for row in range(count)],
        "split": SPLITS,
        "class_name": ["mug"] * count,
        "category_description": ["a mug"] * count,
        "n_images": [3 if row % 2 else 2 for row in range(count)],
        "name": [f"mug {row}" for row in range(count)],
    }
    write_table(layout.identities, columns, IDENTITIES)
    write_text(layout.dropped, "name\tview\treason\ncup <script>alert(1)</script>\tview1.jpg\tno readable image\n")
    return layout


@pytest.fixture
def with_images(layout):
    """Uniform images whose grey level identifies them, and scores; the third source has no distractor in slot 1."""
    random = np.random.default_rng(1)
    for shard in ("000", "001"):
        rows = [row for row in identities(layout) if row["shard"] == shard]
        for path, schema, name in [
            (layout.positives(shard), POSITIVES, "images"),
            *((layout.distractors(source["id"], shard), DISTRACTORS, "nimg") for source in RUN["sources"]),
        ]:
            columns = {field.name: [None] * len(rows) for field in schema} | {"id": [row["id"] for row in rows]}
            grey = 40 if name == "images" else 200
            for slot in range(3):
                columns[f"{name}{slot + 1}"] = [
                    encode_png(np.full((8, 12, 3), grey + slot, np.uint8))
                    if slot < row["n_images"] and "cut_paste" not in str(path)
                    else None
                    for row in rows
                ]
                if "flag1" in columns:
                    columns[f"flag{slot + 1}"] = [
                        None if slot >= row["n_images"] else "no_donor" if "cut_paste" in str(path) else "ok"
                        for row in rows
                    ]
            write_table(path, columns, schema)
    test = [row for row in identities(layout) if row["split"] == "test"]
    for scorer in RUN["scorers"]:
        keys = [(row, source["id"]) for source in RUN["sources"] for row in test]
        columns = {name: random.uniform(size=len(keys)) for name in SCHEMA.names}
        columns["sim_02"] = [
            np.nan if row["n_images"] < 3 else value for (row, _), value in zip(keys, columns["sim_02"], strict=True)
        ]
        columns |= {
            "row": [row["row"] for row, _ in keys],
            "id": [row["id"] for row, _ in keys],
            "source": [source for _, source in keys],
            "condition": ["full"] * len(keys),
        }
        write_table(layout.scores(scorer["id"], "nearid_bench"), columns, SCHEMA)
