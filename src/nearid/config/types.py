"""Types in common use: whole configs, and the ids of a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]
"""A whole config, checked and with every default, as `nearid.config.load` returns it; its keys: `schema.Root`."""
MutableConfig = dict[str, Any]
"""A config that is still being merged, completed or reduced, in place."""
Ids = Mapping[str, str]
"""The ids that identify a job of a step: wildcard -> id."""
