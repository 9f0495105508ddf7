"""Structure of the package: one-way imports, light parsing, environments that agree."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src/nearid"
GROUND = ("errors", "io", "layout", "config", "workflow", "distributed", "margins", "dreambench")
STAGES = ("data", "distractors", "tokens", "heads", "scores", "paper")
ABOVE = ("release", "planning", "doctor", "sweeps", "rehearsal", "cli")
RANK = {name: 0 for name in GROUND} | {name: 1 + place for place, name in enumerate(("demo", *STAGES, *ABOVE))}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield path, ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            own = path.relative_to(PACKAGE.parent).parts[: -node.level] if node.level else ()
            yield ".".join([*own, node.module])


@pytest.mark.parametrize("path", [path for path, _ in modules()], ids=[name for _, name in modules()])
def test_imports_follow_the_stages(path):
    parts = path.relative_to(PACKAGE).parts
    own = RANK.get(Path(parts[0]).stem, 99)
    for name in imports_of(path):
        pieces = name.split(".")
        if pieces[0] == "nearid" and len(pieces) > 1:
            assert RANK[pieces[1]] <= own, f"{path.relative_to(ROOT)} imports {name}, a later stage"


def test_no_circles():
    graph = {}
    known = {name for _, name in modules()}
    for path, name in modules():
        graph[name] = set()
        for node in ast.parse(path.read_text()).body:  # imports inside functions break cycles on purpose
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("nearid"):
                for imported in node.names:
                    inner = f"{node.module}.{imported.name}"
                    graph[name].add(inner if inner in known else node.module)
    done = set()

    def walk(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for inner in graph.get(name, ()):
                if inner != name:
                    walk(inner, [*trail, name])
            done.add(name)

    for name in graph:
        walk(name, [])


def test_config_layout_and_cli_import_nothing_heavy():
    heavy = ("torch", "transformers", "vtkmodules", "matplotlib", "pandas", "pyarrow", "deepspeed", "cv2", "sklearn")
    program = (
        "import sys, nearid.config, nearid.layout, nearid.cli, nearid.config.documentation\n"
        "nearid.config.load('config/demo.yaml')\n"
        "for stage in nearid.cli.STAGES: nearid.cli.nearid.get_command(None, stage)\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    program = program.replace("get_command(None", "get_command(__import__('click').Context(nearid.cli.nearid)")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def read_lock(name):
    return (ROOT / f"envs/{name}.lock").read_text().splitlines()


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_image_is_made_from_the_lock_and_what_is_here():
    sections = dict(re.findall(r"^%(\w+)\n((?:(?!^%).*\n)*)", (ROOT / "envs/nearid.def").read_text(), re.MULTILINE))
    copied = dict(line.split() for line in sections["files"].splitlines() if line.strip())
    assert all((ROOT / name).exists() and place == f"/opt/nearid/{name}" for name, place in copied.items())
    locks = [f"envs/{name}.lock" for name in ("all", "build", "hashed")]
    asked = (*locks, "pyproject.toml", project()["readme"], "src")
    assert set(copied) == set(asked), "what pip needs to install the package"
    assert all(name in sections["post"] for name in locks) and "--no-build-isolation .\n" in sections["post"]
    python = re.search(r"From: python:([\d.]+)-", (ROOT / "envs/nearid.def").read_text())[1]
    assert project()["requires-python"] == f">={python}" and f"python{python}" in (ROOT / "Makefile").read_text()
    libraries = re.search(r"packages=\((.*?)\)", (ROOT / ".ci/run").read_text(), re.DOTALL)[1].split()
    assert {name for name in libraries if name.startswith("lib")} <= set(sections["post"].split()), "as in CI"


@pytest.mark.parametrize("name", ["data", "diffusion", "train", "eval", "paper", "workflow", "all"])
def test_environments_agree_with_pyproject(name):
    extras = project()["optional-dependencies"]
    chosen = list(extras) if name == "all" else [name]
    wanted = {*project()["dependencies"], *(entry for extra in chosen for entry in extras[extra])}
    lock = [line for line in read_lock(name) if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[^ ]+", line) for line in lock), "a lock holds exact pins alone"
    normal = {f"{canonicalize_name(Requirement(entry).name)}{Requirement(entry).specifier}" for entry in wanted}
    assert normal <= set(lock), f"run `make lock`: {sorted(normal - set(lock))}"
    assert set(lock) <= set(read_lock("all")), "one version of each package everywhere"
    if name != "all":
        listed = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())["dependencies"][-1]["pip"]
        assert set(listed) == wanted


def test_what_is_installed_is_held_against_hashes():
    """Every package of `all.lock` in its version, except torch, whose wheel differs by index; and the build tools."""
    pins = {
        name: set(re.findall(r"^([^# ]+==[^ ]+)", "\n".join(read_lock(name)), re.M)) for name in ("hashed", "build")
    }
    wanted = {pin for pin in read_lock("all") if not pin.startswith(("#", "torch=="))}
    assert pins["hashed"] == wanted, f"run `make lock`: {sorted(pins['hashed'] ^ wanted)}"
    tools = {pin.split("==")[0] for pin in pins["build"]}
    assert tools == {"pip", "setuptools"} and tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"][
        "requires"
    ] == [pin for pin in pins["build"] if pin.startswith("setuptools")]
    for name in pins:
        for entry in re.split(r"\n(?=\S)", "\n".join(read_lock(name)))[1:]:
            assert re.fullmatch(r"\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", entry), entry


def test_dependencies_are_declared():
    """What the package imports is listed in pyproject.toml."""
    names = {"PIL": "pillow", "cv2": "opencv-python-headless", "sklearn": "scikit-learn", "yaml": "pyyaml"}
    names |= {"vtkmodules": "vtk"}
    declared = {
        canonicalize_name(Requirement(entry).name)
        for entries in (project()["dependencies"], *project()["optional-dependencies"].values())
        for entry in entries
    }
    for path, _ in modules():
        for name in imports_of(path):
            top = name.split(".")[0]
            if top != "nearid" and top not in sys.stdlib_module_names:
                found = canonicalize_name(names.get(top, top))
                assert found in declared, f"{path.relative_to(ROOT)} imports {top}, which pyproject.toml lacks"


@pytest.mark.parametrize("path", [path for path, _ in modules()], ids=[name for _, name in modules()])
def test_no_module_is_long(path):
    lines = len(path.read_text().splitlines())
    assert lines <= 400, f"{path.relative_to(ROOT)} has {lines} lines: it does more than one thing"
