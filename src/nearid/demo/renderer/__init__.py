"""The embedded data set: parametric three-dimensional objects in rendered scenes, each identity drawn from its seed.

`instances` defines an identity, `shapes` and `markings` its form and surface, `scenes` the surroundings, `stage` is the
renderer, and `views` combines them into a view, a sibling on the same background or a part edit.
"""

from nearid.demo.renderer.instances import Instance, draw_instance, draw_sibling
from nearid.demo.renderer.views import (
    draw_edit,
    draw_plan,
    identity_from_seed,
    plans_of,
    render_edit,
    render_sibling,
    render_view,
    view_plan,
)

__all__ = [
    "Instance",
    "draw_edit",
    "draw_instance",
    "draw_plan",
    "draw_sibling",
    "identity_from_seed",
    "plans_of",
    "render_edit",
    "render_sibling",
    "render_view",
    "view_plan",
]
