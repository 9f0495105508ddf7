"""`nearid paper verify` on a small made-up run: it passes as written, and one edited byte names its file."""

import copy
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nearid.config import load, step_settings
from nearid.config.settings.paper import CompareWithPaper, MakeTable, WriteManifest, WriteSummary
from nearid.config.settings.scores import SummariseScores
from nearid.errors import UserError
from nearid.io.files import read_json, write_json, write_text
from nearid.io.hashing import hash_file
from nearid.io.tables import write_table as write_parquet
from nearid.layout import Layout
from nearid.paper.comparison import write_comparison
from nearid.paper.crate import write_crate
from nearid.paper.formats import write_table
from nearid.paper.manifest import seal, write_manifest
from nearid.paper.summary import write_summary
from nearid.paper.tables import build_table
from nearid.paper.verification import verify
from nearid.scores import mtg, nearid_bench
from nearid.scores.summary import summarise

SCORERS = ["siglip2", "nearid"]


def small_config():
    config = copy.deepcopy(load("config/demo.yaml"))
    config["select"] |= {"scorers": SCORERS, "tables": ["table1", "table7"], "figures": [], "ablations": []}
    config["select"]["benchmarks"] = ["nearid_bench", "mtg"]
    config["paper"]["tables"] = {name: {"scorers": SCORERS} for name in ("table1", "table7")}
    return config


def columns_of(schema: pa.Schema, count: int, seed: int) -> dict:
    random = np.random.default_rng(seed)
    return {field.name: random.uniform(0, 1, count) for field in schema if field.type == pa.float64()}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Layout:
    config, layout = small_config(), Layout(tmp_path_factory.mktemp("made") / "demo")
    cases = [
        (source, condition, row)
        for source in config["select"]["sources"]
        for condition in ("full", "fg")
        for row in range(6)
    ]
    for seed, scorer in enumerate(SCORERS):
        sources, conditions, rows = zip(*cases, strict=True)
        bench = {"row": rows, "id": rows, "source": sources, "condition": conditions}
        bench |= columns_of(nearid_bench.SCHEMA, len(cases), seed)
        write_parquet(layout.scores(scorer, "nearid_bench"), bench, nearid_bench.SCHEMA)
        edits = {"sample": [*range(6)] * 2, "condition": ["full"] * 6 + ["fg"] * 6} | columns_of(mtg.SCHEMA, 12, seed)
        write_parquet(layout.scores(scorer, "mtg"), edits, mtg.SCHEMA)
        summarise(SummariseScores.parse(step_settings("summarise_scores", config, scorer=scorer)), layout)
    for table in config["select"]["tables"]:
        write_table(build_table(MakeTable.parse(step_settings("make_table", config, table=table)), layout), layout)
    write_comparison(CompareWithPaper.parse(step_settings("compare_with_paper", config)), layout)
    write_summary(WriteSummary.parse(step_settings("write_summary", config)), layout)
    for path in (layout.paper("index.html"), layout.identities, layout.splits, layout.dropped):
        write_text(path, "made\n")
    write_manifest(WriteManifest.parse({"config": config}), layout)
    write_crate(layout, Path("workflow"))
    (layout.paper("workflow") / ".snakemake_timestamp").touch()  # as Snakemake leaves it
    return layout


@pytest.fixture
def run(made, tmp_path) -> Layout:
    shutil.copytree(made.root, tmp_path / "demo")
    return Layout(tmp_path / "demo")


def test_a_run_as_it_was_made_is_right(run):
    said = verify(run)
    assert "2 tables" in said[1] and "2 scorers" in said[1]


def files_of(layout):
    return sorted(str(path.relative_to(layout.root)) for path in layout.root.rglob("*") if path.is_file())


def test_one_edited_byte_names_its_file(run):
    names = files_of(run)
    made = {"paper/manifest.json", "paper/provenance.js", "paper/tables/table7.tex", "ro-crate-metadata.json"}
    assert made <= set(names)
    for name in names:
        path = run.root / name
        whole = path.read_bytes()
        if path.name == ".snakemake_timestamp":
            continue
        for place in (0, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(UserError) as caught:
                verify(run)
            told = caught.value.found if "manifest" not in name else caught.value.where
            assert name in told
            assert told.count("\n") <= 1, "other files are blamed too"
        path.write_bytes(whole)


def test_a_missing_file_is_named(run):
    run.table("table1", "md").unlink()
    with pytest.raises(UserError, match=r"table1\.md: is missing"):
        verify(run)


def test_a_table_that_does_not_follow_from_the_scores_is_named_though_its_hash_is_right(run):
    path = run.table("table7", "csv")
    path.write_text(path.read_text().replace("NearID", "NearlD"))
    manifest = read_json(run.paper("manifest.json"))
    manifest["result"]["artifacts"]["paper/tables/table7.csv"] = hash_file(path)
    write_json(run.paper("manifest.json"), seal(**manifest))
    write_crate(run, Path("workflow"))
    with pytest.raises(UserError, match=r"table7\.csv: does not follow"):
        verify(run)


def test_the_crate_is_one_that_the_library_reads_and_joins_inputs_to_artifacts(run):
    from rocrate.rocrate import ROCrate

    crate = ROCrate(run.root)
    assert crate.mainEntity.id == "paper/workflow/Snakefile"
    (done,) = crate.root_dataset["mentions"]
    assert done["instrument"] is crate.mainEntity
    results = {entity.id: entity["sha256"] for entity in done["result"]}
    assert results["paper/tables/table7.csv"] == hash_file(run.table("table7", "csv"))
    assert "scores/nearid/nearid_bench.parquet" in {entity.id for entity in done["object"]}
    assert all((run.root / entity.id).is_file() for entity in (*done["object"], *done["result"]))


@pytest.mark.parametrize("name", ["../../out", "/tmp/out", "a/b"])
def test_ids_of_a_manifest_from_elsewhere_write_nothing(made, tmp_path, name):
    """Anybody can seal a manifest: its ids are checked by the schema before they name a file."""
    layout = Layout(tmp_path / "run" / "demo")
    shutil.copytree(made.root, layout.root)
    path = layout.paper("manifest.json")
    manifest = read_json(path)
    manifest["result"]["config"]["select"]["scorers"] = [name]
    write_json(path, seal(manifest["result"], manifest["run"]))
    with pytest.raises(UserError, match="key select"):
        verify(layout)


def test_artifacts_of_a_manifest_lie_in_its_run(made, tmp_path):
    layout = Layout(tmp_path / "run" / "demo")
    shutil.copytree(made.root, layout.root)
    path = layout.paper("manifest.json")
    manifest = read_json(path)
    manifest["result"]["artifacts"]["../../secret"] = "0" * 64
    write_json(path, seal(manifest["result"], manifest["run"]))
    with pytest.raises(UserError, match="secret"):
        verify(layout)
