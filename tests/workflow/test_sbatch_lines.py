"""The arguments that sbatch gets from the profile and each rule's needs, against golden ones (no SLURM needed)."""

import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from nearid.doctor.slurm_checks import refuse_shell_text
from nearid.errors import UserError

GOLDEN = Path(__file__).parent / "golden/sbatch_lines.txt"
ROOT = Path(__file__).resolve().parents[2]
TARGETS = [f"results/test/{name}" for name in ("scores/nearid/metrics.json", "heads/infonce/head.safetensors")]
TARGETS += ["results/test/paper/data/margins.npz"]
GPU = "backbones: {demo_siglip: {precision: float16}}\n"


@pytest.fixture
def slurm(project, tmp_path, monkeypatch):
    """A cluster that records each submission and has its results at once, from an earlier run."""
    shutil.copytree(ROOT / "slurm", project.root / "slurm")
    shutil.copytree(project.root / "results", tmp_path / "results")
    programs, notes = tmp_path / "bin", tmp_path / "notes"
    programs.mkdir()
    notes.mkdir()
    scripts = {
        "sbatch": f'echo "$$" > {notes}/$$.id; printf "%s\\0" "$@" > {notes}/$$.line\n'
        f"cp -rn {tmp_path}/results/. {project.root}/results/; echo $$",
        "squeue": f'for id in $(cat {notes}/*.id); do echo "$id|COMPLETED"; done',
        "scontrol": 'echo "MinJobAge = 300 sec"; echo "MaxArraySize = 1001"',
        "sinfo": 'case "$*" in *%l*) echo "cpu*|2-00:00:00|3|64|256000|gpu:a100:4";; *) echo "cpu*";; esac',
        "sacct": "exit 1",
        "sacctmgr": "exit 1",
        "srun": "exit 1",
    }
    for name, script in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def submit(*arguments, overlays=()):
        how = ("--profile", "slurm", "--slurm-status-command", "squeue", "--slurm-no-account", "--latency-wait", "5")
        quick = ("--slurm-init-seconds-before-status-checks", "1", "--max-status-checks-per-second", "10")
        quick += ("--max-jobs-per-timespan", "100/5s", "--jobs", "50", "--cores", "64", "--quiet", "all")
        done = project.snakemake(*how, *quick, *arguments, "--configfile", *project.configs(overlays), "--", *TARGETS)
        assert done.returncode == 0, done.stdout + done.stderr
        found = {}
        for note in notes.glob("*.line"):
            rule, line = shorten(note.read_text().split("\0"))
            # Jobs of a rule may or may not need a GPU, and come in any order: those that do sort first.
            found[rule] = min(found.get(rule, line), line)
        for note in notes.iterdir():
            note.unlink()
        return found

    return submit


def shorten(words):
    """Rule and options of a line, without the parts that differ in each run."""
    words = [word for word in words if not word.startswith("--wrap")]
    rule = re.sub("_wildcards_.*|_[0-9a-f]{12}$", "", words[words.index("--comment") + 1].removeprefix("rule_"))
    if group := re.fullmatch(r"(\w+?)(_gpu)?_\1", rule):
        rule = f"{group[1]} in a group{' with a GPU' if group[2] else ''}"
    for option in ("--job-name", "--output", "--comment", "-D"):
        place = words.index(option)
        del words[place : place + 2]
    return rule, shlex.join(word for word in words if word)


@pytest.mark.slow
def test_the_lines_of_sbatch_are_the_golden_ones(slurm, project):
    lines = slurm("--forceall")
    for rule, line in lines.items():
        # SLURM requeues what it preempts, and warns before the time limit; the plugin starts no step per GPU.
        assert "--requeue" in line and "--signal=URG@120" in line and "--ntasks-per-gpu" not in line, rule
    found = {"as shipped": lines}
    ranks = ("train_head:mpi=srun", "train_head:tasks=4", "train_head:nodes=2", "train_head:gpu=4")
    gpu = (project.overlay(GPU),)
    profile = project.root / "slurm/config.yaml"
    profile.write_text(profile.read_text().replace("  gpu: 0\n", "  gpu: 0\n  gpu_model: a100\n"))
    found["half precision, training on two nodes"] = slurm("--forceall", "--set-resources", *ranks, overlays=gpu)
    lines = found["half precision, training on two nodes"]
    assert "--gpus=a100:1" in lines["extract_tokens in a group with a GPU"]
    assert "--gpus" not in lines["curate_positives"] + lines["score_mtg in a group"]
    text = "".join(
        f"# {title}\n" + "".join(f"{rule}: {line}\n" for rule, line in sorted(lines.items()))
        for title, lines in found.items()
    )
    if os.environ.get("WRITE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


@pytest.mark.slow
def test_a_later_attempt_asks_for_no_more_time_than_its_partition_has(slurm, tmp_path):
    sinfo, sbatch = tmp_path / "bin/sinfo", tmp_path / "bin/sbatch"
    routes = tmp_path / "partitions.yaml"
    routes.write_text("partitions: {big: {max_runtime: 1200}, small: {max_runtime: 60}}\n")
    both = 'echo "big|20:00:00|1|64|256000|(null)"; echo "small*|1:00:00|3|64|256000|(null)"'
    sinfo.write_text(f'#!/bin/sh\ncase "$*" in *%l*) {both};; *) echo "small*";; esac\n')
    once = f'case "$*" in *rule_train_head_wildcards*) mkdir {tmp_path}/refused 2>/dev/null && exit 1;; esac'
    sbatch.write_text(sbatch.read_text().replace("#!/bin/sh\n", f"#!/bin/sh\n{once}\n"))
    lines = slurm("--forcerun", "train_head", "--slurm-partition-config", str(routes))
    assert (tmp_path / "refused").exists() and "-p big -t 1200 --mem 18000" in lines["train_head"], lines


@pytest.mark.slow
def test_an_overlay_that_a_shell_would_read_is_refused_before_a_job(slurm, project):
    name = "a$(touch ran)b.yaml"
    (project.root / name).write_text("{}\n")
    with pytest.raises(AssertionError, match="returncode"):
        slurm("--forcerun", "summarise_scores", overlays=(name,))
    assert not (project.root / "ran").exists()


@pytest.mark.parametrize("name", ["a$(touch ran)b.yaml", "a`touch ran`b.yaml", 'a"; touch ran; ".yaml', "a\\b.yaml"])
def test_the_name_of_an_overlay_runs_nothing(name):
    """The plugin puts each job's command, with its overlays, between double quotes in the submitting shell."""
    refuse_shell_text(["config/demo.yaml", Path("it's; a & name > ü.yaml")])
    with pytest.raises(UserError, match="would obey"):
        refuse_shell_text(["config/demo.yaml", name])
