"""One SLURM for all tests that need it."""

import os
from collections.abc import Iterator

import pytest
from slurm_cluster import Cluster, missing_accounting, missing_programs


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("node daemons start jobs as other users: needs root")
    if missing_programs():
        pytest.skip(f"not installed: {', '.join(missing_programs())} (apt install slurmctld slurmd slurm-client munge)")
    # Most tests hold with and without accounting.
    with Cluster(tmp_path_factory.mktemp("slurm"), accounting=not missing_accounting()) as cluster:
        # Ranks find each other by name, which the nodes of this cluster do not have.
        cluster.variables["MASTER_ADDR"] = "127.0.0.1"
        yield cluster


@pytest.fixture
def accounting(cluster) -> Iterator[Cluster]:
    """The same, for tests of accounts, limits and `sacct`."""
    if not cluster.accounting:
        pytest.skip(f"not installed: {', '.join(missing_accounting())} (tests/cluster/install.sh)")
    yield cluster
    # What a test that failed has left away.
    if not (cluster.root / "accounting.process").exists():
        cluster.start_accounting()
