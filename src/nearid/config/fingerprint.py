"""A hash of the code that a step runs: Snakemake does not see edits in an imported package, so params carry this."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nearid.config.members import PACKAGE, find_module

# They say where results lie and what went wrong, never what a result is; an edit there must not re-run everything.
_WITHOUT_EFFECT = ("nearid.errors", "nearid.layout", "nearid.config", "nearid.cli", "nearid.io.progress")

# Step -> the modules that do its work; {kind} and the like are the members that it looks up by id.
_MODULES: dict[str, tuple[str, ...]] = {
    "curate_positives": ("data.positives", "data.datasets.{dataset}", "data.masks.{estimator}"),
    "make_mtg": ("data.mtg",),
    "inpaint_shard": ("distractors.runner", "distractors.engines.{engine}"),
    "make_quality_sheet": ("distractors.quality",),
    "extract_tokens": ("tokens.extraction", "tokens.backbones.{backbone}"),
    "train_head": ("heads.training", "heads.objectives.{objective}"),
    "score_nearid_bench": ("scores.nearid_bench", "scores.scorers.{scorer}", "tokens.backbones.{backbone}"),
    "score_mtg": ("scores.mtg", "scores.scorers.{scorer}", "tokens.backbones.{backbone}"),
    "score_dreambench": ("scores.dreambench", "scores.scorers.{scorer}", "tokens.backbones.{backbone}"),
    "summarise_scores": ("scores.summary",),
    "make_table": ("paper.tables", "paper.tables.{table}"),
    "compute_figure": ("paper.figures", "paper.figures.{figure}"),
    "plot_figure": ("paper.figures", "paper.figures.{figure}"),
    "compare_with_paper": ("paper.comparison",),
    "show_identities": ("paper.browser",),
    "make_page": ("paper.page",),
    "write_summary": ("paper.summary",),
    "write_manifest": ("paper.manifest",),
    "write_crate": ("paper.crate",),
    "export_model": ("release.export",),
    "export_datasets": ("release.export",),
}


def step_code(step: str, settings: Mapping[str, Any]) -> str:
    """Fingerprint of the code of `step` with these settings, members included."""
    names = {
        "dataset": settings.get("kind"),
        "estimator": settings.get("options", {}).get("mask_estimator"),
        "engine": settings.get("source", {}).get("engine") if isinstance(settings.get("source"), dict) else None,
        "backbone": settings.get("backbone", {}).get("kind"),
        "objective": settings.get("objective"),
        "scorer": settings.get("scorer", {}).get("kind"),
        "table": settings.get("table"),
        "figure": settings.get("figure"),
    }
    modules = [module.format(**names) for module in _MODULES[step]]
    return code_fingerprint(*(f"nearid.{module}" for module in (*modules, *_shown(settings))))


def _shown(settings: Mapping[str, Any]) -> list[str]:
    """Tables that a step builds beside its own module, and the objectives whose weights table 4 reads."""
    tables = {**settings.get("tables", {}), **settings.get("compared", {})}
    table4 = settings if settings.get("table") == "table4" else tables.get("table4", {})
    trained = [scorer["training"] for scorer in table4.get("run", {}).get("scorers", []) if "training" in scorer]
    objectives = sorted({training["objective"] for training in trained})
    return [*(f"paper.tables.{table}" for table in tables), *(f"heads.objectives.{name}" for name in objectives)]


@functools.cache
def code_fingerprint(*modules: str) -> str:
    """Hash of the files of `modules` and of all that they import inside nearid (found by `ast`, nothing is imported).

    Files other than Python in these modules' folders (templates, style sheets, the paper's numbers) count too. A module
    that does not exist counts as empty: `check_members` speaks of it.
    """
    digest = hashlib.sha256()
    for path in sorted({path for module in _closure(modules) for path in _files(module)}):
        digest.update(f"{path.relative_to(PACKAGE)}\0{_hash(path)}\0".encode())
    return digest.hexdigest()[:16]


def _closure(modules: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in seen or find_module(module) is None:
            continue
        seen.add(module)
        waiting += _imports(module)
    return seen


@functools.cache
def _imports(module: str) -> tuple[str, ...]:
    """The modules of nearid that `module` imports anywhere, and the packages around it."""
    path = find_module(module)
    assert path is not None  # _closure asks for found modules only
    found = {module.rpartition(".")[0]}
    for node in _statements(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return tuple(name for name in found if name.startswith("nearid.") and not name.startswith(_WITHOUT_EFFECT))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    # Not `ast.walk`: imports are statements, and expressions are nine tenths of a tree.
    for block in ("body", "orelse", "handlers", "finalbody", "cases"):
        inner = getattr(node, block, ())
        for statement in inner if isinstance(inner, list) else ():
            yield statement
            yield from _statements(statement)


@functools.cache
def _files(module: str) -> tuple[Path, ...]:
    path = find_module(module)
    assert path is not None
    if path.name != "__init__.py":
        return (path,)
    beside = (*path.parent.iterdir(), *path.parent.glob("templates/*"))
    return (path, *(file for file in beside if file.is_file() and file.suffix not in {".py", ".pyc"}))


@functools.cache
def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
