"""Joining untrusted names to folders, and folders that nobody else can write."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from pathlib import Path, PurePosixPath

from nearid.errors import UserError


def below(folder: Path, *names: str) -> Path:
    """`folder` joined with `names` (each a name, or several with slashes), none of which may lead out of it.

    Raises:
        UserError: a name is empty or absolute, or has `..` or a control character.
    """
    for name in names:
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or any(sign < " " or sign == "\x7f" for sign in name):
            raise UserError(folder, f"the name {name!r}", "a name of something in this folder", "correct the name")
    return folder.joinpath(*names)


def make_private(folder: Path, purpose: str) -> None:
    """Make `folder` if it is missing, and check that it is ours, no link, and that nobody else can write or replace it.

    Args:
        folder: the folder.
        purpose: what is read from it, for the message.

    Raises:
        UserError: others could place files in it.
        OSError: it cannot be made.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise _refuse(folder, "a link or a file", purpose)
    if found.st_uid != os.geteuid():
        raise _refuse(folder, f"a folder of user {found.st_uid}", purpose)
    problem = f"others may write it (mode {found.st_mode & 0o777:o})" if _others_write(found) else ""
    for above in folder.resolve().parents:
        about = above.stat()
        if about.st_uid == os.geteuid() and not about.st_mode & 0o011:
            problem = ""  # nobody else can enter
        elif _others_write(about) and not about.st_mode & stat.S_ISVTX:
            problem = f"others may write {above} (mode {about.st_mode & 0o777:o}), and so replace it"
    if problem:
        raise _refuse(folder, problem, purpose)


def _others_write(found: os.stat_result) -> bool:
    """Whether anybody else may write it; a group with the user's own name has no other members."""
    if found.st_mode & 0o002:
        return True
    try:
        return bool(found.st_mode & 0o020) and grp.getgrgid(found.st_gid).gr_name != pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return True


def _refuse(folder: Path, found: str, purpose: str) -> UserError:
    return UserError(
        folder, found, f"a folder of your own that nobody else can write: {purpose}", "chmod go-w, or choose another"
    )
