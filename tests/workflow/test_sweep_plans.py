"""What a sweep writes before any job: its heads, as entries of a config."""

import json
import os
import re
from pathlib import Path

import pyarrow.parquet
import pytest
from click.testing import CliRunner

from nearid.cli import nearid as command
from nearid.config import load
from nearid.errors import UserError
from nearid.io.files import write_json, write_text
from nearid.sweeps.plan import name_heads, plan_sweep, spell
from nearid.sweeps.states import add_jobs, read_jobs, read_states
from nearid.sweeps.status import read_progress
from nearid.sweeps.submission import JobRequest, cancel, submit
from nearid.sweeps.sweep import open_sweep
from nearid.workflow.files import Files

ROOT = Path(__file__).resolve().parents[2]
DEMO = (Path("config/demo.yaml"), Path("config/test.yaml"))


@pytest.fixture
def overlays(tmp_path, monkeypatch):
    """The tiny config, with results in another folder."""
    monkeypatch.chdir(ROOT)
    (tmp_path / "here.yaml").write_text(f"results_dir: {tmp_path / 'results'}\n")
    return (*DEMO, tmp_path / "here.yaml")


def test_every_combination_is_a_head_and_a_scorer(overlays):
    values = {"params.alpha": [0.25, 1], "training.learning_rate": [1e-3, 3e-3]}
    sweep = plan_sweep("grid", overlays, ["nearid"], [0, 1], values)
    assert len(sweep.ablations) == len(set(sweep.ablations)) == 8
    config = load(*sweep.overlays)
    entries = [config["ablations"][name] for name in sweep.ablations]
    assert {(e["seed"], e["params"]["alpha"], e["training"]["learning_rate"]) for e in entries} == {
        (seed, alpha, rate) for seed in (0, 1) for alpha in (0.25, 1) for rate in (1e-3, 3e-3)
    }
    # What is not varied stays.
    assert all(entry["training"]["keep_every_steps"] == 4 for entry in entries)
    assert set(sweep.ablations) <= set(config["select"]["ablations"])
    assert all(config["scorers"][name]["ablation"] == name for name in sweep.ablations)
    assert set(load(*overlays)["select"]["scorers"]) <= set(config["select"]["scorers"])


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("params.beta", [-0.5, 0.5]),
        ("params.temperature", [1e-05, 1e05]),
        ("params.more", ["Cosine", "cosine", "co-sine"]),
        ("params.more", ["a b", "a_b", "a/b"]),
    ],
)
def test_every_value_is_a_run_of_its_own(path, values):
    made = [(spell("nearid", [f"{path} {value}"]), json.dumps(value), value) for value in values]
    names = name_heads(made, [])
    assert sorted(map(str, names.values())) == sorted(map(str, values)), names
    assert all(re.fullmatch("[a-z0-9_]+", name) for name in names)


def test_a_run_takes_no_ablation_s_place():
    assert set(name_heads([("nearid", "[1]", 1), ("more", "[2]", 2)], ["nearid"])) >= {"more"}
    assert "nearid" not in name_heads([("nearid", "[1]", 1)], ["nearid"])


def test_without_a_grid_the_selected_heads_are_trained_as_they_are(overlays):
    sweep = plan_sweep("all", overlays)
    assert sweep.ablations == ["infonce", "nearid"]
    assert sweep.config["ablations"] == load(*overlays)["ablations"]
    assert read_states(sweep) == {"infonce": "not running", "nearid": "not running"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((["nearit"],), "ablation nearit"),
        ((["nearid"], [], {"training.learning_rat": [1]}), "did you mean `learning_rate`"),
        ((["nearid"], [], {"params.alpha": [-1]}), "alpha"),
    ],
)
def test_a_mistake_is_told_before_any_job(overlays, arguments, says):
    with pytest.raises(UserError, match=says):
        plan_sweep("wrong", overlays, *arguments)
    with pytest.raises(UserError, match="no sweep"):
        open_sweep(load(*overlays)["results_dir"] / Path("test/sweeps/wrong"))


def test_a_value_that_is_no_yaml_is_told(overlays):
    """A list is cut at its commas."""
    words = [word for path in overlays for word in ("--config", str(path))]
    done = CliRunner().invoke(command, ["sweep", "run", "wrong", *words, "--set", "params.more=[1,2]"])
    assert done.exit_code == 2 and "where:    --set" in done.output, done.output


def test_without_tokens_it_says_how_to_make_them(overlays):
    with pytest.raises(UserError, match="snakemake --configfile"):
        submit(plan_sweep("early", overlays), JobRequest(executor="local"))


