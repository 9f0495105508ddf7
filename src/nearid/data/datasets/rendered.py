"""The embedded data set: rendered objects (see `nearid.demo.renderer`); needs no files, no network and no display."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nearid.data.records import Dropped, Identity, View
from nearid.demo.renderer import identity_from_seed, plans_of, render_view

if TYPE_CHECKING:
    from nearid.config.schema.dataset import RenderedData


class Dataset:
    """Rendered identities 0, 1, … of the stream `nearid`.

    Args:
        options: `identities`, `size_px` (side of a view), `three_view_fraction`, `scenes`.
        seed: seed of the data set; another one gives other identities.
    """

    def __init__(self, options: RenderedData, seed: int) -> None:
        self._options = options
        self._seed = seed

    def names(self) -> list[str]:
        """`object_00000`, …, by the identity's number."""
        return [f"object_{index:05d}" for index in range(self._options.identities)]

    def fingerprint(self) -> str:
        """Empty: identities depend on options and seed only."""
        return ""

    def load(self, index: int) -> tuple[Identity | None, list[Dropped]]:
        """Render the views of one identity; none is ever dropped."""
        instance = identity_from_seed("nearid", self._seed, index)
        plans = plans_of("nearid", self._seed, index, self._options)
        name = self.names()[index]
        views = []
        for slot, plan in enumerate(plans):
            image, mask = render_view(instance, plan, self._options.size_px)
            prompt = f"a {instance.category} {plan.scene.caption}"
            views.append(View(image, mask, prompt, filename=f"{name}_{slot}.png"))
        return Identity(index, name, instance.category, instance.description, tuple(views)), []
