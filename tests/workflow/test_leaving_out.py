"""Leaving out by one word; and missing inputs: one list before the first job, or gaps that say why."""

import contextlib
import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nearid.config import check_missing, check_paths, check_sizes, complete, leave_out_missing, load, step_settings
from nearid.config.inputs import missing_paths
from nearid.config.loading import settle
from nearid.config.missing import find_missing
from nearid.config.uses import find_uses
from nearid.errors import UserError
from nearid.layout import Layout
from nearid.workflow.graph import Graph
from nearid.workflow.jobs import Jobs

ROOT = Path(__file__).resolve().parents[2]
OVERLAYS = {
    "paper": [],
    "released": ["config/released.yaml"],
    "calibrate": ["config/released.yaml", "config/calibrate.yaml"],
    "ratings": ["config/ratings.yaml"],
}


@pytest.fixture(autouse=True)
def in_root(monkeypatch):
    monkeypatch.chdir(ROOT)


with contextlib.chdir(ROOT):
    CONFIGS = {name: load(*overlays) for name, overlays in OVERLAYS.items()}
DOWNLOADS = [(name, use) for name, config in CONFIGS.items() for use in sorted({u.download for u in find_uses(config)})]


def without(name, download, tmp_path):
    """A config with all downloads in a mirror except one."""
    config = copy.deepcopy(CONFIGS[name])
    for use in find_uses(config):
        if use.download != download:
            (tmp_path / "mirror" / use.download).mkdir(parents=True, exist_ok=True)
    config["mirror"] = "mirror"
    return config


@pytest.mark.parametrize(("name", "download"), DOWNLOADS, ids=[f"{name}-{use}" for name, use in DOWNLOADS])
def test_each_missing_download_stops_the_run_by_name_or_becomes_a_gap(name, download, tmp_path):
    config = without(name, download, tmp_path)
    with pytest.raises(UserError) as error:
        check_missing(config, tmp_path)
    assert f"{download}: no " in error.value.found and "copy its files" in error.value.found
    assert "select: {drop:" in error.value.action and "on_missing: gap" in error.value.action
    before = {kind: len(config["select"][kind]) for kind in ("scorers", "sources", "tables", "figures")}
    try:
        leave_out_missing(config, tmp_path)
    except UserError as error:
        assert name == "ratings" and "nothing is left to score" in error.found
        return
    assert find_missing(config, tmp_path) == []
    left = {kind: len(config["select"][kind]) for kind in before}
    assert left != before or any(scorer["lacks"] for scorer in config["scorers"].values())
    page = step_settings("make_page", config)
    assert any(download in reason for reason in page["gaps"].values())
    jobs = Jobs(config, Layout(tmp_path / "results")).all()
    assert "make_page" in {job.rule for job in jobs} and download not in {job.name for job in jobs}


def fetched(config, tmp_path):
    """Downloads that the workflow would fetch."""
    jobs = Graph(config, Layout(tmp_path / "results")).jobs()
    return {job.ids["download"] for job in jobs if job.step.name == "fetch_download"}


@pytest.mark.parametrize("name", ["calibrate", "ratings"])
def test_what_is_looked_for_is_what_the_workflow_fetches(name, tmp_path):
    assert fetched(CONFIGS[name], tmp_path) == {use.download for use in find_uses(CONFIGS[name])}


def test_a_run_without_part_edits_does_not_fetch_them(tmp_path):
    """Curation knows their place in its settings, but does not read them."""
    config = without("calibrate", "mtg", tmp_path)
    leave_out_missing(config, tmp_path)
    assert "nearid" in fetched(config, tmp_path) and "mtg" not in fetched(config, tmp_path)


