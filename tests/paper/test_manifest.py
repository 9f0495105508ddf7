"""The manifest: equal runs agree except in their `run` part."""

from pathlib import Path

import pytest
from paper_run import GROUPS, PAGE, SCORERS, TABLES

from nearid.config.settings.paper import WriteManifest
from nearid.io.files import read_json, write_json, write_text
from nearid.io.hashing import hash_file
from nearid.paper import manifest
from nearid.paper.crate import write_crate
from nearid.paper.formats import write_table
from nearid.paper.page import write_page
from nearid.paper.tables import build_table

CONFIG = {
    "name": "tiny",
    "seed": 4,
    "groups": GROUPS,
    "ablations": {"nearid": {}, "infonce": {"seed": 7}},
    "scorers": {scorer["id"]: {"benchmarks": [], "lacks": {}} for scorer in SCORERS},
    "select": {
        "sources": [],
        "ablations": ["nearid", "infonce"],
        "scorers": [scorer["id"] for scorer in SCORERS],
        "benchmarks": ["nearid_bench"],
        "tables": ["table1"],
        "figures": ["figure5"],
    },
    "dataset": {"shards": 1},
    "paper": {"figures": {"figure5": {"animate": True, "seed": 11, "needs": ["tokens"]}}},
}


@pytest.fixture
def written(layout, monkeypatch):
    write_table(build_table(TABLES["table1"], layout), layout)
    write_json(layout.head_file("nearid", "provenance.json"), {"seconds": 5})

    def write():
        manifest.write_manifest(WriteManifest(config=CONFIG), layout)
        return read_json(layout.paper("manifest.json"))

    return write


def test_result_repeats_and_run_tells_of_this_run(written, monkeypatch):
    first = written()
    monkeypatch.setattr(manifest, "describe_machine", lambda: {"processor": "another"})
    second = written()
    assert first["result"] == second["result"]
    assert first["run"]["machine"] != second["run"]["machine"]
    assert first["run"]["heads"] == {"nearid": {"seconds": 5}, "infonce": None}


def test_what_was_accepted_stands_in_the_manifest_and_on_the_page(written, layout):
    assert written()["result"]["accepted"] == []
    told = [{"step": "train_head", "code": "a", "stands_for": "b", "why": "other words", "when": "today"}]
    write_json(layout.root / "accepted.json", {"accepted": told})
    assert written()["result"]["accepted"] == told
    assert "other words" in layout.paper("provenance.js").read_text()


def test_a_judge_s_key_is_in_no_file(written, layout, monkeypatch):
    secret = "sk-not-to-be-seen-5678"
    monkeypatch.setenv("OPENAI_API_KEY", secret)
    monkeypatch.setenv("JUDGE_KEY", secret)
    judge = {"kind": "vlm_judge", "endpoint": "http://node:8000/v1", "api_key_env": "JUDGE_API_KEY"}
    judge |= {"benchmarks": [], "lacks": {}}
    monkeypatch.setitem(CONFIG["scorers"], "colour_histogram", judge)
    assert written()["result"]["config"]["scorers"]["colour_histogram"]["api_key_env"] == "JUDGE_API_KEY"
    write_page(PAGE, layout)
    write_crate(layout, Path("workflow"))
    files = [path for path in layout.root.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert not [path for path in files if secret.encode() in path.read_bytes()]


def test_costs_are_summed_by_rule(written, layout):
    for rule, name in (("train_head", "nearid"), ("train_head", "infonce"), ("check", "all")):
        write_text(layout.benchmark("heads", rule, name), "s\tcpu_time\tmax_rss\n2.0\tNA\t100.0\n")
    costs = {cost["rule"]: (cost["jobs"], cost["seconds"], cost["peak_mb"]) for cost in written()["run"]["costs"]}
    assert costs == {"train_head": (2, 4.0, 100), "check": (1, 2.0, 100)}


def test_every_artifact_and_input_is_hashed(written, layout):
    result = written()["result"]
    assert result["artifacts"]["paper/tables/table1.csv"] == hash_file(layout.table("table1", "csv"))
    assert result["artifacts"]["paper/figures/figure5.gif"] is None  # declared but not made, which is visible
    assert result["inputs"]["scores/infonce/metrics.json"] == hash_file(layout.metrics("infonce"))
    assert "scores/nearid/nearid_bench.parquet" in result["inputs"]
    assert "heads/nearid/head.safetensors" in result["inputs"]
    write_json(layout.metrics("infonce"), {})
    assert written()["result"]["inputs"] != result["inputs"]


def test_seeds_versions_and_code(written):
    result = written()["result"]
    assert result["seeds"] == {"data": 4, "heads": {"nearid": 4, "infonce": 7}, "figures": {"figure5": 11}}
    assert result["versions"]["torch"] and result["versions"]["python"].startswith("3.")
    assert set(result["code"]) == {"commit", "changed"}
