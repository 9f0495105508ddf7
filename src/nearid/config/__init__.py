"""The config: loaded, merged, checked against the closed schema, and divided into the settings of each step.

Nothing heavy is imported here: every cluster job parses the workflow again, and with it this package.
"""

from nearid.config.downloads import required_downloads
from nearid.config.fingerprint import code_fingerprint, step_code
from nearid.config.gaps import needs_identities
from nearid.config.inputs import check_paths
from nearid.config.loading import check_schema, complete, load, results_folder
from nearid.config.members import check_members, missing_members
from nearid.config.missing import check_missing, leave_out_missing
from nearid.config.packs import packs, scored_along, trained_along
from nearid.config.sizes import check_sizes
from nearid.config.steps import step_settings

__all__ = [
    "check_members",
    "check_missing",
    "check_paths",
    "check_schema",
    "check_sizes",
    "code_fingerprint",
    "complete",
    "leave_out_missing",
    "load",
    "missing_members",
    "needs_identities",
    "packs",
    "required_downloads",
    "results_folder",
    "scored_along",
    "step_code",
    "step_settings",
    "trained_along",
]
