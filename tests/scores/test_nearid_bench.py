import numpy as np
import pyarrow.parquet as pq
import pytest
from score_steps import score_nearid_bench

from nearid.data.schema import DISTRACTORS
from nearid.errors import UserError
from nearid.io.tables import read_table, write_table
from nearid.scores.nearid_bench import SCHEMA

pytestmark = pytest.mark.numerics


def cosine(a, b):
    return float(np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b))


def test_similarities_equal_a_slow_loop_over_tokens(world, tmp_path):
    score_nearid_bench(world.settings(), world.layout, tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    test = [identity for identity in world.identities if identity["split"] == "test"]
    assert [(row["source"], row["condition"], row["row"], row["id"]) for row in rows] == [
        (source, condition, identity["row"], identity["id"])
        for source in world.sources
        for condition in world.conditions
        for identity in test
    ]
    means = {key: tokens.astype(np.float64).mean(axis=0) for key, tokens in world.tokens.items()}
    for row in rows:

        def similarity(i, collection, j, other=row["id"], row=row):
            first = means.get(("positives", row["id"], i, row["condition"]))
            second = means.get((collection, other, j, row["condition"]))
            return np.nan if first is None or second is None else cosine(first, second)

        expected = {f"sim_{i}{j}": similarity(i, "positives", j) for i, j in ((0, 1), (0, 2), (1, 2))}
        expected |= {f"cross_{i}{j}": similarity(i, row["source"], j) for i in range(3) for j in range(3)}
        others = [identity["id"] for identity in test if identity["id"] != row["id"]]
        expected["random"] = np.mean([similarity(0, "positives", 0, other) for other in others])
        assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-5, nan_ok=True)
    source, id, slot = world.empty
    (gap,) = (row for row in rows if (row["source"], row["id"], row["condition"]) == (source, id, "full"))
    assert np.isnan([gap[f"cross_{i}{slot}"] for i in range(3)]).all()
    assert not np.isnan([gap["cross_00"], gap["cross_22"], gap["sim_01"]]).any()


def test_same_input_same_bytes(world, tmp_path):
    for name in "ab":
        score_nearid_bench(world.settings(), world.layout, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_validation_split_is_scored_the_same_way(world, tmp_path):
    score_nearid_bench(world.settings() | {"split": "val"}, world.layout, tmp_path / "val.parquet")
    table = read_table(tmp_path / "val.parquet")
    assert table.schema.names == SCHEMA.names
    assert set(table["id"].to_pylist()) == {101, 106}


def test_a_colour_histogram_needs_no_tokens_and_sees_the_mask_only(world, tmp_path):
    settings = world.settings("colours", kind="colour_histogram")
    del settings["backbone_id"], settings["backbone"]
    score_nearid_bench(settings, world.layout, tmp_path / "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()

    def histogram(collection, id, slot):
        counts = np.zeros((6, 6, 6))
        pixels = world.images[collection, id, slot]
        for y, x in np.argwhere(world.masks[collection, id, slot]):
            counts[tuple(int(level) * 6 // 256 for level in pixels[y, x])] += 1
        return np.sqrt(counts / counts.sum()).ravel()

    row = next(row for row in rows if row["id"] == 105 and row["source"] == "cut_paste")
    assert row["sim_02"] == pytest.approx(histogram("positives", 105, 0) @ histogram("positives", 105, 2), abs=1e-6)
    assert row["cross_11"] == pytest.approx(histogram("positives", 105, 1) @ histogram("cut_paste", 105, 1), abs=1e-6)
    half = len(rows) // 4
    for name in ("sim_01", "cross_00", "cross_21"):
        full, fg = ([row[name] for row in rows[part * half : (part + 1) * half]] for part in (0, 1))
        assert full == pytest.approx(fg, nan_ok=True)


def test_missing_tokens_are_named(world, tmp_path):
    world.write_tokens("sibling", "001", without={(105, 2, "fg")})
    with pytest.raises(UserError, match=r"id 105, slot 2, variant 'fg'") as raised:
        score_nearid_bench(world.settings(), world.layout, tmp_path / "out.parquet")
    assert "sibling" in str(raised.value)
    assert not (tmp_path / "out.parquet").exists()


def test_missing_distractors_are_named(world, tmp_path):
    world.layout.distractors("cut_paste", "001").unlink()
    with pytest.raises(UserError, match=r"cut_paste/001\.parquet"):
        score_nearid_bench(world.settings(), world.layout, tmp_path / "out.parquet")


def test_distractors_of_other_identities_are_refused(world, tmp_path):
    path = world.layout.distractors("sibling", "000")
    rows = read_table(path).to_pylist()[::-1]
    columns = {name: [row[name] for row in rows] for name in DISTRACTORS.names}
    for slot in (1, 2, 3):
        columns[f"nimg{slot}"] = [value and value["bytes"] for value in columns[f"nimg{slot}"]]
    write_table(path, columns, DISTRACTORS)
    with pytest.raises(UserError, match="other identities"):
        score_nearid_bench(world.settings(), world.layout, tmp_path / "out.parquet")


def test_an_empty_split_and_an_unknown_readout_are_refused(world, tmp_path):
    with pytest.raises(UserError, match="'dev'"):
        score_nearid_bench(world.settings() | {"split": "dev"}, world.layout, tmp_path / "out.parquet")
    with pytest.raises(UserError, match=r"scorer\.readout"):
        score_nearid_bench(world.settings("odd", kind="encoder", readout="cls"), world.layout, tmp_path / "out.parquet")


def test_embeddings_that_are_not_finite_are_named(world, tmp_path):
    world.tokens["positives", 102, 1, "full"][:] = np.inf
    world.write_tokens("positives", "000")
    with pytest.raises(UserError, match=r"id=102, slot=1"):
        score_nearid_bench(world.settings(), world.layout, tmp_path / "out.parquet")
