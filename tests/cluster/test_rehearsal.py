"""A rehearsal through SLURM gives the same as one on this machine (make test-slurm)."""

import pytest
from end_to_end import ROOT
from slurm_cluster import DEFAULTS, HOW

from nearid.rehearsal.run import rehearse

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(3600)]

PARTITIONS = """
partitions:
  cpu: {max_runtime: 2880, max_mem_mb: 128000, max_threads: 32}
  gpu: {max_runtime: 2880, max_mem_mb: 128000, max_threads: 32, max_gpu: 4, available_gpu_models: [a100]}
"""
# These have times in them.
OWN_STORY = {"log.jsonl", "provenance.json", "manifest.json", "provenance.js", "costs.csv", "ro-crate-metadata.json"}


def results(report, folder):
    """Content of every file that must not depend on where its job ran."""
    root = folder / report.name.removeprefix("rehearsal_") / "results" / report.name
    files = [path for path in sorted(root.rglob("*")) if path.is_file() and path.name not in OWN_STORY]
    kept = {str(path.relative_to(root)): path for path in files}
    return {
        name: path.read_bytes()
        for name, path in kept.items()
        if name.split("/")[0] not in ("logs", "benchmarks") and "/." not in f"/{name}"
    }


FEW = pytest.param("tests/rehearsal/few.yaml", id="few")
WHOLE = pytest.param("", id="whole", marks=pytest.mark.slow)


@pytest.mark.parametrize("config", [FEW, WHOLE])
def test_a_rehearsal_on_the_cluster_equals_a_local_one(cluster, config, tmp_path, monkeypatch):
    """`whole` takes half an hour: `make test-slurm SLURM_MARKS=slow`."""
    monkeypatch.chdir(ROOT)
    overlays = [ROOT / config] if config else []
    # What CI or `make rehearsal` has made is not made again.
    local = rehearse(overlays, ROOT / "rehearsal")
    assert local.passed, str(local)
    for name, value in cluster.variables.items():
        monkeypatch.setenv(name, value)
    partitions = tmp_path / "partitions.yaml"
    partitions.write_text(PARTITIONS)
    # With accounting, the plugin's defaults: states by sacct, the user's default account.
    how = DEFAULTS if cluster.accounting else HOW
    distant = rehearse(overlays, tmp_path / "far", [*how, "--slurm-partition-config", str(partitions)])
    assert distant.passed, str(distant)
    assert {rule["rule"] for rule in distant.rules} == {rule["rule"] for rule in local.rules}
    here, there = results(local, ROOT / "rehearsal"), results(distant, tmp_path / "far")
    assert sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name)) == []
    assert "paper/tables/table1.csv" in here
    submitted = {path.name for path in tmp_path.glob("far/*/.snakemake/slurm_logs/*")}
    assert {"rule_inpaint_part", "rule_train_head_with_timelapse", "group_score_mtg_score_mtg"} <= submitted
