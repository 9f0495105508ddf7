#!/usr/bin/env bash
# SLURM, munge and MariaDB's programs from Debian or Ubuntu, for the tests; nothing is started or configured system-wide.
# Where that is not possible the tests say what is missing and are skipped.
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
for program in slurmctld slurmd sbatch munged slurmdbd mariadbd mariadb-install-db; do
  command -v "$program" >/dev/null || missing=yes
done
[ -n "${missing:-}" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "SLURM is not installed; its packages need root and apt-get" >&2
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The packages would start daemons of their own where there is systemd; the tests start private ones. Of MariaDB the
# programs alone are taken, which bring no service along.
apt-get install -qq --yes --no-install-recommends slurmctld slurmd slurm-client munge \
  slurmdbd mariadb-server-core mariadb-client-core