def test_everything_missing_is_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    config = copy.deepcopy(CONFIGS["paper"])
    config["scorers"]["vsm"]["package"] = "third_party/vsm"
    with pytest.raises(UserError) as error:
        check_missing(config, tmp_path)
    found = error.value.found
    assert "4 things" in found
    for part in (
        "third_party/vsm: no third_party/vsm",
        "flux_fill: its licence",
        "flux_canny: its licence",
        "HF_TOKEN",
    ):
        assert part in found
    assert "dreambench_samples: nothing in" in found and "README, section Data" in found
    monkeypatch.setenv("HF_TOKEN", "mine")
    assert [one.name for one in find_missing(config, tmp_path)] == ["third_party/vsm", "dreambench_samples"]


def test_a_download_that_lost_a_file_is_told_before_the_first_job(tmp_path):
    config = without("ratings", "", tmp_path)
    folder = tmp_path / "resources/dreambench_ratings"
    folder.mkdir(parents=True)
    (folder / "fetched.json").write_text('{"files": {"a.json": {"size": 3, "sha256": ""}}}')
    with pytest.raises(UserError, match=r"a\.json: missing"):
        check_missing(config, tmp_path)


def test_models_of_the_hub_are_left_to_the_jobs_that_load_them():
    """As in `missing_paths`; a path that is no id of the hub is reported."""
    config = load("config/demo.yaml")
    backbone = config["backbones"]["demo_siglip"]
    backbone["path"] = "someone/encoder"
    assert find_missing(config) == [] and missing_paths(config) == {}
    backbone["path"] = "models/of/mine"
    assert [one.name for one in find_missing(config)] == ["models/of/mine"]


def test_paths_that_are_not_there_are_one_list_with_the_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    config = copy.deepcopy(CONFIGS["ratings"])
    config["mirror"] = "mirror"
    config["scorers"]["nearid_rated"]["ratings"] = "lost/ratings"
    config["scorers"]["gpt4o"]["ratings"] = "gone"
    gone = missing_paths(config)
    with pytest.raises(UserError) as error:
        check_missing(config, tmp_path, gone=gone | {"scorers.x.prompt": "words.txt"})
    assert "4 things" in error.value.found
    for part in ("dreambench_ratings: no ", "lost/ratings: no ", "gone: no ", "scorers.x.prompt", "words.txt"):
        assert error.value.found.count(part) == 1, part
    with pytest.raises(UserError, match="2 paths that are not there") as error:
        check_paths(config)
    assert "'lost/ratings'" in error.value.found and "'gone'" in error.value.found


@pytest.mark.parametrize(
    ("splits", "told"),
    [
        ({"val": 0, "test": 100}, "val 0, and figure5 shows identities of val"),
        ({"val": 500, "test": 300}, "val 500 and test 300, of at most 700 identities"),
        ({"val": 40, "test": 0}, "test 0, and contact_sheets shows identities of test"),
        ({"val": 40, "test": "all"}, "leave nothing to train infonce"),
    ],
)
def test_splits_heads_and_figures_fit_together_before_the_first_job(splits, told):
    config = load("config/demo.yaml")
    check_sizes(config)
    config["dataset"]["splits"] = splits
    config["dataset"]["rendered"]["identities"] = 700
    with pytest.raises(UserError) as error:
        check_sizes(config)
    assert told in error.value.found


def dropped(words, name="paper"):
    config = copy.deepcopy(CONFIGS[name])
    config["select"]["drop"] = words
    settle(config)
    return config


def test_one_word_leaves_a_scorer_out_of_everything():
    config = dropped(["vsm", "gpt4o"])
    tables = [step_settings("make_table", config, table=name) for name in config["select"]["tables"]]
    pages = [step_settings(step, config) for step in ("make_page", "compare_with_paper", "write_summary")]
    figures = [step_settings("compute_figure", config, figure=name) for name in config["select"]["figures"]]
    for settings in (*tables, *(page.get("run", {}) for page in pages), *figures):
        run = settings.get("run") or settings
        assert not {"vsm", "gpt4o"} & {scorer["id"] for scorer in run.get("scorers", [])}
    (first,) = (table for table in tables if table["table"] == "table1")
    assert [entry["id"] for entry in first["run"]["left_out"]] == ["vsm"]
    assert "vsm" not in {use.download for use in find_uses(config) if use.key.startswith("scorers.vsm.")}
    assert config["select"]["tables"] == CONFIGS["paper"]["select"]["tables"]


