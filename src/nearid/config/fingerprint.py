"""A hash of the code that a step runs: Snakemake does not see edits in an imported package, so params carry this.

It covers the statements that the step's command can reach: by the names in them, through imports, and through the
members (engines, objectives, scorers, …) that are loaded by id. `nearid.config.syntax` defines what a statement is, and
what in it changes no result.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearid.config.kept import Kept
from nearid.config.members import PACKAGE, find_module
from nearid.config.syntax import ImportedName, Module, Statement, read_module
from nearid.io.formats import FORMATS

if TYPE_CHECKING:
    from nearid.workflow.step import Step

Settings = Mapping[str, Any]

# Modules for paths, input and output, signals and errors: no result depends on them.
_WITHOUT_EFFECT = (
    "nearid.errors",
    "nearid.layout",
    "nearid.config",
    "nearid.cli.options",
    "nearid.workflow.run_lock",
    "nearid.distributed.signals",
    "nearid.io",
)
# Exceptions: these determine pixels, random draws, or which heads train together.
_WITH_EFFECT = (
    "nearid.config.mixes",
    "nearid.config.variants",
    "nearid.config.packs",
    "nearid.io.images",
    "nearid.io.masks",
    "nearid.io.metadata",
    "nearid.io.randomness",
    "nearid.io.sheets",
)


def _one(*keys: str) -> Callable[[Settings], list[str]]:
    """The value under nested keys, if there is one."""

    def find(settings: Settings) -> list[str]:
        value: Any = settings
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return [value] if isinstance(value, str) else []

    return find


# Family of members -> where a step's settings may name those that it loads.
_MEMBERS: dict[str, tuple[Callable[[Settings], list[str]], ...]] = {
    "nearid.data.datasets": (_one("kind"), _one("dataset", "kind")),
    "nearid.data.masks": (_one("options", "mask_estimator"), _one("dataset", "options", "mask_estimator")),
    "nearid.distractors.engines": (_one("source", "engine"),),
    "nearid.tokens.backbones": (_one("backbone", "kind"),),
    "nearid.heads.objectives": (_one("objective"), lambda settings: _objectives_shown(settings)),
    "nearid.scores.scorers": (_one("scorer", "kind"),),
    "nearid.paper.tables": (
        _one("table"),
        lambda settings: [*settings.get("tables", ()), *settings.get("compared", ())],
    ),
    "nearid.paper.figures": (_one("figure"),),
}


def _objectives_shown(settings: Settings) -> list[str]:
    """Objectives whose heads are shown: table 4 reads their weights."""
    runs = [settings, *settings.get("tables", {}).values(), *settings.get("compared", {}).values()]
    scorers = [scorer for part in runs for scorer in part.get("run", {}).get("scorers", ())]
    return sorted({scorer["training"]["objective"] for scorer in scorers if "training" in scorer})


def step_code(step: str, settings: Settings, kept: Kept | None = None) -> str:
    """Fingerprint of the code of `step` with these settings, and of the formats of its files.

    Args:
        step: its name.
        settings: of a job.
        kept: cache of fingerprints.
    """
    own = _step(step)
    asked = ((f"nearid.{own.function}",), _chosen(settings), tuple((name, FORMATS[name]) for name in own.formats))
    return kept.get(repr(asked), lambda: _fingerprint(*asked)) if kept else _fingerprint(*asked)


def _step(name: str) -> Step:
    from nearid.workflow.steps import STEPS  # which comes after the config

    return STEPS[name]


def code_fingerprint(*modules: str) -> str:
    """Fingerprint of all statements of `modules` and of what they reach.

    A module that does not exist counts as empty: `check_members` reports it.
    """
    return _fingerprint(modules, (), ())


def reach(step: str, settings: Settings) -> dict[str, list[tuple[int, int]]]:
    """Module -> first and last lines of its statements in the fingerprint of `step`, for tests and debugging."""
    found: dict[str, list[tuple[int, int]]] = {}
    reached = _Reach(dict(_chosen(settings)))
    reached.enter(f"nearid.{_step(step).function}")
    for module, statement in reached.statements():
        found.setdefault(module, []).append(statement.lines)
    return found


def files_beside(step: str, settings: Settings) -> set[Path]:
    """Files other than Python in the fingerprint of `step`: templates, the paper's numbers."""
    reached = _Reach(dict(_chosen(settings)))
    reached.enter(f"nearid.{_step(step).function}")
    return reached.files()


