"""NearID: identity representation learning via near-identity distractors, reproduced."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearid.release.metric import NearIDScore
    from nearid.release.model import IdentityModel, load

__version__ = "0.1.0"
__all__ = ["IdentityModel", "NearIDScore", "__version__", "load"]

_HOMES = {"IdentityModel": "release.model", "NearIDScore": "release.metric", "load": "release.model"}


def __getattr__(name: str) -> Any:
    # Imported when asked for: every job of a cluster imports this package just to read its config.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"nearid.{_HOMES[name]}"), name)
