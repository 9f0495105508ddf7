"""Heads that another head's job has trained and written, until their own job moves them to their folder.

Nothing here needs PyTorch, whose import takes longer than all else that such a job does.
"""

from __future__ import annotations

import shutil
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from nearid.config.mixes import mixed_collections
from nearid.errors import UserError
from nearid.io.files import read_json, replacing, write_json
from nearid.io.hashing import hash_file, hash_json
from nearid.layout import Layout
from nearid.tokens.store import TokenStore

if TYPE_CHECKING:
    from nearid.config.settings.heads import TrainHead

VERSIONS = ("torch", "deepspeed", "transformers", "numpy", "safetensors")
FILES = ("head.safetensors", "config.json", "log.jsonl", "provenance.json")
TICKET = "ticket.json"


def versions() -> dict[str, str]:
    """Versions of the packages that, besides its inputs, decide a head's bytes."""
    return {name: version(name) for name in VERSIONS}


def ticket_of(layout: Layout, settings: TrainHead, code: str) -> str | None:
    """Hash of all that a head is made from, as far as files show it; None if only a training can tell.

    It covers more than a head depends on: if it differs, the training compares in detail.
    """
    path, mix = settings.backbone.path, settings.mix
    if settings.training.tokens != "cached" or not path or not (backbone := Path(path)).is_dir():
        return None
    shards = {}
    try:
        for collection in mixed_collections(mix.given):
            folder = layout.tokens(settings.backbone_id, collection).parent
            store = TokenStore(sorted(folder.glob("*.h5")))
            contents = {path.name: key for path, key in store.content_keys.items()}
            shards[collection] = [store.attributes, contents]
        made_from = [layout.identities, layout.splits, *([layout.mtg("train")] if mix.mtg_repeats else [])]
        files = [hash_file(path) for path in made_from]
    except (UserError, OSError):
        return None  # the training will report what is wrong
    weights = [
        [path.name, path.stat().st_size, path.stat().st_mtime_ns]
        for path in sorted([*backbone.glob("*.json"), *backbone.glob("*.safetensors")])
    ]
    return hash_json([dict(settings.given), code, shards, files, weights, versions()])


def wait(folder: Path, ticket: str) -> None:
    """Mark the finished head in `folder` as waiting for its own job."""
    write_json(folder / TICKET, {"ticket": ticket})


def waits(folder: Path, ticket: str) -> bool:
    """Whether the head in `folder` waits, with this ticket."""
    try:
        return bool(read_json(folder / TICKET)["ticket"] == ticket)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def take(layout: Layout, settings: TrainHead, code: str) -> bool:
    """Move a waiting head to its declared place; returns whether there was one of today's data, settings and code."""
    name = settings.ablation
    waiting = layout.waiting_head(name)
    if not (waiting / TICKET).is_file():
        return False
    ticket = ticket_of(layout, settings, code)
    if ticket is None or not waits(waiting, ticket):
        return False
    names = [*FILES, *(["timelapse.safetensors"] if settings.training.keep_every_steps else [])]
    if not all((waiting / file).is_file() for file in names):
        return False
    for file in names:
        with replacing(layout.head_file(name, file)) as private:
            shutil.copyfile(waiting / file, private)
    layout.head_file(name, "stopped.json").unlink(missing_ok=True)
    for folder in (waiting, layout.head(name) / ".progress"):
        shutil.rmtree(folder, ignore_errors=True)
    return True


def folder_of(layout: Layout, ablation: str) -> Path:
    """The folder of an ablation's newest finished head: the one where it waits, else its declared one."""
    waiting = layout.waiting_head(ablation)
    return waiting if (waiting / TICKET).is_file() else layout.head(ablation)
