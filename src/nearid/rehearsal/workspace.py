"""A rehearsal's own folder: links to the checkout, and the stand-ins in the folder that stands in for the hub."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from nearid.config import code_fingerprint
from nearid.config.types import Config
from nearid.config.uses import find_uses
from nearid.io.files import read_json, write_json
from nearid.io.hashing import hash_json
from nearid.io.progress import track
from nearid.rehearsal.needs import save_stand_in
from nearid.rehearsal.overlay import CHECKOUT, MIRROR, foreign_checkouts

# What a rehearsal has of its own; everything else is linked from the checkout.
OWN = ("resources", "results", "rehearsal", MIRROR)


def link_checkout(checkout: Path, folder: Path) -> None:
    """Link everything in `checkout` into `folder`, except results, resources and hidden files."""
    folder.mkdir(parents=True, exist_ok=True)
    for link in folder.iterdir():
        if link.is_symlink() and not link.exists():
            link.unlink()
    for path in sorted(checkout.iterdir()):
        link = folder / path.name
        if path.name.startswith(".") or path.name in OWN:
            continue
        if not link.exists() and not link.is_symlink():
            link.symlink_to(path.resolve(), target_is_directory=path.is_dir())


def fill_mirror(config: Config, folder: Path, given: Mapping[str, Path]) -> list[str]:
    """Write the stand-in of each download that `config` uses to `folder/mirror/<id>`; returns the ids.

    A stand-in that was made from the same uses by the same code is kept, and so is what was fetched from it. If it
    changes, it is fetched again.

    Args:
        config: the one to rehearse, complete.
        folder: of the rehearsal.
        given: the user's own stand-ins: folders by id of the download.

    Raises:
        UserError: the layout of a download is not known here.
    """
    if foreign_checkouts(config):
        from nearid.rehearsal.matcher import save_checkout

        shutil.rmtree(folder / CHECKOUT, ignore_errors=True)
        save_checkout(folder / CHECKOUT)
    code = code_fingerprint("nearid.rehearsal.needs")
    uses = sorted(find_uses(config), key=lambda use: use.download)
    wanted = {name: list(group) for name, group in groupby(uses, key=lambda use: use.download)}
    _quieten()
    for name, group in track(list(wanted.items()), "stand-ins", total=len(wanted)):
        target, mark = folder / MIRROR / name, folder / MIRROR / f"{name}.json"
        entry = config["downloads"][name]
        origin = {"made": hash_json([code, entry, config["dataset"]["splits"], [vars(use) for use in group]])}
        if name in given:
            origin = {"given": str(given[name].resolve())}
        if target.is_dir() and mark.is_file() and read_json(mark) == origin:
            continue
        mark.unlink(missing_ok=True)
        for old in (target, folder / "resources" / name):
            shutil.rmtree(old, ignore_errors=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        if name in given:
            shutil.copytree(given[name], target)
        else:
            save_stand_in(group, config, target)
        write_json(mark, origin)
    return list(wanted)


def _quieten() -> None:
    """Turn off the libraries' progress bars, and their warnings about untrained weights."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
