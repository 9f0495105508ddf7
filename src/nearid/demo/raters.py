"""Simulated raters: a DreamBench++ of the rendered world, where no people have rated anything (docs/protocol.md 4.6).

Seven "methods" render an object in new surroundings and preserve its identity to different degrees; two groups of
raters give integer scores of 0 to 4 that depend on the true change and on noise. Folders and keys are as released.
"""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nearid.config.schema.dataset import RenderedData
from nearid.demo.renderer import draw_edit, draw_plan, identity_from_seed, render_edit, render_view
from nearid.dreambench import HUMANS, METHODS
from nearid.errors import UserError
from nearid.io.files import write_bytes, write_json
from nearid.io.images import encode_png
from nearid.io.progress import track
from nearid.io.randomness import keyed_rng
from nearid.io.workers import map_ordered
from nearid.layout import Layout

if TYPE_CHECKING:
    from nearid.config.settings.data import MakeRaters

STREAM = "raters"
GROUPS = ("group1", "group2")
HIGHEST = 4
"""Best score: the same object."""
NOISE = 0.7
"""Standard deviation of a group's score around the true one."""
CHANGED = dict(zip(METHODS, (0.75, 0.6, 0.55, 0.7, 0.3, 0.45, 0.4), strict=True))
"""Mean share of the object that each method changes; the share varies from picture to picture."""
SPREAD = 2.0
"""Sum of the parameters of the Beta distribution of a method's changes."""
UNSEEN = 0.05
"""Changes up to this share are left out, since they are too small to render."""
TURN = 1.1
"""Largest rotation of the object from the reference, in radians, as between two views."""


class Task(NamedTuple):
    """One picture: by a method, or the reference (no method)."""

    subject: int
    method: str
    prompt: int


def write_raters(settings: MakeRaters, layout: Layout, workers: int = 1) -> None:
    """Write `data/raters`: samples of the methods with the references, and the ratings of both groups.

    Args:
        settings: the data set, its seed, and how much the raters see.
        layout: of the results folder.
        workers: processes that render.

    Raises:
        UserError: the data set is not rendered.
    """
    options = settings.dataset.options
    if not isinstance(options, RenderedData):
        raise UserError(
            "dreambench.simulated",
            f"a data set of kind {settings.dataset.kind!r}",
            "kind rendered: it has to be known what was changed",
            "give `dreambench.ratings` and `dreambench.samples` instead",
        )
    shutil.rmtree(layout.raters, ignore_errors=True)
    subjects, prompts = settings.simulated.subjects, settings.simulated.prompts
    tasks = [Task(subject, "", 0) for subject in range(subjects)]
    tasks += [
        Task(subject, method, prompt) for method in METHODS for subject in range(subjects) for prompt in range(prompts)
    ]
    make = partial(_Renderer, options, settings.seed)
    references: dict[int, bytes] = {}
    ratings: dict[tuple[str, str], dict[str, int]] = {(group, method): {} for group in GROUPS for method in METHODS}
    for task, picture in zip(tasks, track(map_ordered(make, tasks, workers), STREAM, total=len(tasks)), strict=True):
        if not task.method:
            references[task.subject] = picture
            continue
        run, name = layout.raters / "samples" / task.method, subject_name(settings.seed, task.subject)
        write_bytes(run / "src_image" / name / f"{task.prompt}_0.png", references[task.subject])
        write_bytes(run / "tgt_image" / name / f"{task.prompt}_0.png", picture)
        for group in GROUPS:
            ratings[group, task.method][f"{name}-{task.prompt}"] = rate(settings.seed, task, group)
    for (group, method), given in ratings.items():
        write_json(layout.raters / HUMANS / group / f"{method}-cp.json", given)


def subject_name(seed: int, subject: int) -> str:
    """The name of a reference, which begins with the category of DreamBench++: `object_07_mug`."""
    return f"object_{subject:02d}_{identity_from_seed(STREAM, seed, subject).category.replace(' ', '_')}"


def change_of(seed: int, task: Task) -> float:
    """The share of the object that a picture changes, in [0, 1]: the true distance to the reference."""
    mean = CHANGED[task.method]
    share = float(keyed_rng("change", seed, *task).beta(SPREAD * mean, SPREAD * (1 - mean)))
    return share if share > UNSEEN else 0.0


def rate(seed: int, task: Task, group: str) -> int:
    """A group's score of a picture: 4 for the same object, 0 for another one."""
    truth = HIGHEST * (1 - change_of(seed, task))
    return int(np.clip(round(truth + NOISE * keyed_rng("rating", seed, *task, group).standard_normal()), 0, HIGHEST))


class _Renderer:
    """Renders one picture as PNG."""

    def __init__(self, options: RenderedData, seed: int) -> None:
        self._size_px, self._scenes, self._seed = options.size_px, options.scenes or "kinds", seed

    def __call__(self, task: Task) -> bytes:
        instance = identity_from_seed(STREAM, self._seed, task.subject)
        reference = draw_plan(keyed_rng("reference", self._seed, task.subject), self._scenes)
        if not task.method:
            return encode_png(render_view(instance, reference, self._size_px)[0])
        rng = keyed_rng("picture", self._seed, *task)
        plan = draw_plan(rng, self._scenes, reference.pose.yaw + rng.uniform(-TURN, TURN))
        share = change_of(self._seed, task)
        if not share:
            return encode_png(render_view(instance, plan, self._size_px)[0])
        # From a band of the body to the whole object with its plain parts.
        edit = draw_edit(instance, rng, 0.08 + 1.17 * share)
        return encode_png(render_edit(instance, edit, plan, self._size_px)[0])
