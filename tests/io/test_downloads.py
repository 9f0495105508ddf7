"""Every kind of download: broken off, wrong, changed afterwards; archives in a folder of their own."""

import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import typing
import zipfile

import pytest

from nearid.errors import UserError
from nearid.io import locks
from nearid.io.downloads import check_by_hand, check_fetched, fetch, verify
from nearid.io.hub import RemoteFile

COMMON = {"revision": "", "licence": "MIT", "files": [], "unpack": False}


def git(folder, *arguments):
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder, files):
    git(folder, "init", "--quiet", "--initial-branch=main", ".")
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=one")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path):
    """Settings of a bare repository with a folder of ratings and a submodule."""
    module, work = tmp_path / "module", tmp_path / "work"
    module.mkdir()
    work.mkdir()
    commit(module, {"src/layers.py": "LAYERS = 1\n"})
    git(work, "init", "--quiet", "--initial-branch=main", ".")
    git(work, "submodule", "add", "--quiet", f"file://{module}", "external/layers")
    commit(work, {"ratings/a.json": '{"a": 1}', "ratings/deep/b.json": '{"b": 2}', "other.txt": "x"})
    (work / "ratings/a.json").write_text("later")
    first = git(work, "rev-parse", "HEAD")
    git(work, "commit", "--quiet", "--all", "--message=two")
    git(tmp_path, "clone", "--quiet", "--bare", str(work), "bare.git")
    return COMMON | {"git": f"file://{tmp_path}/bare.git", "revision": first}


def names(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))
    return sorted(path.relative_to(folder).as_posix() for path in files)


def test_a_folder_of_a_git_repository_is_taken_at_its_commit(repository, tmp_path):
    folder = tmp_path / "ratings"
    fetch("ratings", repository | {"folder": "ratings"}, folder)
    assert names(folder) == ["a.json", "deep/b.json", "fetched.json"]
    assert (folder / "a.json").read_text() == '{"a": 1}'
    mark = json.loads((folder / "fetched.json").read_text())
    assert mark["revision"] == repository["revision"] and mark["from"] == repository["git"]


def test_submodules_come_along_at_the_commit_that_the_repository_names(repository, tmp_path):
    fetch("code", repository, tmp_path / "code")
    assert (tmp_path / "code/external/layers/src/layers.py").read_text() == "LAYERS = 1\n"
    assert not list((tmp_path / "code").glob(".git-*"))


def test_git_says_what_it_cannot_have(repository, tmp_path):
    with pytest.raises(UserError, match="no folder 'rating'"):
        fetch("code", repository | {"folder": "rating"}, tmp_path / "code")
    with pytest.raises(UserError, match="cannot be read"):
        fetch("code", repository | {"revision": "0" * 40}, tmp_path / "code")
    with pytest.raises(UserError, match="cannot be read"):
        fetch("code", repository | {"git": f"file://{tmp_path}/none.git"}, tmp_path / "code")
    assert not (tmp_path / "code/fetched.json").exists()


def test_a_link_in_a_git_repository_is_refused(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "passwords").symlink_to("/etc/passwd")
    revision = commit(work, {"a": "a"})
    with pytest.raises(UserError, match="symbolic link"):
        fetch("code", COMMON | {"git": f"file://{work}", "revision": revision}, tmp_path / "code")


KILLED = """
import os, signal, sys
from pathlib import Path
from nearid.io import downloads, git, web

settings, folder, after = {settings!r}, Path({folder!r}), {after}
done = 0
for origin in (git.GitRepository, web.WebFile):
    def download(self, *arguments, whole=origin.download):
        global done
        done += 1
        if done > after:
            (arguments[-1] / ".half.partial").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        whole(self, *arguments)
    origin.download = download
downloads.fetch("killed", settings, folder)
"""


