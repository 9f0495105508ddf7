"""The jobs of a config, as Snakemake plans them: derived from the same inputs and outputs."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearid.config.accepted import result_code
from nearid.config.downloads import named_downloads, required_downloads
from nearid.config.inputs import own_paths
from nearid.config.kept import Kept
from nearid.config.steps import step_settings
from nearid.config.types import Config
from nearid.config.uses import find_uses
from nearid.layout import Layout
from nearid.workflow.files import Files
from nearid.workflow.step import WILDCARDS, Step
from nearid.workflow.steps import STEPS


@dataclass(frozen=True)
class JobId:
    """A job: its step, and its ids in the order of their wildcards."""

    step: Step
    values: tuple[tuple[str, str], ...]

    @property
    def ids(self) -> dict[str, str]:
        """Id by wildcard."""
        return dict(self.values)

    @property
    def name(self) -> str:
        """The name of its log and benchmark."""
        return _fill(self.step.job, self.ids)


class Graph:
    """Settings and inputs of each job, and all jobs that a target takes.

    Args:
        config: checked and complete.
        layout: of its results.
        listed: gives the input that stands for a file or folder of the user; `layout.file_list` by default.
        kept: cache of fingerprints.
    """

    def __init__(
        self,
        config: Config,
        layout: Layout,
        listed: Callable[[str], Path | str] | None = None,
        kept: Kept | None = None,
    ) -> None:
        self._kept = kept
        self.config, self.layout, self.files = config, layout, Files(config, layout)
        self._listed = listed or layout.file_list
        self.settings = functools.cache(self._find_settings)
        self.inputs = functools.cache(self._find_inputs)

    def _find_settings(self, name: str, **ids: str) -> Any:
        """Settings of the step `name`."""
        return step_settings(name, self.config, **ids)

    def code(self, name: str, **ids: str) -> str:
        """Fingerprint of the code that a job of the step `name` runs, or the one accepted for it."""
        return result_code(name, self.settings(name, **ids), self.layout.root, self._kept)

    def _find_inputs(self, name: str, **ids: str) -> list[str]:
        """Inputs of a job of the step `name`, without the `ancient` ones."""
        step = STEPS[name]
        found = [str(path) for path in step.inputs(self.files, **ids)]
        if "downloads" in step.reads:
            named = required_downloads(self.settings(name, **ids), self.config)
            found += [f"resources/{each}/fetched.json" for each in named if each not in self._left_out]
        if "own" in step.reads:
            own = own_paths(name, self.settings(name, **ids))
            found += [str(self._listed(path)) for path in own]
        return found

    @functools.cached_property
    def _left_out(self) -> set[str]:
        """Downloads among the settings of the data set that nothing in this run reads, such as its part edits."""
        return set(named_downloads(self.config["dataset"])) - {use.download for use in find_uses(self.config)}

    def ancient(self, name: str, **ids: str) -> list[str]:
        """Further inputs of a job of the step `name`; these must exist, but their modification times do not count."""
        return [str(path) for path in STEPS[name].ancient(self.files, **ids)]

    def rule(self, job: JobId) -> str:
        """The rule of a job."""
        variant = job.step.variant
        return variant.rule if variant and variant.when(self.files, **job.ids) else job.step.name

    def outputs(self, job: JobId) -> tuple[Path, ...]:
        """The files that a job makes."""
        step, files = job.step, [*job.step.outputs(self.files)]
        if step.variant and self.rule(job) == step.variant.rule:
            files.append(step.variant.output(self.files))
        return tuple(Path(_fill(str(path), job.ids)) for path in files)

    def jobs(self, targets: Iterable[Path | str] | None = None) -> list[JobId]:
        """The jobs that make `targets` from scratch, by step; all jobs of the config by default."""
        found: dict[JobId, None] = {}
        waiting = [str(path) for path in (self.files.everything() if targets is None else targets)]
        seen = set(waiting)
        while waiting:
            job = self.maker(waiting.pop())
            if job is not None and job not in found:
                found[job] = None
                read = [*self.inputs(job.step.name, **job.ids), *self.ancient(job.step.name, **job.ids)]
                new = [path for path in dict.fromkeys(read) if path not in seen]
                seen.update(new)
                waiting += new
        return sorted(found, key=self._place)

    def _place(self, job: JobId) -> tuple[object, ...]:
        """Steps in the order of their table, ids in that of the config."""
        order = self._order
        return (order[job.step.name], *((order.get(value, len(order)), value) for _, value in job.values))

    @functools.cached_property
    def _order(self) -> dict[str, int]:
        catalogues = ("backbones", "ablations", "scorers")
        ids = ["positives", *self.config["sources"], *(name for kind in catalogues for name in self.config[kind])]
        return {name: number for number, name in enumerate(dict.fromkeys([*STEPS, *ids]))}

    def maker(self, path: str) -> JobId | None:
        """The job that makes a file; None for a list of the user's files, which exists before any job.

        Raises:
            LookupError: no step makes it.
        """
        for pattern, step in self._patterns:
            if match := pattern.fullmatch(path):
                return JobId(step, tuple(match.groupdict().items()))
        if Path(path).is_relative_to(self.layout.root / "inputs"):
            return None
        raise LookupError(f"{path}: no step makes it")

    @functools.cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], Step]]:
        return [(_compile(str(path)), step) for step in STEPS.values() for path in self._templates(step)]

    def _templates(self, step: Step) -> Iterator[Path]:
        yield from step.outputs(self.files)
        if step.variant:
            yield step.variant.output(self.files)


def _fill(template: str, ids: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda wildcard: ids.get(wildcard[1], wildcard[0]), template)


def _compile(template: str) -> re.Pattern[str]:
    """The files that a template with wildcards stands for."""
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile(
        "".join(f"(?P<{part}>{WILDCARDS[part]})" if place % 2 else re.escape(part) for place, part in enumerate(parts))
    )
