"""Which edits re-run which steps: fingerprints compared with the code that the steps really run."""

import ast
import json
import shutil
from pathlib import Path

import pytest
from end_to_end import copy_project, end, start

import nearid.config
from nearid.config import fingerprint, members
from nearid.config.syntax import read_module
from nearid.workflow.steps import STEPS

PACKAGE = Path(__file__).resolve().parents[2] / "src/nearid"
# Modules that run a step, but are not part of its work.
DOORS = ("nearid.__main__", "nearid.cli")
CODED = [step for step in STEPS.values() if step.function and step.name != "inpaint_part"]
COMMANDS = {step.function: step.name for step in CODED}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the package that tests may edit."""
    copy = tmp_path / "nearid"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "siglip"))
    monkeypatch.setattr(members, "PACKAGE", copy)
    monkeypatch.setattr(fingerprint, "PACKAGE", copy)
    fingerprint.forget()
    yield copy
    monkeypatch.undo()
    fingerprint.forget()


@pytest.fixture(scope="module")
def settings():
    """Settings of each step of the test config."""
    config = nearid.config.load("config/demo.yaml", "config/test.yaml")
    ids = {"source": "sibling", "shard": "000", "ablation": "nearid", "scorer": "nearid", "table": "table1"}
    ids |= {"figure": "figure5", "backbone": "demo_siglip", "collection": "positives"}
    ids["backbone"] = next(iter(nearid.config.load("config/demo.yaml")["backbones"]))
    return {step.name: nearid.config.step_settings(step.name, config, **ids) for step in CODED}


def codes(settings):
    fingerprint.forget()
    found = {step: fingerprint.step_code(step, own) for step, own in settings.items()}
    paste = settings["inpaint_shard"] | {"source": {"engine": "cut_paste"}}
    found["inpaint_shard, cut_paste"] = fingerprint.step_code("inpaint_shard", paste)
    infonce = settings["train_head"] | {"objective": "infonce"}
    found["train_head, infonce"] = fingerprint.step_code("train_head", infonce)
    return found


PAINTING = {"inpaint_shard", "inpaint_shard, cut_paste"}
TRAINING = {"train_head", "train_head, infonce"}
FIGURE = {"compute_figure", "plot_figure"}
COMPUTING_TOKENS = {"extract_tokens", *TRAINING, "score_nearid_bench", "score_mtg", "score_dreambench"}


@pytest.mark.parametrize(
    ("edited", "old", "new", "changed"),
    [
        ("distractors/engines/sibling.py", "return ", "return 1 and ", {"inpaint_shard"}),
        ("distractors/runner.py", "def paint_shard(", "def paint_shard(extra=0, *, ", PAINTING),
        # Page and comparison have table 4, which shows its weights.
        ("heads/objectives/nearid.py", "return ", "return 1 and ", {"train_head", "compare_with_paper", "make_page"}),
        ("heads/training.py", "\ndef train(", "\n@staticmethod\ndef train(", TRAINING),
        ("scores/margins.py", "def count_wins(", "def count_wins(extra=0, *, ", {"summarise_scores"}),
        ("scores/summary.py", "return ", "return 1 and ", {"summarise_scores"}),
        ("paper/tables/table1.py", "return ", "return 1 and ", {"make_table", "compare_with_paper", "make_page"}),
        ("paper/templates/index.html.j2", "<body", "<body class='x'", {"make_page"}),
        ("paper/templates/page.js", "const all", "const everything", {"make_page"}),
        ("tokens/backbones/siglip.py", "return ", "return 1 and ", {*COMPUTING_TOKENS, *FIGURE, "export_model"}),
        ("config/variants.py", "return ", "return 1 and ", {"extract_tokens", *TRAINING}),
        ("cli/tokens.py", "pictures = [", "pictures = [] or [", {"extract_tokens"}),
        ("doctor/checks.py", "return ", "return 1 and ", set()),
        ("io/programs.py", "return ", "return 1 and ", set()),
        ("config/steps.py", "return ", "return 1 and ", set()),
        ("errors.py", "return ", "return 1 and ", set()),
        ("layout.py", "return ", "return 1 and ", set()),
        ("io/files.py", "return ", "return 1 and ", set()),
    ],
)
def test_an_edit_changes_the_steps_that_run_it(package, settings, edited, old, new, changed):
    before = codes(settings)
    text = (package / edited).read_text()
    assert old in text
    (package / edited).write_text(text.replace(old, new))
    after = codes(settings)
    assert {name for name in before if before[name] != after[name]} == changed


BEFORE = '''
"""About."""
from __future__ import annotations
from math import floor

LIMIT = 3


def double(value: int, times: int = 2) -> int:
    """Twice."""
    total = [value for step in range(times)]
    return sum(total) + LIMIT


class Thing:
    """A thing."""

    size: int = 1

    def grow(self, by: int) -> None:
        for step in range(by):
            self.size += floor(step)
'''


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("return sum", "# why\n    return sum", True),
        ('    """Twice."""\n', "", True),
        ("value: int,", "value,", True),
        (") -> int:", "):", True),
        ("    return sum", "    logger.info('%d', LIMIT)\n    return sum", True),
        ("size: int = 1", "size: float = 1", True),
        ("total", "everything", True),
        ("step", "turn", True),
        ("\n\n\nclass Thing", "\n\n\n\n\nclass Thing", True),
        ("from math import floor", "import os\nfrom math import floor", True),
        ("LIMIT = 3", "LIMIT = 4", False),
        ("times: int = 2", "times: int = 3", False),
        ("sum(total)", "max(total)", False),
        ("floor(step)", "floor(by)", False),
        ("from math import floor", "from numpy import floor", False),
        ("size: int = 1", "size: ClassVar[int] = 1", False),
    ],
)
def test_what_changes_no_result_changes_no_fingerprint(package, old, new, same):
    for name, text in (("before", BEFORE), ("after", BEFORE.replace(old, new))):
        (package / f"{name}.py").write_text(text)
    assert BEFORE.count(old)
    equal = fingerprint.code_fingerprint("nearid.before.double", "nearid.before.Thing") == fingerprint.code_fingerprint(
        "nearid.after.double", "nearid.after.Thing"
    )
    assert equal == same


def test_a_moved_function_changes_no_fingerprint(package, settings):
    before = codes(settings)
    margins = package / "scores/margins.py"
    text = margins.read_text()
    start_of, end_of = text.index("def count_wins("), text.index("\n\n\n", text.index("def count_wins("))
    moved = text[start_of:end_of]
    imports = "".join(line + "\n" for line in text[: text.index("\n\n\n")].splitlines() if "import" in line)
    here = "from nearid.scores.moved import count_wins\n"
    rest = text[:start_of] + text[end_of:]
    place = rest.index("\nimport numpy") + 1
    margins.write_text(rest[:place] + here + rest[place:])
    there = "from nearid.scores.margins import CROSSES, SIMILARITIES, Columns\n"
    (package / "scores/moved.py").write_text(f"{imports}{there}\n\n{moved}\n")
    assert codes(settings) == before


def test_comments_docstrings_and_types_everywhere_change_nothing(package, settings):
    """The whole package without any of them, printed from its syntax tree."""
    before = codes(settings)
    for path in package.rglob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.returns = None
                for argument in (*node.args.args, *node.args.kwonlyargs):
                    argument.annotation = None
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
                node.body = node.body[1:] or [ast.Pass()]
        path.write_text("# Edited.\n" + ast.unparse(tree) + "\n")
    assert codes(settings) == before


def test_a_format_changes_the_steps_that_write_or_read_it(settings, monkeypatch):
    before = codes(settings)
    monkeypatch.setitem(fingerprint.FORMATS, "tokens", 1000)
    after = codes(settings)
    changed = {"extract_tokens", *TRAINING, "score_nearid_bench", "score_mtg", "compute_figure"}
    assert {name for name in before if before[name] != after[name]} == changed


def test_every_function_of_a_step_exists():
    """A renamed function must not silently drop out of its step's fingerprint."""
    for step in CODED:
        module, _, name = f"nearid.{step.function}".rpartition(".")
        assert name in read_module(module, members.find_module(module)).defined
        assert set(step.formats) <= fingerprint.FORMATS.keys()
    for family in fingerprint._MEMBERS:
        assert fingerprint._members(family)


