"""Members (engines, objectives, scorers, …) that a config names: an id is the name of a module."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from nearid.config.steps import training_of
from nearid.config.types import Config
from nearid.errors import UserError

PACKAGE = Path(__file__).resolve().parents[1]


def check_members(config: Config) -> None:
    """Report all members that a config names and that do not exist.

    Raises:
        UserError: lists every missing member with the keys that ask for it.
    """
    missing = missing_members(config)
    if missing:
        lines = "".join(f"\n            {module} (for {', '.join(keys)})" for module, keys in missing.items())
        raise UserError(
            f"config `{config['name']}`",
            f"{len(missing)} plug-ins that do not exist yet:{lines}",
            "a file for each, e.g. src/nearid/heads/objectives/nearid.py",
            "select others in `select`, write them, or run config/demo.yaml; a dry run (-n) plans without them",
        )


def missing_members(config: Config) -> dict[str, list[str]]:
    """Modules without a file -> config keys that ask for them, in the order of the stages."""
    missing: dict[str, list[str]] = {}
    for module, key in _members(config):
        if find_module(module) is None:
            missing.setdefault(module, []).append(key)
    return missing


def objective_params(objective: str) -> set[str] | None:
    """The parameters of an objective, read from its `Loss` class without importing it; None: no such module."""
    path = find_module(f"nearid.heads.objectives.{objective}")
    if path is None:
        return None
    classes = (node for node in ast.parse(path.read_bytes()).body if isinstance(node, ast.ClassDef))
    body = next((node.body for node in classes if any(ast.unparse(base) == "Loss" for base in node.bases)), [])
    fields = (node.target for node in body if isinstance(node, ast.AnnAssign))
    return {target.id for target in fields if isinstance(target, ast.Name)}


@functools.cache
def find_module(module: str) -> Path | None:
    """The file of a module of this package; None if there is none."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


def _members(config: Config) -> Iterator[tuple[str, str]]:
    select, dataset = config["select"], config["dataset"]
    yield f"nearid.data.datasets.{dataset['kind']}", "dataset.kind"
    estimator = dataset["image_folder"]["mask_estimator"]
    if dataset["kind"] == "image_folder" and estimator:
        yield f"nearid.data.masks.{estimator}", "dataset.image_folder.mask_estimator"
    for source in select["sources"]:
        yield f"nearid.distractors.engines.{config['sources'][source]['engine']}", f"sources.{source}"
    for backbone in used_backbones(config):
        yield f"nearid.tokens.backbones.{config['backbones'][backbone]['kind']}", f"backbones.{backbone}"
    for ablation in select["ablations"]:
        yield f"nearid.heads.objectives.{config['ablations'][ablation]['objective']}", f"ablations.{ablation}"
    for scorer in select["scorers"]:
        yield f"nearid.scores.scorers.{config['scorers'][scorer]['kind']}", f"scorers.{scorer}"
    for benchmark in select["benchmarks"]:
        yield f"nearid.scores.{benchmark}", "select.benchmarks"
    for table in select["tables"]:
        yield f"nearid.paper.tables.{table}", f"paper.tables.{table}"
    for figure in select["figures"]:
        yield f"nearid.paper.figures.{figure}", f"paper.figures.{figure}"


def used_backbones(config: Config) -> list[str]:
    """Backbones whose tokens this run needs."""
    trained = [training_of(config, ablation)["backbone"] for ablation in config["select"]["ablations"]]
    scored = [config["scorers"][scorer].get("backbone") for scorer in config["select"]["scorers"]]
    return [name for name in config["backbones"] if name in {*trained, *scored}]
