import numpy as np
import pyarrow as pa
import pytest
from score_steps import score_mtg, score_nearid_bench, summarise

from nearid.errors import UserError
from nearid.io.files import read_json
from nearid.io.tables import write_table
from nearid.layout import Layout
from nearid.margins import directed_margins
from nearid.scores.correlations import oracle_agreement
from nearid.scores.margins import CROSSES, SIMILARITIES, edit_margins, rate
from nearid.scores.mtg import ORACLES, PAIRS
from nearid.scores.mtg import SCHEMA as MTG
from nearid.scores.nearid_bench import SCHEMA

pytestmark = pytest.mark.numerics

IDENTITIES = 60
SOURCES = {"a": 0.0, "b": 0.4, "c": -0.2}  # higher is easier
SETTINGS = {
    "scorer_id": "s",
    "groups": {"train": ["a", "b"], "unseen": ["c"], "all": ["a", "b", "c"]},
    "headline_group": "all",
    "benchmarks": ["nearid_bench", "mtg"],
    "seed": 0,
}


def bench_rows(empty=()):
    rng = np.random.default_rng(0)
    rows = []
    for source, ease in SOURCES.items():
        for condition in ("full", "fg"):
            for row in range(IDENTITIES):
                values = {name: rng.uniform(-1, 1) + ease for name in SIMILARITIES}
                values |= {name: np.nan if source in empty else rng.uniform(-1, 1) for name in CROSSES}
                for name in values:
                    if row % 2 and "2" in name:
                        values[name] = np.nan
                rows.append({"row": row, "id": row, "source": source, "condition": condition, "random": 0.1, **values})
    return rows


def write(layout, rows):
    write_table(
        layout.scores("s", "nearid_bench"), {name: [row[name] for row in rows] for name in SCHEMA.names}, SCHEMA
    )
    rng = np.random.default_rng(1)
    columns = {"sample": list(range(20)) * 2, "condition": ["full"] * 20 + ["fg"] * 20}
    columns |= {name: rng.uniform(size=40) for name in (*PAIRS, *ORACLES)}
    write_table(layout.scores("s", "mtg"), columns, MTG)
    return columns


def columns_of(rows, sources, condition="full"):
    kept = [row for row in rows if row["source"] in sources and row["condition"] == condition]
    return {name: np.array([row[name] for row in kept]) for name in (*SIMILARITIES, *CROSSES)}


def test_metrics_of_sources_groups_and_mtg(tmp_path):
    layout, rows = Layout(tmp_path), bench_rows()
    edits = write(layout, rows)
    summarise(SETTINGS, layout)
    metrics = read_json(layout.metrics("s"))
    full = metrics["nearid_bench"]["full"]
    for name, sources in {**{s: [s] for s in SOURCES}, **SETTINGS["groups"]}.items():
        found = full["sources" if name in SOURCES else "groups"][name]
        expected = rate(directed_margins(columns_of(rows, sources)))
        for value in ("ssr", "ssr_mean", "pa", "pa_table", "n", "trials", "identities"):
            assert found[value] == pytest.approx(getattr(expected, value)), (name, value)
        for value in ("ssr", "ssr_mean", "pa", "pa_table"):
            low, high = found[f"{value}_ci"]
            assert low <= found[value] <= high
    one, all_ = columns_of(rows, ["b"]), columns_of(rows, list(SOURCES))
    assert full["sources"]["b"]["cosine"]["positive"] == pytest.approx(np.nanmean([one[n] for n in SIMILARITIES]))
    assert full["cosine"] == pytest.approx(
        {
            "positive": np.nanmean([all_[name] for name in SIMILARITIES]),
            "distractor": np.nanmean([all_[f"cross_{slot}{slot}"] for slot in range(3)]),
            "random": 0.1,
        }
    )
    part = {name: values[20:] for name, values in edits.items() if name not in ("sample", "condition")}
    found, expected = metrics["mtg"]["fg"], rate(edit_margins(part))
    assert (found["m_o"], found["m_o_pair"]) == pytest.approx(oracle_agreement(part))
    assert (found["mtg_ssr"], found["mtg_pa"], found["n"], found["trials"]) == pytest.approx(
        (expected.ssr, expected.pa, 20, 40)
    )
    assert found["m_o_ci"][0] <= found["m_o"] <= found["m_o_ci"][1]
    gains = metrics["masking"]
    assert gains["ssr"] == pytest.approx(
        metrics["nearid_bench"]["fg"]["groups"]["all"]["ssr"] - full["groups"]["all"]["ssr"]
    )
    assert gains["m_o"] == pytest.approx(found["m_o"] - metrics["mtg"]["full"]["m_o"])
    assert all(gains[f"{name}_ci"][0] < gains[name] < gains[f"{name}_ci"][1] for name in ("ssr", "m_o"))
    assert metrics["m_h"] is None and "not part of this run" in metrics["reasons"]["m_h"]


