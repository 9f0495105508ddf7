"""Pooling heads on frozen tokens: objectives, training tuples, training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearid.heads.map_head import MAPHead as MAPHead


def __getattr__(name: str) -> Any:
    # Imported when used: importing transformers takes seconds.
    if name == "MAPHead":
        from nearid.heads.map_head import MAPHead

        return MAPHead
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
