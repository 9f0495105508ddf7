"""Views, siblings and edits of the rendered world, for the other stages; each depends only on seeds."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearid.demo.renderer.instances import CATEGORY_NAMES, TRAITS, Instance, draw_instance, draw_sibling
from nearid.demo.renderer.markings import band_of_body, paint_body
from nearid.demo.renderer.scenes import SCENE_NAMES, WILD, Scene, draw_scene, draw_wild_scene
from nearid.demo.renderer.shapes import build_parts
from nearid.demo.renderer.stage import Image, Pose, composite, open_stage, project_box
from nearid.io.randomness import keyed_rng

if TYPE_CHECKING:
    from nearid.config.schema.dataset import RenderedData

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ViewPlan:
    """Everything that a view shows except the object."""

    scene: Scene
    pose: Pose


def identity_from_seed(stream: str, seed: int, identity_id: int) -> Instance:
    """Identity `identity_id` of a stream (`nearid`, `mtg_train`, `mtg_test`, `raters`, ...), which no other stream has.

    Categories alternate, so that all are equally frequent.
    """
    rng = keyed_rng("instance", stream, seed, identity_id)
    return draw_instance(rng, CATEGORY_NAMES[identity_id % len(CATEGORY_NAMES)])


@functools.lru_cache(maxsize=8)  # siblings need it view by view, and it paints all scenes of an identity
def view_plan(
    stream: str, seed: int, identity_id: int, three_view_fraction: float, scenes: str = "kinds"
) -> tuple[ViewPlan, ...]:
    """Two or three views: scenes of different kinds, the object turned by 0.4 to 1.1 rad from one to the next.

    Args:
        scenes: `kinds`, or `wild` for scenes of no kind.
    """
    rng = keyed_rng("views", stream, seed, identity_id)
    count = 3 if rng.random() < three_view_fraction else 2
    kinds = rng.permutation(len(SCENE_NAMES))[:count]
    yaw = rng.uniform(0, 2 * np.pi)
    plans = []
    for kind in kinds:
        scene = draw_wild_scene(rng) if scenes == WILD else draw_scene(rng, SCENE_NAMES[kind])
        plans.append(ViewPlan(scene, _draw_pose(rng, yaw)))
        yaw += rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
    return tuple(plans)


def plans_of(stream: str, seed: int, identity_id: int, options: RenderedData) -> tuple[ViewPlan, ...]:
    """The `view_plan` of an identity of a data set with these `options`."""
    return view_plan(stream, seed, identity_id, options.three_view_fraction, options.scenes or "kinds")


def render_view(instance: Instance, plan: ViewPlan, size_px: int) -> tuple[Image, Mask]:
    """One view [size, size, 3] and its exact mask [size, size]."""
    background = open_stage(size_px).render_scene(plan.scene, plan.pose)
    item = render_instance(instance, plan, size_px)
    return composite(background, item), item[..., 3] > 127


def render_instance(instance: Instance, plan: ViewPlan, size_px: int, scale: float = 1.0) -> Image:
    """The object alone under the scene's light; premultiplied RGBA [size, size, 4]."""
    return open_stage(size_px).render_object(
        build_parts(instance.category, instance.proportions),
        _body_texture(instance),
        instance.colours[[1, 3]],
        plan.scene,
        plan.pose,
        scale,
    )


def render_sibling(
    options: RenderedData,
    data_seed: int,
    identity_id: int,
    slot: int,
    seed: int,
    working_px: int,
    traits: int = len(TRAITS),
) -> Image:
    """Another instance on the background of a view: same category, palette, camera and light [working, working, 3].

    The sibling is scaled to fit the box of the view's object, since a distractor is kept only inside the view's mask.

    Args:
        options, data_seed: of the data set.
        identity_id, slot: the view. seed: chooses the sibling. working_px: size to render at.
        traits: number of `TRAITS` in which the sibling differs; which ones depends on the identity.
    """
    instance = identity_from_seed("nearid", data_seed, identity_id)
    plan = plans_of("nearid", data_seed, identity_id, options)[slot]
    differing = keyed_rng("traits", data_seed, identity_id).permutation(TRAITS)[:traits]
    sibling = draw_sibling(instance, keyed_rng("sibling", seed), differing.tolist())
    own, other = (project_box(build_parts(one.category, one.proportions), plan.pose) for one in (instance, sibling))
    item = render_instance(sibling, plan, working_px, scale=float(np.min(own / other)))
    return composite(open_stage(working_px).render_scene(plan.scene, plan.pose), item)


@dataclass(frozen=True)
class Edit:
    """A local change of an instance: what it becomes, and which part of it changes."""

    instance: Instance
    low: float
    high: float
    surfaces: tuple[str, ...]


def draw_edit(instance: Instance, rng: np.random.Generator, extent: float | None = None) -> Edit:
    """A small to large change: of a band of the body and, for the largest, also of the plain parts.

    Inside the band the object gets a sibling's markings, with its own colours in swapped roles, so that the size of the
    change cannot be seen by counting colours.

    Args:
        extent: share of the body's height that changes; above .85 and 1.05 also the plain parts. Drawn if None.
    """
    extent = rng.uniform(0.08, 1.25) if extent is None else extent
    height = min(extent, 1.0)
    low = rng.uniform(0, 1 - height)
    surfaces = tuple(name for name, limit in (("accent", 0.85), ("second", 1.05)) if extent > limit)
    palette = instance.palette[1:] + instance.palette[:1]
    return Edit(replace(draw_sibling(instance, rng), palette=palette), low, low + height, surfaces)


def render_edit(instance: Instance, edit: Edit, plan: ViewPlan, size_px: int) -> tuple[Image, Mask]:
    """The view with the edited object [size, size, 3], and the mask of the edited part [size, size]."""
    stage = open_stage(size_px)
    parts = build_parts(instance.category, instance.proportions)
    band = band_of_body(edit.low, edit.high)
    texture = np.where(band[..., None], _body_texture(edit.instance), _body_texture(instance))
    colours = np.stack(
        [
            (edit.instance if surface in edit.surfaces else instance).colours[index]
            for surface, index in (("second", 1), ("accent", 3))
        ]
    )
    item = stage.render_object(parts, texture, colours, plan.scene, plan.pose)
    image = composite(stage.render_scene(plan.scene, plan.pose), item)
    return image, stage.render_region(parts, band, edit.surfaces, plan.scene, plan.pose)


def draw_plan(rng: np.random.Generator, scenes: str = "kinds", yaw: float | None = None) -> ViewPlan:
    """A single view; its yaw is drawn too unless given. `scenes` as for `view_plan`."""
    scene = draw_wild_scene(rng) if scenes == WILD else draw_scene(rng)
    return ViewPlan(scene, _draw_pose(rng, rng.uniform(0, 2 * np.pi) if yaw is None else yaw))


def _draw_pose(rng: np.random.Generator, yaw: float) -> Pose:
    return Pose(
        yaw=float(yaw),
        elevation=float(np.radians(rng.uniform(10, 32))),
        zoom=float(rng.uniform(0.95, 1.12)),
        shift=(float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.06, 0.06))),
    )


@functools.lru_cache(maxsize=64)
def _body_texture(instance: Instance) -> Image:
    return paint_body(
        instance.pattern,
        instance.around,
        instance.rows,
        instance.motif,
        instance.motifs_around,
        instance.motif_height,
        instance.motif_size,
        instance.colours[:3],
    )
