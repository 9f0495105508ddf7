"""Write envs/<name>.lock and envs/<name>.yaml from pyproject.toml and what is installed (`make lock`).

A lock pins an extra's packages and all their dependencies to the versions in the running environment; the YAML file
does the same for conda. `all.lock` has every extra. `make setup` installs `build.lock` (tools that build packages) and
then `hashed.lock`: pins with the hashes of all published files of each version, so that they are valid on any machine.
"""

import subprocess
import sys
import tempfile
import tomllib
import venv
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FOLDER = Path(__file__).parent
ENVIRONMENTS = {
    "data": ["data"],
    "diffusion": ["diffusion"],
    "train": ["train"],
    "eval": ["eval"],
    "paper": ["paper"],
    "workflow": ["workflow"],
    "all": ["data", "diffusion", "train", "eval", "paper", "workflow", "dev"],
}
# Their wheels differ by index (CPU, CUDA releases), so no list has all hashes.
UNHASHED = {"torch"}
BUILD = ["pip", "setuptools"]
UV = "uv==0.13.9"
YAML = """# Made by `make lock` from pyproject.toml; {name}.lock pins what these packages bring along.
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
{pins}
"""


def main() -> None:
    """Write all locks and environment files; exit with an error if a package is not installed."""
    project = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]
    for name, extras in ENVIRONMENTS.items():
        wanted = list(project["dependencies"])
        for extra in extras:
            wanted += project["optional-dependencies"][extra]
        wanted = sorted(set(wanted), key=str.lower)
        pins = sorted(closure(wanted))
        head = f"# Made by `make lock`: {', '.join(extras)}, with all that they bring along.\n"
        (FOLDER / f"{name}.lock").write_text(head + "".join(f"{pin}\n" for pin in pins))
        if name != "all":
            listed = "\n".join(f"      - {pin}" for pin in wanted)
            (FOLDER / f"{name}.yaml").write_text(YAML.format(name=name, pins=listed))
    hashed = sorted(pin for pin in pins if pin.split("==")[0] not in UNHASHED)
    write_hashed({"hashed": hashed, "build": [f"{name}=={version(name)}" for name in BUILD]})


def write_hashed(locks: dict[str, list[str]]) -> None:
    """Write locks (name -> pins), with the hashes that the package index lists for them."""
    with tempfile.TemporaryDirectory() as scratch:
        venv.create(scratch, with_pip=True)
        subprocess.run([f"{scratch}/bin/python", "-m", "pip", "install", "--quiet", UV], check=True)
        for name, pins in locks.items():
            wanted = Path(scratch, "wanted.txt")
            wanted.write_text("\n".join(pins))
            options = ["--quiet", "--no-config", "--no-deps", "--universal", "--no-header", "--no-annotate"]
            target = FOLDER / f"{name}.lock"
            command = [f"{scratch}/bin/uv", "pip", "compile", *options, "--generate-hashes", "--python-version", "3.11"]
            done = subprocess.run([*command, str(wanted)], check=True, stdout=subprocess.PIPE, text=True)
            target.write_text(f"# Made by `make lock`: pins and the hashes of their files.\n{done.stdout}")


def closure(wanted: list[str]) -> set[str]:
    """Pins of `wanted` and of all that they require, as installed here."""
    pins: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(entry) for entry in wanted]
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in seen:
            continue
        seen.add(key)
        try:
            # A local label (+cpu) depends on the index, not on us.
            installed = version(requirement.name).split("+")[0]
        except PackageNotFoundError:
            sys.exit(f"{requirement} is not installed here: install it, then run this again")
        if not requirement.specifier.contains(installed):
            sys.exit(f"pyproject.toml wants {requirement}, {installed} is installed: make them agree")
        pins.add(f"{key[0]}=={installed}")
        for entry in requires(requirement.name) or []:
            inner = Requirement(entry)
            extras = ["", *requirement.extras]
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)
    return pins


if __name__ == "__main__":
    main()
