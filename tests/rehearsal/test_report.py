"""A rehearsal passes only where everything ran and every gap has its reason; stand-ins come from the folder given."""

import pytest
import yaml
from click.testing import CliRunner

from nearid.cli import nearid as command
from nearid.config import load
from nearid.errors import UserError
from nearid.io.downloads import fetch
from nearid.io.mirror import Mirror
from nearid.rehearsal.report import EmptyCells, Report, find_idle_rules
from nearid.rehearsal.workspace import fill_mirror, link_checkout

SUMMARY = """\
output_file\tdate\trule\tlog-file(s)\tstatus\tplan
a.csv\tThu\tmake_table\ta.log\tok\tno update
b.csv\t-\tmake_table\tb.log\tmissing\tupdate pending
c.h5\tThu\textract_tokens\tc.log\tcode changed\tupdate pending
"""


def test_what_has_not_run_is_told_by_rule():
    assert find_idle_rules(SUMMARY) == ["extract_tokens (1 files)", "make_table (1 files)"]
    assert find_idle_rules(SUMMARY.splitlines()[0] + "\n" + SUMMARY.splitlines()[1]) == []


def test_a_gap_without_a_reason_fails_and_one_with_a_reason_does_not():
    explained = EmptyCells("table2", "a single correlation has none", ["Human ±"], ["emu2"])
    assert Report("r", 1.0, empty=[explained]).passed
    for failed in (
        Report("r", 1.0, empty=[explained, EmptyCells("table1", "", ["SSR"], ["NearID"])]),
        Report("r", 1.0, idle=["make_table (1 files)"]),
        Report("r", 1.0, faults=["Snakemake ended with exit code 1"]),
    ):
        assert not failed.passed and "did not pass" in str(failed)
    told = str(Report("r", 1.0, empty=[explained]))
    assert "table2: a single correlation has none\n    Human ± of emu2" in told


def test_a_mirror_without_the_download_names_it(tmp_path):
    entry = load()["downloads"]["mtg"]
    with pytest.raises(UserError, match="mtg-dataset"):
        fetch("mtg", entry, tmp_path / "resources/mtg", Mirror(tmp_path / "mirror/mtg"))


def test_a_download_that_nobody_knows_asks_for_a_stand_in_and_takes_it(tmp_path, monkeypatch):
    overlay = tmp_path / "mine.yaml"
    mine = {"display": "Mine", "engine": "my_engine", "options": {"model": "resources/mine"}}
    selected = {"sources": ["mine"], "scorers": [], "ablations": [], "groups": ["mine"], "tables": [], "figures": []}
    overlay.write_text(
        yaml.safe_dump(
            {
                "downloads": {"mine": {"kind": "model", "hub": "me/mine", "licence": "mine"}},
                "sources": {"mine": mine},
                "groups": {"mine": ["mine"]},
                "headline_group": "mine",
                "dataset": {"kind": "rendered"},
                "select": selected | {"benchmarks": ["nearid_bench"]},
            }
        )
    )
    config = load(overlay)
    with pytest.raises(UserError, match=r"sources\.mine\.options\.model") as error:
        fill_mirror(config, tmp_path / "here", {})
    assert "--stand-in mine=FOLDER" in error.value.action
    (tmp_path / "own").mkdir()
    (tmp_path / "own/weights.bin").write_text("tiny")
    assert fill_mirror(config, tmp_path / "here", {"mine": tmp_path / "own"}) == ["mine"]
    fetch("mine", config["downloads"]["mine"], tmp_path / "resources/mine", Mirror(tmp_path / "here/mirror/mine"))
    assert (tmp_path / "resources/mine/weights.bin").read_text() == "tiny"


def test_the_folder_has_the_checkout_but_neither_its_results_nor_its_resources(tmp_path):
    checkout = tmp_path / "checkout"
    for name in ("src", "results/paper", "resources/syncd", ".git"):
        (checkout / name).mkdir(parents=True)
    (checkout / "config.yaml").write_text("name: paper\n")
    link_checkout(checkout, tmp_path / "rehearsal")
    assert sorted(path.name for path in (tmp_path / "rehearsal").iterdir()) == ["config.yaml", "src"]


def test_a_stand_in_that_is_no_folder_is_refused():
    done = CliRunner().invoke(command, ["rehearse", "--stand-in", "mine=nowhere"])
    assert done.exit_code == 2
