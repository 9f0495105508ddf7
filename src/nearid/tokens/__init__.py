"""Frozen patch tokens: backbones that compute them, HDF5 shards that keep them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearid.tokens.backbones import load_backbone as load_backbone
    from nearid.tokens.store import TokenStore as TokenStore


def __getattr__(name: str) -> Any:
    # Imported when used: reading tokens needs no transformers, planning a workflow needs neither of the two.
    if name == "TokenStore":
        from nearid.tokens.store import TokenStore

        return TokenStore
    if name == "load_backbone":
        from nearid.tokens.backbones import load_backbone

        return load_backbone
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
