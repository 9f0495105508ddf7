"""Downloads."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from nearid.config.schema.base import ConfigBlock, absent


class Download(ConfigBlock):
    """Where files come from."""

    hub: str = absent()
    """Repository on the hub, with `kind`."""
    kind: Literal["dataset", "model"] = absent()
    """hub: whether it is a data set or a model."""
    git: str = absent(pattern=r"^(https|ssh|file)://(?![^/\s]*:[^/\s]*@)\S+\Z")
    """Git repository (https, ssh or file), with `revision`; no password in it; submodules are fetched too."""
    folder: str = absent()
    """git: the folder of the repository to fetch; the whole repository when missing."""
    url: str = absent(pattern=r"^https?://(?![^/\s]*@)\S+\Z")
    """A file on the web, with `sha256`; no user or password in it."""
    sha256: str = absent(pattern=r"^[0-9a-f]{64}\Z")
    """Checksum: of the file at `url`, or of the archive brought by hand."""
    hand: str = absent()
    """For what a person must bring to `resources/<id>`, because no program may: where to get it, in one sentence."""
    revision: str = ""
    """Commit of the repository. If empty, the first fetch from the hub takes the newest commit, later ones keep it,
    and a warning names the commit to write here."""
    files: list[str] = Field(default_factory=list)
    """Patterns of the files to fetch, each of which must match; none means all. For downloads by hand: what must be
    there once archives are unpacked."""
    unpack: bool = False
    """Unpack ZIP archives into `resources/<id>/unpacked`."""
    licence: str
    """Its licence."""
