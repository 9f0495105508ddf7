"""SLURM's accounting for the cluster of the tests: a private MariaDB, slurmdbd, accounts and limits."""

from __future__ import annotations

import secrets
from pathlib import Path

# In addition to those of a cluster without accounting.
PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db", "sacctmgr", "sacct")
ACCOUNT, OTHER_ACCOUNT = "lab", "guests"
LIMITED_QOS = "few"  # it runs two jobs at a time, and accepts no more than four

# Added to slurm.conf.
CONFIGURATION = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={daemon_port}
AccountingStoragePass=socket={root}/munge.socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
"""

DAEMON = """\
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={daemon_port}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={database_port}
StorageUser=slurm
StoragePass={password}
StorageLoc=slurm_acct_db
LogFile={root}/slurmdbd.log
PidFile={root}/slurmdbd.pid
CommitDelay=1
"""

# Arguments of sacctmgr; the tests run as root.
ASSOCIATIONS = (
    ("add", "cluster", "nearid_test"),
    ("add", "qos", LIMITED_QOS),
    ("modify", "qos", LIMITED_QOS, "set", "MaxJobsPerUser=2", "MaxSubmitJobsPerUser=4"),
    ("add", "account", f"{ACCOUNT},{OTHER_ACCOUNT}", "cluster=nearid_test"),
    ("add", "user", "root", f"account={ACCOUNT},{OTHER_ACCOUNT}", "cluster=nearid_test"),
    ("modify", "user", "root", "where", "cluster=nearid_test", "set", f"defaultaccount={ACCOUNT}"),
    ("modify", "user", "root", "where", f"account={ACCOUNT}", "set", f"qos=normal,{LIMITED_QOS}"),
    ("remove", "user", "root", "where", "account=root"),
)


def write_files(root: Path, daemon_port: int, database_port: int) -> None:
    """Write the settings of both daemons, readable by root only."""
    password = secrets.token_hex(16)
    statements = f"CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
    statements += "GRANT ALL ON slurm_acct_db.* TO 'slurm'@'127.0.0.1';\n"
    words = {"root": root, "daemon_port": daemon_port, "database_port": database_port, "password": password}
    for name, text in {"slurmdbd.conf": DAEMON.format(**words), "first.sql": statements}.items():
        file = root / name
        file.touch(mode=0o600)
        file.write_text(text)


def installation(program: str, root: Path) -> list[str]:
    """The command that creates an empty database."""
    return [
        *(program, "--no-defaults", f"--datadir={root}/database", "--user=root", "--skip-test-db"),
        "--auth-root-authentication-method=normal",
    ]


def database(program: str, root: Path, port: int) -> list[str]:
    """The command that runs the database; it reads no settings from elsewhere."""
    return [
        *(program, "--no-defaults", "--user=root", f"--datadir={root}/database", f"--socket={root}/database.socket"),
        *(f"--pid-file={root}/database.pid", f"--port={port}", "--bind-address=127.0.0.1", "--skip-log-bin"),
        *("--skip-name-resolve", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0"),
        f"--init-file={root}/first.sql",
    ]
