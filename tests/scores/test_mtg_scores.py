import numpy as np
import pyarrow.parquet as pq
import pytest
from score_steps import score_mtg

from nearid.scores.mtg import grade_edits

pytestmark = pytest.mark.numerics


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def test_similarities_and_oracles(world, tmp_path):
    score_mtg(world.settings(), world.layout, tmp_path / "mtg.parquet")
    rows = pq.read_table(tmp_path / "mtg.parquet").to_pylist()
    assert [(row["condition"], row["sample"]) for row in rows] == [(c, n) for c in ("full", "fg") for n in range(5)]
    for row in rows:
        original1, original2, edited1, edited2 = (
            world.tokens["mtg_test", row["sample"], slot, row["condition"]].astype(float).mean(axis=0)
            for slot in range(4)
        )
        expected = {
            "s_12": cosine(original1, original2),
            "s_11e": cosine(original1, edited1),
            "s_22e": cosine(original2, edited2),
            "s_12e": cosine(original1, edited2),
            "s_21e": cosine(original2, edited1),
        }
        for view in (1, 2):
            whole = world.masks["mtg_test", row["sample"], view - 1]
            part = whole.ravel()[: 5 * (row["sample"] + view)].sum()
            expected[f"oracle_{view}"] = 1 - part / whole.sum()
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-5)


def test_colours_are_those_inside_the_object_masks(world, tmp_path):
    score_mtg(world.settings("colours", kind="colour_histogram"), world.layout, tmp_path / "mtg.parquet")
    row = pq.read_table(tmp_path / "mtg.parquet").to_pylist()[3]

    def histogram(slot):
        pixels = world.images["mtg_test", 3, slot][world.masks["mtg_test", 3, slot]]
        counts, _ = np.histogramdd(pixels, bins=[np.arange(7) * 256 / 6] * 3)
        return np.sqrt(counts / counts.sum()).ravel()

    assert row["s_21e"] == pytest.approx(histogram(1) @ histogram(2), abs=1e-6)


def test_a_missing_mask_or_empty_object_is_a_whole_edit_and_nothing_is_clipped():
    part, whole = np.array([25, -1, 10, 0, 30]), np.array([100, 50, 0, 40, 20])
    assert grade_edits(part, whole) == pytest.approx([0.75, 0, 0, 1, -0.5])
