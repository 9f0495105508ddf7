"""Another instance of the category in the same scene, for rendered identities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nearid.config.schema.dataset import RenderedData
from nearid.demo.renderer import render_sibling
from nearid.demo.renderer.instances import TRAITS
from nearid.distractors.pool import Pool
from nearid.distractors.protocol import BaseEngine, Target
from nearid.errors import UserError

if TYPE_CHECKING:
    from nearid.config.schema.sources import Sibling
    from nearid.config.settings.data import AnyDataset
    from nearid.config.settings.distractors import Source


class Engine(BaseEngine):
    """Renders the view again with a sibling: same palette, camera, light and background, other shape and markings.

    `options.traits` is the number of traits (proportions, pattern, motif) in which it differs, by default all three;
    which ones depends on the identity.

    Raises:
        UserError: the data set is not rendered.
    """

    def __init__(self, source: Source[Sibling], dataset: AnyDataset, seed: int, pool: Pool) -> None:
        del pool
        if not isinstance(dataset.options, RenderedData):
            raise UserError(
                f"a source with engine {source.engine}",
                f"a data set of kind {dataset.kind}",
                "kind rendered: a photograph has no scene to render again",
                "choose another engine, cut_paste for example",
            )
        self._traits = source.options.traits or len(TRAITS)
        self._options = dataset.options
        self._working_px = source.working_px
        self._seed = seed

    def paint(self, target: Target, seed: int) -> NDArray[np.uint8]:
        """The frame with the sibling, long side `working_px`."""
        return render_sibling(self._options, self._seed, target.id, target.slot, seed, self._working_px, self._traits)
