"""One SLURM for all tests that need it."""

import os
from collections.abc import Iterator

import pytest
from slurm_cluster import Cluster, missing_programs


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    if os.geteuid() != 0:
        pytest.skip("node daemons start jobs as other users: needs root")
    if missing_programs():
        pytest.skip(f"not installed: {', '.join(missing_programs())} (apt install slurmctld slurmd slurm-client munge)")
    with Cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        # Ranks find each other by name, which the nodes of this cluster do not have.
        cluster.variables["MASTER_ADDR"] = "127.0.0.1"
        yield cluster
