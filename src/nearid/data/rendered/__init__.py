"""The embedded data set: parametric three-dimensional objects in rendered scenes, each identity drawn from its seed.

`instances` says what an identity is, `shapes` and `markings` give it form and surface, `scenes` surroundings, `stage`
holds the renderer, `views` puts them together: a view, a sibling on the same background, a part edit.
"""

from nearid.data.rendered.instances import Instance, draw_instance, draw_sibling
from nearid.data.rendered.views import (
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
