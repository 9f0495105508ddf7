"""What comes from outside writes nothing outside its folder, and runs nothing."""

import hashlib
import zipfile

import pytest

from nearid.errors import UserError
from nearid.io import downloads, hub

SETTINGS = {"hub": "a/b", "kind": "dataset", "revision": "c0", "licence": "mit", "files": [], "unpack": True}


class Repository:
    """A hub that serves `files`, by names it chooses itself."""

    def __init__(self, files):
        self.files, self.asked = files, []

    def resolve(self, repository, kind, revision):
        sizes = [(path, content, hashlib.sha256(content).hexdigest()) for path, content in self.files.items()]
        return "c0", [hub.RemoteFile(path, len(content), digest, None) for path, content, digest in sizes]

    def download(self, repository, kind, commit, file, folder):
        self.asked.append(file)
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(self.files[file])


def archive(tmp_path, members):
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as content:
        for name, text in members.items():
            content.writestr(name, text)
    return path.read_bytes()


@pytest.mark.parametrize("name", ["../escaped.txt", "a/../../escaped.txt", "/tmp/nearid-escaped.txt"])
def test_a_repositorys_file_names_stay_in_the_folder(tmp_path, name):
    repository = Repository({name: b"x"})
    with pytest.raises(UserError, match="files below"):
        downloads.fetch("it", SETTINGS, tmp_path / "resources/it", repository)
    assert not repository.asked and not list(tmp_path.rglob("*escaped*"))


def test_an_archive_with_a_member_outside_its_folder_is_refused(tmp_path):
    content = archive(tmp_path, {"good/a.txt": "x", "../../escaped.txt": "x", "/absolute/escaped.txt": "x"})
    with pytest.raises(UserError, match=r"escaped\.txt"):
        downloads.fetch("it", SETTINGS, tmp_path / "deep/resources/it", Repository({"set/data.zip": content}))
    assert not list(tmp_path.rglob("*escaped*")) and not list(tmp_path.rglob("fetched.json"))


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    content = archive(tmp_path, {f"{n}.bin": bytes(30 << 20) for n in range(5)})
    assert len(content) < 1 << 20
    with pytest.raises(UserError, match="GB in"):
        downloads.fetch("it", SETTINGS, tmp_path / "it", Repository({"data.zip": content}))
    assert not list(tmp_path.rglob("*.bin"))
