"""Names that lead out of their folder, and folders that others can write."""

import os
import tempfile
from pathlib import Path

import pytest

from nearid.config import load
from nearid.errors import UserError
from nearid.io.paths import below, make_private
from nearid.layout import Layout
from nearid.sweeps.plan import plan_sweep
from nearid.tokens.staging import stage

OUT = ["../x", "a/../../x", "/x", "", ".", "a\nb", "a\0b", ".."]


@pytest.mark.parametrize("name", OUT)
def test_no_name_leads_out_of_its_folder(tmp_path, name):
    layout = Layout(tmp_path / "run")
    for join in (
        lambda: below(tmp_path, name),
        lambda: layout.head(name),
        lambda: layout.paper(name),
    ):
        with pytest.raises(UserError, match="name"):
            join()


@pytest.mark.parametrize("name", ["../x", "/x", "a\nb"])
def test_ids_of_steps_stay_in_the_results(tmp_path, name):
    layout = Layout(tmp_path / "run")
    for join in (
        lambda: layout.metrics(name),
        lambda: layout.table(name, "csv"),
        lambda: layout.figure(name, "png"),
        lambda: layout.tokens("siglip2", name),
        lambda: layout.log("paper", "make_table", name),
    ):
        with pytest.raises(UserError, match="name"):
            join()


def test_ordinary_names_are_joined(tmp_path):
    assert below(tmp_path, "a", "b/c.txt", "..d") == tmp_path / "a/b/c.txt/..d"


def test_a_sweep_stays_in_its_results(tmp_path, monkeypatch):
    overlay = tmp_path / "here.yaml"
    overlay.write_text(f"results_dir: {tmp_path}/results\n")
    with pytest.raises(UserError, match="name"):
        plan_sweep("../../../out", ["config/demo.yaml", overlay])
    assert not (tmp_path / "results").exists() and load("config/demo.yaml")


def test_a_private_folder_is_made_and_known_again(tmp_path):
    for _ in range(2):
        make_private(tmp_path / "a" / "own", "test")
    assert (tmp_path / "a/own").stat().st_mode & 0o777 == 0o700


@pytest.fixture
def public():
    """A folder that anybody can enter, such as one in a cluster's scratch."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def plant_link(folder):
    (folder.parent / "elsewhere").mkdir()
    folder.symlink_to(folder.parent / "elsewhere")


def plant_open(folder):
    folder.mkdir()
    folder.chmod(0o777)


def plant_below_open(folder):
    folder.mkdir(mode=0o700)
    folder.parent.chmod(0o777)


def plant_foreign(folder):
    folder.mkdir()
    os.chown(folder, 12345, 12345)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (plant_link, "a link"),
        (plant_open, "others may write it"),
        (plant_below_open, "and so replace it"),
        pytest.param(plant_foreign, "of user 12345", marks=pytest.mark.skipif(os.geteuid() != 0, reason="not root")),
    ],
)
def test_a_folder_that_others_can_write_is_refused(public, plant, says):
    folder = public / "place" / "shared"
    folder.parent.mkdir()
    folder.parent.chmod(0o755)
    plant(folder)
    with pytest.raises(UserError, match=says):
        make_private(folder, "test")
    with pytest.raises(UserError, match=says):
        stage([], folder)


def test_what_lies_in_a_folder_of_one_s_own_needs_no_other_modes(public):
    folder = public / "place" / "shared"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    folder.parent.chmod(0o700)
    make_private(folder, "test")