def test_a_source_goes_from_groups_and_mixtures_and_a_head_without_a_mixture_goes_too():
    config = dropped({"flux": "its licence does not suit us"})
    assert "flux" not in config["groups"]["main7"] and "flux" not in config["mixes"]["nearid_mtg"]["sources"]
    assert "nearid_1src_only" not in config["select"]["ablations"]
    assert "its licence does not suit us" in config["select"]["drop"]["nearid_1src_only"]
    assert "nearid" in config["select"]["ablations"]
    assert "figure5" not in config["select"]["figures"], "it shows flux alone"


def test_a_figure_a_table_a_benchmark_and_a_head_go_by_the_same_word():
    config = dropped(["figure6", "table7", "mtg", "circle"])
    select = config["select"]
    assert "figure6" not in select["figures"] and "table7" not in select["tables"]
    assert "figure8" not in select["figures"] and "figure9" not in select["figures"], "they show part edits"
    assert "circle" not in select["ablations"] and "circle" not in select["scorers"]
    assert config["paper"]["figures"]["training"]["ablations"] == ["infonce", "nearid"]
    assert step_settings("summarise_scores", config, scorer="nearid")["absent"] == {"mtg": select["drop"]["mtg"]}


def test_leaving_out_again_changes_nothing_and_a_typo_is_told():
    config = dropped(["vsm", "flux", "dreambench"])
    assert complete(config) == config
    with pytest.raises(UserError, match="unknown id `vms`"):
        dropped(["vms"])


def test_a_benchmark_that_a_scorer_lacks_leaves_its_cells_empty_and_the_rest_in(tmp_path):
    config = without("paper", "dreambench_samples", tmp_path)
    leave_out_missing(config, tmp_path)
    everyone = CONFIGS["paper"]["select"]["scorers"]
    assert config["select"]["scorers"] == [name for name in everyone if name != "siglip2_mean"]
    settings = step_settings("summarise_scores", config, scorer="nearid")
    assert settings["benchmarks"] == ["nearid_bench", "mtg"]
    assert "dreambench_samples is missing" in settings["absent"]["dreambench"]


def test_a_run_with_gaps_goes_to_its_page(tmp_path):
    """A real run: two scorers of ratings, while a third lacks its folder, and a fourth all that it needs."""
    from nearid.rehearsal.ratings import save_all_ratings

    save_all_ratings(tmp_path / "mirror/dreambench_ratings")
    overlay = tmp_path / "gaps.yaml"
    overlay.write_text(
        f"""
mirror: {tmp_path}/mirror
results_dir: {tmp_path}/results
on_missing: gap
downloads: {{dreambench_ratings: {{}}}}
scorers: {{siglip2_mean_rated: {{ratings: {tmp_path}/nowhere}}}}
select: {{scorers: [gpt4o, vsm, siglip2_mean_rated, nearid_rated], tables: [table2], figures: []}}
paper: {{tables: {{table2: {{scorers: [gpt4o, siglip2_mean_rated, nearid_rated]}}}}}}
"""
    )
    for path in ROOT.iterdir():
        if path.name not in ("results", "resources") and not path.name.startswith("."):
            (tmp_path / path.name).symlink_to(path)
    command = [sys.executable, "-m", "snakemake", "--nolock", "--cores", "1", "--quiet", "all", "--configfile"]
    done = subprocess.run(
        [*command, "config/ratings.yaml", str(overlay)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "results/ratings/paper/index.html").read_text()
    assert "Left out of this run" in page and "nowhere is missing" in page
    assert "cleandift is missing" in page and "vsm_code is missing" in page
    table = (tmp_path / "results/ratings/paper/tables/table2.md").read_text()
    assert "nowhere is missing" in table.replace("\\", "") and "GPT-4o r" in table
