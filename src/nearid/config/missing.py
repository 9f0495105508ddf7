"""Finds what a run would read and what is missing, before the first job, with what can be done about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from nearid.config.downloads import FOLDER
from nearid.config.facts import download_facts
from nearid.config.gaps import without_backbone, without_identities
from nearid.config.inputs import in_lines, missing_path
from nearid.config.loading import settle
from nearid.config.steps import benchmarks_of, step_settings
from nearid.config.types import Config, MutableConfig
from nearid.config.uses import Use, find_paths
from nearid.errors import UserError

_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True)
class Missing:
    """A download, checkout, folder or file that does not exist and that the workflow cannot fetch.

    Attributes:
        name: the download's id, or the path.
        found, action: what is wrong, and what to do about it.
        uses: where the selected members use it.
    """

    name: str
    found: str
    action: str
    uses: tuple[Use, ...]

    @property
    def reason(self) -> str:
        """The reason given for what is left out without it."""
        return f"{self.name} is missing: {self.found}"

    @property
    def needed_by(self) -> str:
        """The config keys that name it."""
        return ", ".join(dict.fromkeys(use.key for use in self.uses))


def find_missing(config: Config, root: Path = Path()) -> list[Missing]:
    """All that the selected members of `config` read, that does not exist, and that cannot be fetched automatically.

    The hub is not asked, and no file is opened.

    Args:
        config: checked and complete.
        root: what its paths are relative to.
    """
    uses = sorted(find_paths(config), key=lambda use: (use.download, "" if use.download else use.below))
    found = []
    for (download, path), group in groupby(uses, key=lambda use: (use.download, "" if use.download else use.below)):
        own = tuple(group)
        if download:
            problem = _why_not_fetched(download, config, root)
        else:
            # An image folder that is not set (an empty path) passes here: curation says what to set.
            problem = None if (root / path).exists() else (f"no {path}", f"put it there, or correct {own[0].key}")
        if problem:
            found.append(Missing(download or path, *problem, own))
    return found


def check_missing(
    config: Config,
    root: Path = Path(),
    fetching: Collection[str] | None = None,
    gone: Mapping[str, str] | None = None,
) -> None:
    """Refuse a run that would read something that is missing.

    Args:
        config: checked and complete.
        root: what its paths are relative to.
        fetching: the downloads that the run would fetch, since some targets need only some; None: all.
        gone: paths that do not exist, by config key.

    Raises:
        UserError: lists what is missing, what needs it, and the two ways to go on.
    """
    missing = [
        one
        for one in find_missing(config, root)
        if fetching is None or one.name in fetching or one.name not in config["downloads"]
    ]
    damaged = list(_find_damaged(config, root))
    known = {use.key for one in missing for use in one.uses}
    told = [missing_path(key, path) for key, path in (gone or {}).items() if key not in known]
    if not missing and not damaged and not told:
        return
    lines = [
        f"{one.name}: {one.found}\n                for {one.needed_by}\n                {one.action}" for one in missing
    ]
    lines += [f"{error.where}: {error.found}\n                {error.action}" for error in (*damaged, *told)]
    without = (
        "bring it; or leave out what needs it: `select: {drop: [...]}` with ids of scorers, sources, heads, or "
        "`on_missing: gap` for all of this at once, with the reasons in tables, figures and page"
    )
    raise UserError(
        f"config `{config['name']}`, before the first job",
        f"{len(lines)} things that a step will read are missing:" + in_lines(lines),
        "all downloads, checkouts and folders of what is selected",
        without,
    )


def leave_out_missing(config: MutableConfig, root: Path = Path()) -> None:
    """Leave out everything that needs something missing, by changing `config`; the reasons are in `select.drop`.

    Raises:
        UserError: nothing is left to score, or what is left is no valid config.
    """
    for one in find_missing(config, root):
        for use in one.uses:
            _leave_out(config, use, one.reason)
    settle(config)
    if not config["select"]["scorers"]:
        reasons = "; ".join(dict.fromkeys(config["select"]["drop"].values()))
        raise UserError(f"config `{config['name']}`", f"nothing is left to score: {reasons}", "a scorer", "bring it")


def _leave_out(config: MutableConfig, use: Use, reason: str) -> None:
    select, (catalogue, name) = config["select"], use.member
    if catalogue == "backbones":
        without_backbone(config, name, reason)
    elif catalogue in ("sources", "scorers"):
        known = select["drop"].get(name, "")
        select["drop"][name] = f"{known}; {reason}" if known and reason not in known else known or reason
    elif (catalogue, name) == ("dreambench", "ratings"):
        select["drop"]["dreambench"] = reason
    elif catalogue == "dreambench":
        for scorer in select["scorers"]:
            seen = "path" in step_settings("score_dreambench", config, scorer=scorer)
            if seen and "dreambench" in benchmarks_of(config, scorer):
                config["scorers"][scorer]["lacks"]["dreambench"] = reason
    elif name == "mtg":
        select["drop"]["mtg"] = reason
        for mix in config["mixes"].values():
            mix["mtg_repeats"] = 0
    else:
        without_identities(config, reason)


def _why_not_fetched(download: str, config: Config, root: Path) -> tuple[str, str] | None:
    """What is wrong with a download, and what to do; None if it exists or can be fetched."""
    entry, folder = config["downloads"][download], root / FOLDER / download
    if (folder / "fetched.json").is_file():
        return None
    if config["mirror"]:
        place = root / config["mirror"] / download
        return None if place.is_dir() else (f"no {place}", f"copy its files there, or unset `mirror`: {_where(entry)}")
    if "hand" in entry:
        from nearid.io.downloads import check_by_hand

        try:
            check_by_hand(download, entry, folder)
        except UserError as error:
            return str(error.found), f"by hand: {error.action}"
    elif "git" in entry and shutil.which("git") is None:
        return "it is in a Git repository, and there is no git", "install git"
    elif download_facts().get(download, {}).get("gated") and not has_token(os.environ):
        action = (
            f"accept the licence ({entry['licence']}) of {entry['hub']} on the hub, then `hf auth login` or HF_TOKEN"
        )
        return "its licence has to be accepted on the hub, and there is no token of the hub here", action
    return None


def has_token(environment: Mapping[str, str]) -> bool:
    """Whether the hub's client can find a token."""
    home = Path(environment.get("HF_HOME", Path.home() / ".cache/huggingface"))
    return any(environment.get(name) for name in _TOKENS) or (home / "token").is_file()


def _find_damaged(config: Config, root: Path) -> Iterator[UserError]:
    """Fetched downloads that are not complete any more, by names and sizes of their files."""
    from nearid.io.downloads import check_fetched

    for download in sorted({use.download for use in find_paths(config)} - {""}):
        try:
            check_fetched(root / FOLDER / download)
        except UserError as error:
            yield error


def _where(entry: Mapping[str, Any]) -> str:
    return str(next(entry[place] for place in ("hub", "git", "url", "hand") if place in entry))