def test_a_fetch_that_was_killed_goes_on(repository, tmp_path):
    settings, folder = repository | {"folder": "ratings"}, tmp_path / "ratings"
    program = KILLED.format(settings=settings, folder=str(folder), after=1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == -signal.SIGKILL
    assert (folder / "a.json").is_file() and not (folder / "fetched.json").exists()
    kept = (folder / "a.json").stat().st_ino
    fetch("ratings", settings, folder)
    assert (folder / "a.json").stat().st_ino == kept and not list(folder.glob(".git-*"))
    assert (folder / "deep/b.json").read_text() == '{"b": 2}'


class Server(http.server.BaseHTTPRequestHandler):
    """Serves `content`; breaks off after `limit` bytes."""

    content, limit, ranges = b"", None, True
    asked: typing.ClassVar[list[str | None]] = []

    def do_GET(self):
        wanted = self.headers.get("Range")
        type(self).asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.ranges else 0
        if start >= len(self.content):
            self.send_response(416)
            self.end_headers()
            return
        body = self.content[start:]
        self.send_response(206 if wanted and self.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.limit])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    Server.content, Server.limit, Server.ranges, Server.asked = bytes(range(256)) * 40, None, True, []
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        digest = hashlib.sha256(Server.content).hexdigest()
        yield COMMON | {"url": f"http://127.0.0.1:{running.server_port}/some/table.csv?download=true", "sha256": digest}
        running.shutdown()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_url_that_broke_off_is_gone_on_with(server, tmp_path, ranges):
    folder = tmp_path / "table"
    Server.limit, Server.ranges = 5000, ranges
    with pytest.raises(UserError, match="IncompleteRead"):
        fetch("table", server, folder)
    Server.limit = None
    fetch("table", server, folder)
    assert Server.asked == [None, "bytes=5000-"]
    assert names(folder) == ["fetched.json", "table.csv"] and (folder / "table.csv").read_bytes() == Server.content


def test_a_url_s_other_content_is_refused_and_removed(server, tmp_path):
    Server.content = b"a page that asks for a login"
    with pytest.raises(UserError, match="another content than its checksum"):
        fetch("table", server, tmp_path / "table")
    assert names(tmp_path / "table") == []


def test_a_url_that_answers_no_is_four_lines(server, tmp_path):
    Server.content = b""
    with pytest.raises(UserError, match="cannot be read") as error:
        fetch("table", server, tmp_path / "table")
    assert len(str(error.value).splitlines()) == 4