def _chosen(settings: Settings) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Members named in the settings, by family; of a family that is missing here, all members count."""
    chosen = {
        family: tuple(dict.fromkeys(name for find in finders for name in find(settings)))
        for family, finders in _MEMBERS.items()
    }
    return tuple((family, names) for family, names in chosen.items() if names)


@functools.cache
def _fingerprint(
    entries: tuple[str, ...], chosen: tuple[tuple[str, tuple[str, ...]], ...], formats: tuple[tuple[str, int], ...]
) -> str:
    reached = _Reach(dict(chosen))
    for entry in entries:
        reached.enter(entry)
    digest = hashlib.sha256(repr(formats).encode())
    for line in sorted(reached.digests()):
        digest.update(line.encode())
    for path in sorted(reached.files()):
        digest.update(f"{path.name}\0{_hash(path)}".encode())
    return digest.hexdigest()[:16]


class _Reach:
    """The statements that can be reached from those entered."""

    def __init__(self, chosen: Mapping[str, tuple[str, ...]]) -> None:
        self._chosen = chosen
        self._found: dict[Statement, str] = {}  # in which module
        self._brought: dict[Statement, set[str]] = {}
        self._run: set[str] = set()
        self._waiting: list[tuple[str, Statement]] = []

    def enter(self, entry: str) -> None:
        """Add a module, or the function of a module, and all that can be reached from it."""
        if find_module(entry):
            self._add_module(entry)
        else:
            module, _, name = entry.rpartition(".")
            self._add_target(ImportedName(module, name))
        while self._waiting:
            self._follow(*self._waiting.pop())

    def statements(self) -> Iterator[tuple[str, Statement]]:
        yield from ((module, statement) for statement, module in self._found.items())

    def digests(self) -> set[str]:
        """One per statement: its own digest, and those of what its names refer to."""
        return {f"{statement.digest} {sorted(self._brought[statement])}\n" for statement in self._found}

    def files(self) -> set[Path]:
        """Files that a statement names, and those that a template among them names."""
        found: set[Path] = set()
        for statement, module in self._found.items():
            beside = _files_beside(module)
            waiting = [beside[name] for name in statement.strings & beside.keys()]
            while waiting:
                path = waiting.pop()
                if path not in found:
                    found.add(path)
                    waiting += [other for name, other in beside.items() if name in _text(path)]
        return found

    def _follow(self, module: str, statement: Statement) -> None:
        brought = self._brought[statement]
        for target in _meant(module, statement):
            brought |= self._add_target(target)
        for target in statement.imports.values():
            # Imported inside a function, so the module runs then.
            if _is_ours(target.module):
                self._run_module(target.module)
        for family, name in sorted(statement.loads):
            for member in self._chosen.get(family) or _members(family):
                brought |= self._add_target(_whole(ImportedName(f"{family}.{member}", name)))

    def _add_target(self, target: ImportedName) -> set[str]:
        """Add what `target` refers to, unless no result depends on it; returns the digests of what was added."""
        if not _is_ours(target.module):
            return {str(target)}
        if not target.name:
            return self._add_module(target.module)
        if not _has_effect(target.module) or not find_module(target.module):
            return set()
        module = _module(target.module)
        self._run_module(target.module)
        if target.name in module.defined:
            return {self._add(target.module, statement) for statement in module.defined[target.name]}
        if target.name in module.imports:
            # A package that loads its members lazily does so in this function.
            lazy = {self._add(target.module, statement) for statement in module.defined.get("__getattr__", ())}
            return lazy | self._add_target(_whole(module.imports[target.name]))
        return self._add_module(target.module)

    def _add_module(self, name: str) -> set[str]:
        if not _has_effect(name) or not find_module(name):
            return set()
        self._run_module(name)
        for target in _module(name).imports.values():
            if _is_ours(target.module):
                self._run_module(target.module)
        return {self._add(name, statement) for statement in _module(name).statements}

    def _run_module(self, name: str) -> None:
        """Add what runs when a module is imported: only statements that bind no name, of the module and its imports."""
        waiting = [name]
        while waiting:
            name = waiting.pop()
            if name in self._run or not _is_ours(name) or not _has_effect(name) or not find_module(name):
                continue
            self._run.add(name)
            module = _module(name)
            for statement in module.always:
                self._add(name, statement)
            waiting += [*module.runs, name.rpartition(".")[0]]

    def _add(self, module: str, statement: Statement) -> str:
        if statement not in self._found:
            self._found[statement] = module
            self._brought[statement] = set()
            self._waiting.append((module, statement))
        return statement.digest


@functools.cache
def _meant(module: str, statement: Statement) -> tuple[ImportedName, ...]:
    """What the names in a statement refer to, except builtins and parameters."""
    found = (_mean(module, statement, name) for name in sorted(statement.names))
    return tuple(dict.fromkeys(target for target in found if target))


def _mean(module: str, statement: Statement, dotted: str) -> ImportedName | None:
    first, *rest = dotted.split(".")
    here = _module(module)
    if first in statement.imports:
        target = _whole(statement.imports[first])
    elif first in here.defined:
        return ImportedName(module, first)
    elif first in here.imports:
        target = _whole(here.imports[first])
    else:
        return None
    for name in rest:
        if target.name or not _is_ours(target.module):
            break
        target = _whole(ImportedName(target.module, name))
    return target


def _whole(target: ImportedName) -> ImportedName:
    """`target`, as a module if it is one."""
    return ImportedName(str(target)) if target.name and _is_ours(target.module) and find_module(str(target)) else target


def _is_ours(module: str) -> bool:
    return module == "nearid" or module.startswith("nearid.")


def _has_effect(module: str) -> bool:
    return _under(module, _WITH_EFFECT) or not _under(module, _WITHOUT_EFFECT)


def _under(module: str, roots: Iterable[str]) -> bool:
    return any(module == root or module.startswith(f"{root}.") for root in roots)


@functools.cache
def _module(name: str) -> Module:
    path = find_module(name)
    assert path is not None  # callers have found the module
    return read_module(name, path)


@functools.cache
def _members(family: str) -> tuple[str, ...]:
    folder = PACKAGE.joinpath(*family.split(".")[1:])
    names = (path.stem if path.suffix == ".py" else path.name for path in folder.iterdir())
    return tuple(sorted(name for name in names if find_module(f"{family}.{name}") and name != "__init__"))


@functools.cache
def _files_beside(module: str) -> Mapping[str, Path]:
    """Name -> file other than Python in a module's folder or in that of its templates."""
    path = find_module(module)
    assert path is not None
    found = (*path.parent.iterdir(), *path.parent.glob("templates/*"))
    return {file.name: file for file in found if file.is_file() and file.suffix not in {".py", ".pyc"}}


@functools.cache
def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.suffix == ".j2" else ""


@functools.cache
def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def forget() -> None:
    """Clear all caches: a test has edited the package's files."""
    for cached in (find_module, _fingerprint, _meant, _module, _members, _files_beside, _text, _hash):
        cached.cache_clear()
