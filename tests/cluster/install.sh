#!/usr/bin/env bash
# Installs SLURM, munge and MariaDB's programs from Debian or Ubuntu for the tests; starts and configures nothing
# system-wide. If that is not possible, the tests say what is missing and are skipped.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
lacks() { for program; do command -v "$program" >/dev/null || return 0; done; return 1; }
slurm=(slurmctld slurmd sbatch munged)
accounting=(slurmdbd mariadbd mariadb-install-db)
lacks "${slurm[@]}" "${accounting[@]}" || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "SLURM or its accounting is not installed; its packages need root and apt-get" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq || echo "package lists are as they were" >&2
# With systemd, SLURM's packages also start daemons; the tests start private ones. Of MariaDB only the programs are
# installed, which come without a service.
if lacks "${slurm[@]}"; then
  apt-get install -qq --yes --no-install-recommends slurmctld slurmd slurm-client munge
fi
apt-get install -qq --yes --no-install-recommends slurmdbd mariadb-server-core mariadb-client-core ||
  echo "no accounting could be installed: its tests are skipped" >&2