def test_the_interval_of_a_pool_draws_identities_not_rows(tmp_path):
    # Three equal sources have no more identities than one, so their pool is no more certain.
    rows = bench_rows()
    for row, twin in zip(rows[2 * IDENTITIES :], rows * 2, strict=False):
        row |= {name: twin[name] for name in (*SIMILARITIES, *CROSSES)}
    layout = Layout(tmp_path)
    write(layout, rows)
    summarise(SETTINGS, layout)
    full = read_json(layout.metrics("s"))["nearid_bench"]["full"]
    assert full["groups"]["all"]["ssr_ci"] == pytest.approx(full["sources"]["a"]["ssr_ci"])


def test_a_source_without_scores_is_refused_by_name(tmp_path):
    layout = Layout(tmp_path)
    write(layout, [row for row in bench_rows() if row["source"] != "b"])
    with pytest.raises(UserError, match="source b") as raised:
        summarise(SETTINGS, layout)
    assert "groups.train" in raised.value.where
    assert not layout.metrics("s").exists()


def test_a_source_without_a_valid_identity_is_a_gap_with_its_reason(tmp_path):
    layout = Layout(tmp_path)
    write(layout, bench_rows(empty=("c",)))
    summarise(SETTINGS, layout)
    metrics = read_json(layout.metrics("s"))
    full = metrics["nearid_bench"]["full"]
    assert full["sources"]["c"]["ssr"] is None and full["sources"]["c"]["identities"] == IDENTITIES
    assert full["groups"]["all"]["ssr"] is None and full["groups"]["all"]["n"] == 0
    assert full["groups"]["train"]["ssr"] is not None
    assert "c" in metrics["reasons"]["nearid_bench.full.groups.all"]


def test_what_is_not_selected_is_null_with_its_reason(tmp_path):
    layout = Layout(tmp_path)
    write(layout, bench_rows())
    summarise(SETTINGS | {"benchmarks": ["nearid_bench"]}, layout)
    metrics = read_json(layout.metrics("s"))
    assert metrics["mtg"] is None and "not part of this run" in metrics["reasons"]["mtg"]


def test_a_missing_or_foreign_scores_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nearid_bench\.parquet"):
        summarise(SETTINGS, Layout(tmp_path))
    schema = pa.schema([("row", pa.int64())])
    write_table(Layout(tmp_path).scores("s", "nearid_bench"), {"row": [1]}, schema)
    with pytest.raises(UserError, match="cross_00"):
        summarise(SETTINGS, Layout(tmp_path))


def test_end_to_end_twice_the_same_bytes(world):
    layout = world.layout
    metrics = []
    for _ in range(2):
        score_nearid_bench(world.settings(), layout, layout.scores("mean", "nearid_bench"))
        score_mtg(world.settings(), layout, layout.scores("mean", "mtg"))
        groups = {"all": list(world.sources)}
        summarise(SETTINGS | {"scorer_id": "mean", "groups": groups}, layout)
        metrics.append(layout.metrics("mean").read_bytes())
    assert metrics[0] == metrics[1]
    bench = read_json(layout.metrics("mean"))["nearid_bench"]["full"]
    # 5 test identities, 3 of them with three views; one distractor is missing, and with it two margins.
    assert bench["sources"]["sibling"]["trials"] == 3 * 6 + 2 * 2
    assert bench["sources"]["cut_paste"]["trials"] == 3 * 6 + 2 * 2 - 2
