#!/usr/bin/env bash
# SLURM and munge from Debian or Ubuntu, for the tests; nothing is started or configured system-wide.
set -euo pipefail
command -v slurmctld slurmd sbatch munged >/dev/null && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The packages would start daemons of their own where there is systemd; the tests start private ones.
apt-get install -qq --yes --no-install-recommends slurmctld slurmd slurm-client munge
