"""The workflow on a scheduler that is not SLURM, following docs/other_clusters.md, with a submit command of its own."""

import re
import stat

import pytest
import yaml
from end_to_end import ROOT, copy_project, differences, end, read_results, start

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]

PAGE = ROOT / "docs/other_clusters.md"
# A minimal cluster: it starts the job script at once, prints its number, and records the request.
SUBMIT = """#!/bin/sh
script=
for word; do script=$word; done
echo "$@" >>{folder}/asked
setsid sh "$script" </dev/null >>{folder}/jobs.log 2>&1 &
echo $!
"""


def read_profile():
    """The profile in the page."""
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return yaml.safe_load(text)


def test_the_profile_of_the_page_runs_the_workflow(tmp_path):
    pytest.importorskip("snakemake_executor_plugin_cluster_generic")
    profile = read_profile()
    command = profile["cluster-generic-submit-cmd"]
    assert command.startswith("qsub ")
    submit = tmp_path / "qsub"
    submit.write_text(SUBMIT.format(folder=tmp_path))
    submit.chmod(submit.stat().st_mode | stat.S_IXUSR)
    there, here = (copy_project(tmp_path / name) for name in ("there", "here"))
    (there / "mysite").mkdir()
    profile["cluster-generic-submit-cmd"] = command.replace("qsub", str(submit), 1)
    profile |= {"latency-wait": 5, "max-jobs-per-timespan": "50/5s", "jobs": 2}
    (there / "mysite/config.yaml").write_text(yaml.safe_dump(profile))
    targets = ("--", *(f"results/test/distractors/{source}/000.parquet" for source in ("cut_paste", "sibling")))
    local = start(here, *targets)
    assert end(start(there, *targets, how=("--profile", "mysite")), there)
    end(local, here)
    assert differences(read_results(there), read_results(here)) == []
    asked = (tmp_path / "asked").read_text().splitlines()
    assert len(asked) == 2, "both shards are in one job"
    assert all(re.search(r"ncpus=\d+:mem=\d+mb:ngpus=0 -l walltime=\d+:00 ", line) for line in asked), asked


def test_it_says_what_the_slurm_profile_says():
    """Except for what only sbatch understands."""
    here, there = read_profile(), yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
    shared = {"logger", "jobs", "resources", "latency-wait", "retries", "keep-going", "rerun-incomplete"}
    shared |= {"max-jobs-per-timespan", "set-threads", "group-components"}
    assert {name: here[name] for name in shared} == {name: there[name] for name in shared}
