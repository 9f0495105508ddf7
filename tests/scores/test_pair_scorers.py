"""What all pair scorers share, tested with the judge's stand-in: which pairs are asked, ties, foregrounds, counts."""

import json

import numpy as np
import pytest
from score_steps import score_mtg, score_nearid_bench

from nearid.errors import UserError
from nearid.io.tables import read_table
from nearid.scores.answers import read_counts
from nearid.scores.mtg import PAIRS
from nearid.scores.scorers.colour_histogram import embed_colours


def test_the_stand_in_rates_whole_numbers_of_the_pairs_that_the_protocol_needs(world, tmp_path):
    output = tmp_path / "b.parquet"
    score_nearid_bench(world.settings("j", kind="judge_stand_in"), world.layout, output)
    rows = read_table(output).to_pylist()
    assert len(rows) == 2 * 2 * 5
    for row in rows:
        views = 3 if row["row"] % 2 else 2
        for name in ("sim_01", "sim_02", "sim_12", "cross_00", "cross_11", "cross_22"):
            kind, first, second = name[:-3], int(name[-2]), int(name[-1])
            other = "positives" if kind == "sim" else row["source"]
            known = max(first, second) < views and (other, row["id"], second) != world.empty
            if not known:
                assert np.isnan(row[name])
                continue
            overlap = embed_colours(
                world.images["positives", row["id"], first], world.masks["positives", row["id"], first]
            ) @ embed_colours(world.images[other, row["id"], second], world.masks[other, row["id"], second])
            assert row[name] == pytest.approx(round(10 * float(overlap)) / 10)
        assert all(np.isnan(row[f"cross_{i}{j}"]) for i in range(3) for j in range(3) if i != j)
    lines = [json.loads(line) for line in output.with_suffix(".answers.jsonl").read_text().splitlines()]
    # 11 pairs of views, 13 and 12 of a view and its distractor; masks count in both conditions, so these share a pair.
    assert len(lines) == len({line["key"] for line in lines}) == 36 == read_counts(output)["pairs"]
    assert lines[0]["shown"] == ["positives id 100 slot 0 full", "positives id 100 slot 1 full"]


def test_an_edited_answers_file_is_named(world, tmp_path):
    output = tmp_path / "mtg.parquet"
    score_mtg(world.settings("j", kind="judge_stand_in"), world.layout, output)
    assert np.isfinite(read_table(output)[next(iter(PAIRS))].to_numpy()).all()
    path = output.with_suffix(".answers.jsonl")
    path.write_text("no answer\n" + path.read_text())
    with pytest.raises(UserError, match="no answer") as raised:
        score_mtg(world.settings("j", kind="judge_stand_in"), world.layout, output)
    assert raised.value.where.endswith("mtg.answers.jsonl, line 1")


def test_a_scorer_with_ratings_alone_is_refused_where_it_has_none(world, tmp_path):
    settings = world.settings("r", kind="ratings", ratings=str(tmp_path))
    for score in (score_nearid_bench, score_mtg):
        with pytest.raises(UserError, match=r"benchmarks: \[dreambench\]"):
            score(settings, world.layout, tmp_path / "out.parquet")