def archive(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as content:
        for name, text in members.items():
            content.writestr(name, text)


SAMPLES = COMMON | {
    "hand": "samples.zip is on the authors' drive",
    "files": ["samples/emu2*/src_image/*.jpg", "samples/emu2*/tgt_image/*.jpg"],
    "unpack": True,
}
WHOLE = {"samples/emu2_a/src_image/0.jpg": "reference", "samples/emu2_a/tgt_image/0.jpg": "generated"}


def test_by_hand_says_what_to_bring_and_where(tmp_path):
    folder = tmp_path / "samples"
    with pytest.raises(UserError, match="nothing in") as error:
        fetch("samples", SAMPLES, folder)
    assert "the authors' drive" in error.value.action and str(folder) in error.value.action


def test_by_hand_as_an_archive_or_unpacked(tmp_path):
    archive(tmp_path / "zip/samples.zip", WHOLE)
    fetch("samples", SAMPLES, tmp_path / "zip")
    assert (tmp_path / "zip/unpacked/samples/emu2_a/src_image/0.jpg").read_text() == "reference"
    for name, text in WHOLE.items():
        (tmp_path / "open" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "open" / name).write_text(text)
    fetch("samples", SAMPLES, tmp_path / "open")
    mark = json.loads((tmp_path / "open/fetched.json").read_text())
    assert set(mark["files"]) == set(WHOLE) and mark["from"] == "by hand"


def test_by_hand_names_the_first_file_that_is_missing_or_other(tmp_path):
    folder = tmp_path / "samples"
    archive(folder / "samples.zip", {"samples/emu2_a/src_image/0.jpg": "reference"})
    with pytest.raises(UserError, match=r"nothing like samples/emu2\*/tgt_image"):
        fetch("samples", SAMPLES, folder)
    assert names(folder) == ["samples.zip"]
    (folder / "samples.zip").write_text("<html>Sign in")
    with pytest.raises(UserError, match="cannot be unpacked"):
        fetch("samples", SAMPLES, folder)
    with pytest.raises(UserError, match="checksum differs"):
        check_by_hand("samples", SAMPLES | {"sha256": "0" * 64}, folder)
    archive(folder / "samples.zip", WHOLE)
    fetch("samples", SAMPLES, folder)


@pytest.fixture
def fetched(tmp_path):
    folder = tmp_path / "samples"
    archive(folder / "samples.zip", WHOLE)
    fetch("samples", SAMPLES, folder)
    return folder


@pytest.mark.parametrize("name", ["samples.zip", "unpacked/samples/emu2_a/tgt_image/0.jpg"])
def test_what_changed_afterwards_is_found_at_the_next_use(fetched, name):
    check_fetched(fetched)
    with (fetched / name).open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(UserError, match="bytes") as error:
        check_fetched(fetched)
    assert error.value.where == str(fetched / name)
    (fetched / name).unlink()
    if name != "samples.zip":
        with pytest.raises(UserError, match="missing"):
            check_fetched(fetched)
        (fetched / "fetched.json").unlink()
        fetch("samples", SAMPLES, fetched)
        assert verify(fetched) == 1


@pytest.mark.parametrize("name", ["samples.zip", "unpacked/samples/emu2_a/tgt_image/0.jpg"])
def test_other_content_of_the_same_size_is_found_by_verify(fetched, name):
    assert verify(fetched) == 1
    content = (fetched / name).read_bytes()
    (fetched / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError):
        verify(fetched)


def test_an_archive_overwrites_no_file_that_was_checked(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "model.safetensors").write_text("checked")
    archive(folder / "part.zip", {"model.safetensors": "planted", "fetched.json": "{}", "emu2": "x"})
    fetch("set", SAMPLES | {"files": ["emu2"]}, folder)
    assert (folder / "model.safetensors").read_text() == "checked"
    assert (folder / "unpacked/model.safetensors").read_text() == "planted"
    assert verify(folder) == 2


@pytest.mark.parametrize("member", ["../../outside", "/outside", "a/../../outside"])
def test_members_that_leave_their_folder_are_refused(tmp_path, member):
    archive(tmp_path / "set/part.zip", {member: "x", "emu2": "x"})
    with pytest.raises(UserError, match="outside"):
        fetch("set", SAMPLES | {"files": ["emu2"]}, tmp_path / "set")
    assert names(tmp_path) == ["set/part.zip"]


def test_two_archives_with_other_contents_for_one_file_are_refused(tmp_path):
    archive(tmp_path / "set/a.zip", {"emu2": "one"})
    archive(tmp_path / "set/b.zip", {"emu2": "two"})
    with pytest.raises(UserError, match=r"another emu2 than a\.zip"):
        fetch("set", SAMPLES | {"files": ["emu2"]}, tmp_path / "set")


class SlowHub:
    """Gives a file once somebody else waits, and counts what is asked of it."""

    def __init__(self, others):
        self.others, self.brought = others, []

    def resolve(self, repository, kind, revision):
        return revision, [RemoteFile("a.txt", 1, None, None)]

    def download(self, repository, kind, commit, file, folder):
        assert self.others.wait(60), "the second fetch does not wait for the first"
        self.brought.append(file)
        (folder / file).write_text("a")


def test_two_fetches_into_one_folder_take_turns(tmp_path, monkeypatch):
    waits = threading.Event()
    monkeypatch.setattr(locks.logger, "info", lambda *said: waits.set())
    entry = {"hub": "a/b", "kind": "model", "revision": "c", "licence": "x", "files": [], "unpack": False}
    hubs = [SlowHub(waits), SlowHub(waits)]
    threads = [threading.Thread(target=fetch, args=("x", entry, tmp_path / "x", hub)) for hub in hubs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(hub.brought for hub in hubs) == [[], ["a.txt"]]
    assert (tmp_path / "x/fetched.json").is_file()
