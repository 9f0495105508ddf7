"""Inputs, params, resources and logs of a step's rule, as functions that Snakemake calls with a job's wildcards.

Snakemake re-runs no job for a changed param whose function takes `input`, `threads` or `resources`; some functions here
take one of these only for that.
"""

from __future__ import annotations

import functools
import json
import math
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nearid.config.packs import scored_along, trained_along
from nearid.workflow.graph import Graph, JobId
from nearid.workflow.groups import group_of
from nearid.workflow.jobs import Job, Jobs
from nearid.workflow.needs import needs_of
from nearid.workflow.step import Needs
from nearid.workflow.steps import RULES, STEPS

Asked = Callable[..., Any]


class Rules:
    """Inputs, params, resources, groups and logs of the rules of a run.

    Args:
        graph: of its jobs.
        group_sizes: returns how many short jobs share a cluster job, by group; called when jobs are planned.
    """

    def __init__(self, graph: Graph, group_sizes: Callable[[], Mapping[str, int]]) -> None:
        self.graph, self.config, self.layout, self.files = graph, graph.config, graph.layout, graph.files
        self._jobs = Jobs(self.config, self.layout, graph)
        self._needs = functools.cache(self._find_needs)
        self._group_sizes = functools.cache(group_sizes)
        self.allowed_minutes: Mapping[str, float] = {}
        """How long a cluster lets a job of a step run, where that is known."""
        self._trained_along = functools.cache(functools.partial(trained_along, self.config))

    # inputs
    def inputs(self, step: str) -> Asked:
        """All inputs of a job of the step, except the `untimed` ones."""
        return _of_ids(functools.partial(self.graph.inputs, step))

    def untimed(self, step: str) -> Asked:
        """Inputs that must exist, but whose modification times re-run nothing."""
        return _of_ids(functools.partial(self.graph.ancient, step))

    def paths(self, find: Callable[[], Iterable[object]]) -> Asked:
        """The files that `find` lists, evaluated as late as possible."""
        return lambda wildcards: [str(path) for path in find()]

    # params: only what a step reads, so that a changed setting re-runs just the steps that use it
    def results(self, wildcards: Any) -> str:
        """The results folder."""
        return str(self.layout.root)

    def settings(self, step: str) -> Asked:
        """The step's settings as one JSON argument."""
        return _of_ids(lambda **ids: _to_json(self.graph.settings(step, **ids)))

    def code(self, step: str) -> Asked:
        """A hash of the code that the step runs: Snakemake does not see edits in an imported package."""
        return _of_ids(functools.partial(self.graph.code, step))

    def mirror(self, wildcards: Any, threads: int) -> list[str]:
        """The mirror, if downloads come from one. A change is no reason to fetch again: the content is the same."""
        return ["--mirror", self.config["mirror"]] if self.config["mirror"] else []

    def joined_parts(self, wildcards: Any, input: Any) -> list[str]:
        """The number of parts that a shard was painted in, if several; the images do not depend on it."""
        parts = self.files.parts(wildcards.source, wildcards.shard)
        return ["--join", str(parts)] if parts > 1 else []

    def trained_along(self, wildcards: Any, threads: int) -> str:
        """The heads that train together with an ablation's, as one JSON argument; this head does not depend on them."""
        return _to_json(self._trained_along(wildcards.ablation))

    def scored_along(self, benchmark: str) -> Asked:
        """The scorers that are scored together with one, as one JSON argument; its scores do not depend on them."""
        return lambda wildcards, threads: _to_json(scored_along(self.config, wildcards.scorer, benchmark))

    def launcher(self, wildcards: Any, resources: Any, threads: int) -> list[str]:
        """The srun command that starts several ranks, if a profile asks for them (`mpi`, `tasks`, `nodes`)."""
        if not resources.get("mpi"):
            return []
        asked = f"--nodes={resources.get('nodes', 1)} --ntasks={resources.tasks} --cpus-per-task={threads}"
        return [*shlex.split(resources.mpi), *asked.split()]

    def group(self, step: str) -> Asked:
        """The group in which a job shares a cluster job; None if it is submitted alone."""
        return _of_ids(lambda **ids: group_of(self._describe(step, **ids), self._group_sizes()))

    # logs
    def log(self, rule: str) -> str:
        """The log of a rule's jobs."""
        return str(self.layout.log(RULES[rule].stage, rule, RULES[rule].job))

    def benchmark(self, rule: str) -> str:
        """The file with the time and memory of a rule's jobs."""
        return str(self.layout.benchmark(RULES[rule].stage, rule, RULES[rule].job))

    # resources: from the table of steps and the work of a job, more with each attempt; those of one cluster are in
    # slurm/config.yaml
    def memory(self, step: str) -> Asked:
        """Megabytes of memory."""
        return lambda wildcards, attempt: self._needs(step, **_ids(wildcards)).memory_mb * attempt

    def minutes(self, step: str) -> Asked:
        """Time limit in minutes; for later attempts at most what the cluster allows, since long steps resume."""

        def find(wildcards: Any, attempt: int) -> int:
            first = self._needs(step, **_ids(wildcards)).minutes
            if attempt == 1:
                return first
            # A group requests the time of all its jobs.
            together = self._group_sizes().get(self.group(step)(wildcards), 1)
            allowed = self.allowed_minutes.get(step, math.inf) / together
            return max(first, int(min(first * attempt, allowed)))

        return find

    def gpus(self, step: str) -> Asked:
        """Number of GPUs."""
        return lambda wildcards: self._needs(step, **_ids(wildcards)).gpus

    def decoders(self, wildcards: Any) -> int:
        """Threads that decode and preprocess for a GPU; without one, a single thread decodes and computes tokens."""
        return 8 if self.gpus("extract_tokens")(wildcards) else 1

    def packed_heads(self, wildcards: Any) -> int:
        """1 if a head trains together with others, else 0."""
        return int(bool(self._trained_along(wildcards.ablation)))

    def _find_needs(self, step: str, **ids: str) -> Needs:
        return needs_of(self._describe(step, **ids))

    def _describe(self, step: str, **ids: str) -> Job:
        return self._jobs.describe(JobId(STEPS[step], tuple(ids.items())))


def those(names: Iterable[str], which: Callable[[str], bool], wanted: bool) -> str:
    """A wildcard's pattern: the names for which `which(name)` equals `wanted`."""
    return "|".join(name for name in names if which(name) == wanted) or "(?!)"


def _ids(wildcards: Any) -> Mapping[str, str]:
    return dict(wildcards.items())


def _of_ids(find: Callable[..., Any]) -> Asked:
    return lambda wildcards: find(**_ids(wildcards))


def _to_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