TRACER = '''
"""Writes down which functions of the package a step runs."""
import os, sys, threading
words = sys.orig_argv
if "--settings" in words and "nearid" in words:
    os.environ["TRACED"] = "\\t".join([*words[words.index("--log") + 2 :][:2], words[words.index("--settings") + 1]])
if "TRACED" in os.environ:
    seen, folder = set(), os.environ["TRACE_FOLDER"]
    def imports(frame):
        while frame and not (frame.f_code.co_name == "<module>" and "/nearid/" in frame.f_code.co_filename):
            frame = frame.f_back
        return frame and not frame.f_code.co_filename.endswith("__main__.py")
    def trace(frame, event, argument):
        code = frame.f_code
        # Not the bodies of classes, nor what a module does while it is imported.
        if code not in seen and code.co_flags & 1:
            if "/nearid/" not in code.co_filename or code.co_name.startswith("<"):
                seen.add(code)
            elif not imports(frame):
                seen.add(code)
                with open(f"{folder}/{os.getpid()}.txt", "a") as out:
                    fields = (os.environ["TRACED"], code.co_filename, str(code.co_firstlineno), code.co_name)
                    out.write("\\t".join(fields) + "\\n")
    sys.settrace(trace)
    threading.settrace(trace)
'''


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_step_runs_no_function_that_is_not_in_its_fingerprint(package, tmp_path):
    """All steps of the test config, traced; and editing any file that a step runs changes its fingerprint."""
    project = copy_project(tmp_path / "project")
    (project / "src/sitecustomize.py").write_text(TRACER)
    folder = tmp_path / "traced"
    folder.mkdir()
    end(start(project, variables={"TRACE_FOLDER": str(folder)}), project, 2000)
    ran = {}
    for path in folder.iterdir():
        for line in path.read_text().splitlines():
            group, command, settings, file, number, name = line.split("\t")
            step = COMMANDS[f"cli.{group}.{command.replace('-', '_')}"]
            ran.setdefault((step, settings), set()).add((file.partition("src/nearid/")[2], int(number), name))
    others = {"export_model", "export_datasets", "write_crate", "make_quality_sheet", "score_dreambench"}
    assert {step for step, _ in ran} >= {step.name for step in CODED} - others
    reaches = {}
    for step, text in ran:
        reaches.setdefault(step, []).append(fingerprint.reach(step, json.loads(text)))
    missed = set()
    for (step, text), functions in ran.items():
        settings = json.loads(text)
        reached = fingerprint.reach(step, settings)
        code = fingerprint.step_code(step, settings)
        edited = set()
        for file, line, name in sorted(functions):
            if not file.endswith(".py"):  # a template, as the function that it was compiled to
                assert package / file in fingerprint.files_beside(step, settings)
                continue
            module = ".".join(["nearid", *Path(file).with_suffix("").parts]).removesuffix(".__init__")
            # Python calls a package's `__getattr__` before it looks for a module of that name.
            if not fingerprint._has_effect(module) or module in DOORS or name == "__getattr__":
                continue
            # The manifest records the settings of all steps, which the config computes; they are its own inputs.
            if step == "write_manifest" and module.startswith("nearid.config."):
                continue
            if not holds(reached, module, line):
                # A job may train or score others along with its own; each of them has its own fingerprint.
                if not any(holds(found, module, line) for found in reaches[step]):
                    missed.add((step, module, name))
            elif file not in edited:
                edited.add(file)
                assert code != edit(package / file, line, step, settings), f"{step}: {module}, {name}"
    assert not missed, sorted(missed)


def holds(reached, module, line):
    return any(first <= line <= last for first, last in reached.get(module, ()))


def edit(path, line, step, settings):
    """The fingerprint after renaming the function at `line`; the file is restored."""
    lines = path.read_text().splitlines(keepends=True)
    while not lines[line - 1].lstrip().startswith(("def ", "async def ")):
        line += 1
    changed = lines[line - 1].replace("def ", "def edited_", 1)
    path.write_text("".join([*lines[: line - 1], changed, *lines[line:]]))
    fingerprint.forget()
    try:
        return fingerprint.step_code(step, settings)
    finally:
        path.write_text("".join(lines))
        fingerprint.forget()
