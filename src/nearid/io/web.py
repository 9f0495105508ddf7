"""One file at a URL, with its SHA-256; an interrupted transfer is resumed."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from nearid.errors import UserError
from nearid.io.hub import RemoteFile, refuse_transport

_TIMEOUT_S = 60
_BLOCK = 1 << 20


class WebFile:
    """The file behind a URL; it is trusted because of its checksum only, whatever the server.

    Args:
        sha256: of the whole file.
    """

    def __init__(self, sha256: str) -> None:
        self._sha256 = sha256

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        """The checksum in place of a commit, and the file, named by the last part of the URL.

        Raises:
            UserError: the URL does not end in a file name.
        """
        name = PurePosixPath(unquote(urlsplit(repository).path)).name
        if not name or name in (".", ".."):
            raise UserError(repository, "no file's name at its end", "https://…/name", "correct `url`")
        return self._sha256, [RemoteFile(name, -1, self._sha256, None)]

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        """See `nearid.io.hub.Hub`.

        Raises:
            UserError: the server cannot be reached or refuses.
        """
        partial = folder / f".{file}.partial"
        start = partial.stat().st_size if partial.exists() else 0
        request = urllib.request.Request(repository, headers={"Range": f"bytes={start}-"} if start else {})
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
                # A server without support for ranges sends all of it.
                with partial.open("ab" if answer.status == http.HTTPStatus.PARTIAL_CONTENT else "wb") as stream:
                    while block := answer.read(_BLOCK):
                        stream.write(block)
                expected = answer.headers.get("Content-Length")
                if expected is not None and answer.length:
                    raise http.client.IncompleteRead(b"", answer.length)
        except urllib.error.HTTPError as error:
            if not start or error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise refuse_transport(repository, error) from error
            # Nothing is missing after what is here; whether it is right is checked by its checksum.
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            raise refuse_transport(repository, error) from error
        partial.replace(folder / file)
