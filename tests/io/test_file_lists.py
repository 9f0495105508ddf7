"""A list of a folder's files changes when they do, and only then."""

import os
import shutil

import pytest

from nearid.io import file_lists
from nearid.io.file_lists import hash_looks, hash_models, refresh_list


@pytest.fixture
def folder(tmp_path):
    for name in ("mug/0.jpg", "mug/1.jpg", "cup/0.jpg", "classes.csv"):
        (tmp_path / "things" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "things" / name).write_text(f"content of {name}")
    return tmp_path / "things"


def write(folder, name, text):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(text)


def write_at_the_same_time(folder, name):
    """As a restored copy would: same size, same time, other content."""
    state = (folder / name).stat()
    (folder / name).write_text((folder / name).read_text().upper())
    os.utime(folder / name, ns=(state.st_atime_ns, state.st_mtime_ns))


def write_older(folder, name):
    (folder / name).write_text("another")
    os.utime(folder / name, (1e9, 1e9))


CHANGES = {
    "another content": lambda folder: write(folder, "mug/0.jpg", "another"),
    "an older time": lambda folder: write_older(folder, "mug/0.jpg"),
    "the same size and time": lambda folder: write_at_the_same_time(folder, "mug/0.jpg"),
    "a new file": lambda folder: write(folder, "mug/0.mask.png", ""),
    "a new folder": lambda folder: write(folder, "plate/0.jpg", "plate"),
    "a file gone": lambda folder: (folder / "cup/0.jpg").unlink(),
    "a file renamed": lambda folder: (folder / "cup/0.jpg").rename(folder / "cup/1.jpg"),
    "two files swapped": lambda folder: [
        (folder / "mug/0.jpg").rename(folder / "x"),
        (folder / "mug/1.jpg").rename(folder / "mug/0.jpg"),
        (folder / "x").rename(folder / "mug/1.jpg"),
    ],
    "a link to a folder": lambda folder: (folder / "linked").symlink_to(folder / "cup"),
    "a link to nowhere": lambda folder: (folder / "broken.jpg").symlink_to(folder / "nothing"),
    "a name that is no UTF-8": lambda folder: (folder / "mug/0.jpg").rename(
        os.fsdecode(os.fsencode(folder) + b"/mug/\xe9.jpg")
    ),
    "a name with a newline": lambda folder: (folder / "mug/0.jpg").rename(folder / "mug/a\nb.jpg"),
}
NO_CHANGES = {
    "nothing": lambda folder: None,
    "another time": lambda folder: os.utime(folder / "mug/0.jpg"),
    "other permissions": lambda folder: (folder / "mug/0.jpg").chmod(0o600),
    "written again": lambda folder: write(folder, "mug/0.jpg", "content of mug/0.jpg"),
    "a copy of all": lambda folder: (
        [shutil.copytree(folder, folder.parent / "copy"), shutil.rmtree(folder)]
        and shutil.move(folder.parent / "copy", folder)
    ),
    "hidden files": lambda folder: [
        write(folder, ".DS_Store", ""),
        write(folder, "mug/.thumb.jpg", ""),
        write(folder, ".git/HEAD", ""),
        write(folder, "__pycache__/a.pyc", ""),
    ],
    "a link round": lambda folder: (folder / "round").symlink_to(folder),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(folder, tmp_path, change):
    target = tmp_path / "run/list.tsv"
    assert refresh_list(target, folder)
    CHANGES[change](folder)
    assert refresh_list(target, folder)
    assert not refresh_list(target, folder)


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_is_no_change_leaves_the_list_and_its_time(folder, tmp_path, change):
    target = tmp_path / "run/list.tsv"
    refresh_list(target, folder)
    before = target.read_text(), target.stat().st_mtime_ns
    NO_CHANGES[change](folder)
    assert not refresh_list(target, folder)
    assert (target.read_text(), target.stat().st_mtime_ns) == before


@pytest.mark.parametrize("change", ["another content", "an older time", "a new file", "two files swapped"])
def test_sizes_and_times_tell_of_folders_too_large_to_read(folder, tmp_path, change, monkeypatch):
    monkeypatch.setattr(file_lists, "HASHED_BYTES", 10)
    monkeypatch.setattr(file_lists, "hash_file", lambda path: pytest.fail(f"{path} is read"))
    assert refresh_list(tmp_path / "list.tsv", folder)
    CHANGES[change](folder)
    assert refresh_list(tmp_path / "list.tsv", folder)


def test_what_is_known_is_not_read_again(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(file_lists, "_COARSE_NS", -1)  # files this young would be read again
    refresh_list(tmp_path / "list.tsv", folder)
    read = []
    monkeypatch.setattr(file_lists, "hash_file", lambda path: read.append(path.name) or "0")
    write(folder, "mug/1.jpg", "new")
    refresh_list(tmp_path / "list.tsv", folder)
    assert read == ["1.jpg"]


def test_pipes_and_devices_are_listed_and_not_opened(folder, tmp_path):
    os.mkfifo(folder / "mug/pipe.jpg")
    (folder / "mug/endless.jpg").symlink_to("/dev/zero")
    assert refresh_list(tmp_path / "list.tsv", folder)
    lines = (tmp_path / "list.tsv").read_text().splitlines()
    assert [line for line in lines if "not readable" in line] == [
        '"mug/endless.jpg"\t0\tnot readable',
        '"mug/pipe.jpg"\t0\tnot readable',
    ]
    assert not refresh_list(tmp_path / "list.tsv", folder)


def test_a_single_file_has_a_list_too(folder, tmp_path):
    assert refresh_list(tmp_path / "list.tsv", folder / "classes.csv")
    (folder / "classes.csv").write_text("subject,class\n")
    assert refresh_list(tmp_path / "list.tsv", folder / "classes.csv")


def test_a_damaged_record_costs_reading_alone(folder, tmp_path):
    refresh_list(tmp_path / "list.tsv", folder)
    for text in ("", "[1]", '{"a": 2}\n', "\0\0"):
        (tmp_path / ".list.tsv.seen").write_text(text)
        assert not refresh_list(tmp_path / "list.tsv", folder)


def test_a_hash_of_looks_takes_missing_sources_for_empty(folder, tmp_path):
    before = hash_looks(folder, tmp_path / "nowhere")
    assert before == hash_looks(folder)
    write_older(folder, "mug/0.jpg")
    assert hash_looks(folder) != before


def test_a_download_is_known_by_its_recorded_contents_wherever_it_lies(folder, tmp_path):
    before = hash_models(folder)
    write_older(folder, "mug/0.jpg")
    assert hash_models(folder) != before, "a folder of one's own is known by the times of its files"
    (folder / "fetched.json").write_text('{"files": {"mug/0.jpg": {"size": 3, "sha256": "aa"}}}')
    shutil.copytree(folder, tmp_path / "moved")
    write_older(tmp_path / "moved", "mug/0.jpg")
    assert hash_models(folder) == hash_models(tmp_path / "moved") != before
    (tmp_path / "moved/fetched.json").write_text('{"files": {"mug/0.jpg": {"size": 3, "sha256": "bb"}}}')
    assert hash_models(folder) != hash_models(tmp_path / "moved")


def test_no_source_is_an_error_of_the_caller(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        refresh_list(tmp_path / "list.tsv", tmp_path / "nowhere")
