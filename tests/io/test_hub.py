import hashlib
import json
import logging
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nearid.errors import UserError
from nearid.io.downloads import fetch
from nearid.io.hub import HuggingFace, RemoteFile, refuse_transport
from nearid.io.mirror import Mirror

SETTINGS = {"hub": "owner/set", "kind": "dataset", "revision": "c0ffee", "licence": "MIT", "files": [], "unpack": False}


class Shelf:
    """A hub that is a folder; what it announces may differ from what it delivers."""

    def __init__(self, root: Path) -> None:
        self.root, self.delivered, self.spoiled = root, [], False
        self.head, self.asked = "c0ffee", []

    def resolve(self, repository: str, kind: str, revision: str) -> tuple[str, list[RemoteFile]]:
        if repository != "owner/set":
            raise refuse_transport(repository, ConnectionError("nobody answers\nat all"))
        files = []
        for path in sorted(self.root.rglob("*")):
            if path.is_file():
                content = path.read_bytes()
                large = len(content) > 100
                sha256 = hashlib.sha256(content).hexdigest() if large else None
                git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
                files.append(RemoteFile(str(path.relative_to(self.root)), len(content), sha256, git))
        self.asked.append(revision)
        return revision or self.head, files

    def download(self, repository: str, kind: str, commit: str, file: str, folder: Path) -> None:
        assert commit in ("c0ffee", "decade")
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.root / file, target)
        if self.spoiled:
            content = bytearray(target.read_bytes())
            content[0] ^= 1
            target.write_bytes(content)
        self.delivered.append(file)


@pytest.fixture
def hub(tmp_path: Path) -> Shelf:
    root = tmp_path / "hub"
    (root / "deep").mkdir(parents=True)
    (root / "README.md").write_text("small")
    (root / "deep/weights.bin").write_bytes(bytes(range(256)))
    with zipfile.ZipFile(root / "deep/part.zip", "w") as archive:
        archive.writestr("views/a.jpg", "picture")
    return Shelf(root)


def read_mark(folder: Path) -> Any:
    return json.loads((folder / "fetched.json").read_text())


def test_everything_is_checked_listed_and_not_fetched_twice(hub: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    fetch("set", SETTINGS, folder, hub)
    mark = read_mark(folder)
    assert (mark["revision"], mark["licence"], sorted(mark["files"])) == (
        "c0ffee",
        "MIT",
        ["README.md", "deep/part.zip", "deep/weights.bin"],
    )
    assert mark["files"]["README.md"]["sha256"] == hashlib.sha256(b"small").hexdigest()
    (folder / "README.md").write_text("smalL")
    hub.delivered.clear()
    fetch("set", SETTINGS, folder, hub)
    assert hub.delivered == ["README.md"] and read_mark(folder) == mark


@pytest.mark.parametrize("name", ["README.md", "deep/weights.bin"])
def test_a_spoiled_file_is_refused_and_removed(hub: Shelf, tmp_path: Path, name: str) -> None:
    hub.spoiled = True
    with pytest.raises(UserError, match="checksum"):
        fetch("set", SETTINGS | {"files": [name]}, tmp_path / "set", hub)
    assert not (tmp_path / "set" / name).exists() and not (tmp_path / "set/fetched.json").exists()


def test_patterns_choose_and_archives_are_unpacked_in_their_place(hub: Shelf, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    fetch("set", SETTINGS | {"files": ["*.zip"], "unpack": True}, folder, hub)
    assert hub.delivered == ["deep/part.zip"]
    assert (folder / "unpacked/deep/views/a.jpg").read_text() == "picture"
    with pytest.raises(UserError, match="no file matches"):
        fetch("set", SETTINGS | {"files": ["*.gguf"]}, folder, hub)


def test_an_archive_that_is_none_says_what_to_do(hub: Shelf, tmp_path: Path) -> None:
    (hub.root / "deep/part.zip").write_bytes(b"PK?")
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch("set", SETTINGS | {"unpack": True}, tmp_path / "set", hub)


def test_what_is_not_pinned_is_said_with_its_commit(
    hub: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fetch("set", SETTINGS, tmp_path / "set", hub)
        assert not caplog.text
        fetch("set", SETTINGS | {"revision": ""}, tmp_path / "set", hub)
    assert "downloads.set is not pinned" in caplog.text and "revision: c0ffee" in caplog.text


def test_a_mirror_has_no_commit_to_pin(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "mirror/set").mkdir(parents=True)
    (tmp_path / "mirror/set/a.bin").write_text("a")
    with caplog.at_level(logging.WARNING):
        settings = SETTINGS | {"revision": "", "files": [], "unpack": False}
        fetch("set", settings, tmp_path / "set", Mirror(tmp_path / "mirror/set"))
    assert not caplog.text and not (tmp_path / "set/commit.json").exists()
    assert read_mark(tmp_path / "set")["revision"]


def test_a_later_fetch_keeps_to_the_first_one_s_commit(hub: Shelf, tmp_path: Path) -> None:
    folder, unpinned = tmp_path / "set", SETTINGS | {"revision": ""}
    hub.spoiled = True
    with pytest.raises(UserError, match="checksum"):
        fetch("set", unpinned, folder, hub)
    hub.spoiled, hub.head = False, "decade"
    fetch("set", unpinned, folder, hub)
    (folder / "fetched.json").unlink()  # as Snakemake does before it fetches again
    fetch("set", unpinned, folder, hub)
    assert read_mark(folder)["revision"] == "c0ffee" and hub.asked == ["", "c0ffee", "c0ffee"]
    (folder / "commit.json").unlink()
    fetch("set", unpinned, folder, hub)
    assert read_mark(folder)["revision"] == "decade"
    fetch("set", SETTINGS, folder, hub)
    assert read_mark(folder)["revision"] == "c0ffee"


def test_an_unreachable_hub_is_four_lines(hub: Shelf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody answers\\)") as error:
        fetch("set", SETTINGS | {"hub": "owner/other"}, tmp_path / "set", hub)
    assert len(str(error.value).splitlines()) == 4


@pytest.mark.parametrize("call", ["repo_info", "hf_hub_download"])
def test_what_the_hub_s_client_raises_is_four_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    import huggingface_hub

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ValueError("Access to this model is restricted\nand more")

    monkeypatch.setattr(huggingface_hub.HfApi if call == "repo_info" else huggingface_hub, call, refuse)
    with pytest.raises(UserError, match=r"restricted\)") as error:
        if call == "repo_info":
            HuggingFace().resolve("owner/set", "model", "")
        else:
            HuggingFace().download("owner/set", "model", "c0ffee", "weights.bin", tmp_path)
    assert "accepted licence" in str(error.value) and len(str(error.value).splitlines()) == 4
