"""Damaged images that extraction left out: they are NaN in the scores, and the counts show it."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from score_steps import score_mtg, score_nearid_bench, summarise

from nearid.errors import UserError
from nearid.io.tables import read_table, write_table
from nearid.tokens.collections import open_collection
from nearid.tokens.extraction import extract

pytestmark = pytest.mark.numerics


@pytest.fixture
def backbone():
    weights = torch.randn(63, 64, generator=torch.Generator().manual_seed(0))
    return SimpleNamespace(
        **{"weights_hash": "w", "preprocess_hash": "p", "batch_size": 4, "token_shape": (4, 16)},
        preprocess=lambda images: torch.from_numpy(np.stack(list(images))).float().mean(-1).flatten(1) / 255,
        encode=lambda pixels: (pixels @ weights).unflatten(1, (4, 16)),
    )


def damage(path, column, id):
    table = read_table(path)
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    for name, values in columns.items():
        if values and any(isinstance(value, dict) and "bytes" in value for value in values):
            columns[name] = [value and value["bytes"] for value in values]
    row = columns["id"].index(id)
    columns[column][row] = columns[column][row][:40]
    write_table(path, columns, table.schema)


def test_gaps_are_nan_and_counted(world, backbone, tmp_path):
    layout = world.layout
    damage(layout.positives("001"), "images2", 105)
    damage(layout.distractors("sibling", "000"), "nimg1", 102)
    damage(layout.mtg("test"), "image_1_inpainted", 2)
    for collection, shard in [(name, shard) for name in ("positives", *world.sources) for shard in ("000", "001")] + [
        ("mtg_test", "000")
    ]:
        pictures, inputs = open_collection(layout, collection, shard, ["test"])
        target = layout.tokens("tiny", collection, shard)
        extract(backbone, "tiny", pictures, inputs, target, leave_gaps=True)
    score_nearid_bench(world.settings(), layout, layout.scores("mean", "nearid_bench"))
    score_mtg(world.settings(), layout, layout.scores("mean", "mtg"))
    for row in pq.read_table(layout.scores("mean", "nearid_bench")).to_pylist():
        gone = {"sim_01", "sim_12", "cross_10", "cross_11", "cross_12"} if row["id"] == 105 else set()
        if (row["source"], row["id"]) == ("sibling", 102):
            gone = {"cross_00", "cross_10", "cross_20"}
        views = next(identity["n_images"] for identity in world.identities if identity["id"] == row["id"])
        there = {f"sim_{i}{j}" for i, j in ((0, 1), (0, 2), (1, 2)) if j < views}
        there |= {f"cross_{i}{j}" for i in range(views) for j in range(views)}
        if (row["source"], row["id"]) == ("cut_paste", 103):
            there -= {f"cross_{i}1" for i in range(3)}
        assert {name for name in row if "_" in name and isinstance(row[name], float) and np.isfinite(row[name])} == (
            there - gone
        )
    edits = [row for row in pq.read_table(layout.scores("mean", "mtg")).to_pylist() if row["sample"] == 2]
    for row in edits:
        assert np.isnan([row["s_11e"], row["s_21e"]]).all() and np.isfinite([row["s_12"], row["s_22e"]]).all()
    groups = {"groups": {"all": list(world.sources)}, "headline_group": "all", "seed": 0}
    summarise({"scorer_id": "mean", "benchmarks": ["nearid_bench", "mtg"], **groups}, layout)
    metrics = json.loads(layout.metrics("mean").read_text())
    # Six directions of three views, two of two: 100, 102 have two, 103, 105, 107 three. 105 keeps its pair (0, 2).
    counts = metrics["nearid_bench"]["full"]["sources"]
    assert (counts["sibling"]["trials"], counts["sibling"]["n"], counts["sibling"]["identities"]) == (
        2 + 1 + 6 + 2 + 6,
        5,
        5,
    )
    assert counts["cut_paste"]["trials"] == 2 + 2 + 4 + 2 + 6
    assert (metrics["mtg"]["full"]["trials"], metrics["mtg"]["full"]["identities"]) == (9, 5)


def test_scorers_that_look_at_images_themselves_name_the_damaged_one(world, tmp_path):
    damage(world.layout.positives("001"), "images2", 105)
    settings = world.settings("colours", kind="colour_histogram")
    del settings["backbone_id"], settings["backbone"]
    with pytest.raises(UserError, match=r"id 105, slot 1"):
        score_nearid_bench(settings, world.layout, tmp_path / "out.parquet")
