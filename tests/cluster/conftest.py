"""One SLURM for all tests that need it."""

import os
from collections.abc import Iterator

import pytest
from end_to_end import kill, start
from slurm_cluster import DEFAULTS, HOW, Cluster, missing_accounting, missing_programs


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("node daemons start jobs as other users: needs root")
    if missing_programs():
        pytest.skip(f"not installed: {', '.join(missing_programs())} (apt install slurmctld slurmd slurm-client munge)")
    # With accounting if possible: most tests pass with and without it.
    with Cluster(tmp_path_factory.mktemp("slurm"), accounting=not missing_accounting()) as cluster:
        # Ranks find each other by host name; the nodes of this cluster do not have names of their own.
        cluster.variables["MASTER_ADDR"] = "127.0.0.1"
        yield cluster


@pytest.fixture
def accounting(cluster) -> Iterator[Cluster]:
    """The cluster, if it has accounting: for tests of accounts, limits and `sacct`."""
    if not cluster.accounting:
        pytest.skip(f"not installed: {', '.join(missing_accounting())} (tests/cluster/install.sh)")
    yield cluster
    # A test that failed may have left it stopped.
    if not (cluster.root / "accounting.process").exists():
        cluster.start_accounting()


@pytest.fixture
def on_slurm(cluster):
    """Starts Snakemake with the profile; whatever a test leaves running is ended."""
    started = []
    how = DEFAULTS if cluster.accounting else HOW

    def run(project, *arguments):
        started.append(start(project, *arguments, how=how, variables=cluster.variables))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            kill(process)
    cluster.clear()
