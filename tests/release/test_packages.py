"""Wheel and sdist: built, installed beside nothing of the checkout, and used."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import nearid

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def call(*words, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Both, from a clean copy: building writes beside the sources."""
    folder = tmp_path_factory.mktemp("built")
    files = call("git", "ls-files", "pyproject.toml", "README.md", "LICENSE", "src", cwd=ROOT).split()
    for file in files:
        target = folder / "source" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / file).read_bytes())
    program = "from setuptools import build_meta as b; print(b.build_wheel('..'), b.build_sdist('..'))"
    call(sys.executable, "-c", program, cwd=folder / "source")
    return folder


def test_what_is_in_them(built):
    wheel = next(built.glob(f"nearid-{nearid.__version__}-*.whl"))
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = ("config/facts.yaml", "demo/siglip/model.safetensors", "paper/templates/index.html.j2")
    assert {f"nearid/{name}" for name in wanted} <= names
    with tarfile.open(built / f"nearid-{nearid.__version__}.tar.gz") as content:
        packed = {name.split("/", 1)[-1] for name in content.getnames()}
    assert {"pyproject.toml", "src/nearid/config/facts.yaml", "README.md"} <= packed


@pytest.mark.parametrize("kind", ["whl", "tar.gz"])
def test_installed_it_works_away_from_the_checkout(built, run, picture, tmp_path, kind):
    target = tmp_path / "installed"
    package = next(built.glob(f"*.{kind}"))
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    call(sys.executable, "-m", "pip", "install", *offline, "--target", target, package)
    environment = {**os.environ, "PYTHONPATH": str(target), "HF_HUB_OFFLINE": "1"}
    where = call(sys.executable, "-c", "import nearid; print(nearid.__file__)", cwd=tmp_path, env=environment)
    assert str(target) in where
    one = picture("one.png")
    words = ["score", "--model", run.layout.head("nearid"), one, one]
    answer = call(sys.executable, "-m", "nearid", *words, cwd=tmp_path, env=environment)
    assert float(answer.split()[-1]) == pytest.approx(1, abs=1e-5)
    assert nearid.__version__ in call(sys.executable, "-m", "nearid", "--version", cwd=tmp_path, env=environment)
    # Snakemake finds its logger by the package's name.
    program = (
        "import inspect; from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry as Plugins;"
        "print(inspect.getfile(Plugins().get_plugin('nearid').log_handler))"
    )
    assert str(target) in call(sys.executable, "-c", program, cwd=tmp_path, env=environment)