@pytest.fixture
def submitted(overlays, tmp_path, monkeypatch):
    """A sweep with one submitted head, and a folder of SLURM's programs, which do what `queue` and `answer` say."""
    sweep = plan_sweep("queued", overlays, ["nearid"], [1])
    add_jobs(sweep, {sweep.ablations[0]: {"job": "7_0", "executor": "slurm", "needs": {}}})
    programs = tmp_path / "bin"
    programs.mkdir()
    scripts = {"squeue": f"cat {programs}/queue", "scancel": f'echo "$@" >{programs}/asked; . {programs}/answer'}
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    (programs / "answer").write_text(f"echo '7_0|CANCELLED' >{programs}/queue")
    return sweep, programs


@pytest.mark.parametrize("state", ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"])
def test_a_job_that_will_run_again_is_under_way(submitted, state):
    sweep, programs = submitted
    (programs / "queue").write_text(f"7_0|{state}\n")
    assert list(read_states(sweep).values()) == [state.lower()]
    assert cancel(sweep) == sweep.ablations
    assert (programs / "asked").read_text() == "--quiet 7_0\n"
    assert list(read_states(sweep).values()) == ["cancelled"] and cancel(sweep) == []


def test_the_script_of_a_sweep_asks_for_what_was_said(submitted):
    sweep, programs = submitted
    (programs / "srun").symlink_to("squeue")
    (programs / "sbatch").write_text(f'#!/bin/sh\ncp "$1" {programs}/script; echo Submitted batch job 8\n')
    (programs / "sbatch").chmod(0o755)
    for path in Files(sweep.config, sweep.layout).of_head(sweep.ablations[0]):
        write_text(path, "there")
    (programs / "queue").write_text("")
    extra = {"qos": "few", "gpus_per_node": "a100:1", "wckey": "ours"}
    assert submit(sweep, JobRequest(partition="gpu", account="lab", gpus=1, extra=extra)) == sweep.ablations
    asked = set(re.findall(r"^#SBATCH --(\S+)$", (programs / "script").read_text(), re.MULTILINE))
    assert {"partition=gpu", "account=lab", "qos=few", "gpus-per-node=a100:1", "requeue", "signal=URG@120"} <= asked
    assert {option for option in asked if "wckey" in option} == {"wckey=ours"}, "not submitit's own"
    assert read_jobs(sweep)[sweep.ablations[0]]["job"] == "8"


def test_what_could_not_be_cancelled_is_told(submitted, monkeypatch):
    sweep, programs = submitted
    (programs / "queue").write_text("7_0|RUNNING\n")
    (programs / "answer").write_text("echo no contact >&2; exit 1")
    with pytest.raises(UserError, match="no contact"):
        cancel(sweep)
    monkeypatch.setattr("nearid.sweeps.submission.ask", lambda *_, **__: None)
    with pytest.raises(UserError, match="no answer"):
        cancel(sweep)


def test_progress_is_read_from_the_log_of_a_head(overlays):
    sweep = plan_sweep("watched", overlays, ["nearid"], [1])
    (name,) = sweep.ablations
    line = {"loss": 0.5, "wait_s": 0.5, "step_s": 1.5}
    log = "".join(json.dumps({"step": step} | line) + "\n" for step in range(1, 8))
    # After the last line break is a line that is still being written.
    write_text(sweep.layout.head(name) / ".progress/key/0000000.jsonl", log + '{"step": 8, "lo')
    (row,) = read_progress(sweep)
    assert (row.state, row.step, row.steps, row.loss, row.left_s) == ("not running", 7, None, 0.5, None)

    training, mix = sweep.settings(name).training, sweep.settings(name).mix
    size = training.batch_size
    assert (mix.nearid_repeats, mix.mtg_repeats) == (1, 4)
    write_json(sweep.layout.splits, {"train": list(range(3 * size + 1)), "val": [], "test": [], "seed": 0})
    assert read_progress(sweep)[0].steps is None
    sweep.layout.mtg("train").parent.mkdir(parents=True)
    pyarrow.parquet.write_table(pyarrow.table({"id": range(size)}), sweep.layout.mtg("train"))
    assert read_progress(sweep)[0].steps == training.epochs * (3 + 4)
    # Once the head is trained, its folder has the whole log.
    (sweep.layout.head(name) / ".progress/key/0000000.jsonl").unlink()
    write_text(sweep.layout.head_file(name, "log.jsonl"), json.dumps({"step": 9} | line) + "\n")
    assert read_progress(sweep)[0].step == 9
