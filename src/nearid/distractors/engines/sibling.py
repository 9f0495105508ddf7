"""Another instance of the category in the same scene, for rendered identities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearid.config.schema.dataset import RenderedData
from nearid.demo.renderer import render_sibling
from nearid.demo.renderer.instances import TRAITS
from nearid.distractors.engines import check_options
from nearid.distractors.pool import Pool
from nearid.distractors.protocol import BaseEngine, Target
from nearid.errors import UserError


class Engine(BaseEngine):
    """Renders the view again with a sibling: same palette, camera, light and background, other shape and markings.

    `options.traits` says in how many of proportions, pattern and motif it differs, in all three unless said; which
    these are is each identity's own.

    Raises:
        UserError: the data set is not rendered.
    """

    def __init__(self, source: dict[str, Any], dataset: dict[str, Any], seed: int, pool: Pool) -> None:
        del pool
        if dataset["kind"] != "rendered":
            raise UserError(
                f"a source with engine {source['engine']}",
                f"a data set of kind {dataset['kind']}",
                "kind rendered: a photograph has no scene to render again",
                "choose another engine, cut_paste for example",
            )
        check_options(source, {"traits"})
        self._traits = source["options"].get("traits", len(TRAITS))
        self._options = RenderedData.model_validate(dataset["options"])
        self._working_px = source["working_px"]
        self._seed = seed

    def paint(self, target: Target, seed: int) -> NDArray[np.uint8]:
        """The frame with the sibling, long side `working_px`."""
        return render_sibling(self._options, self._seed, target.id, target.slot, seed, self._working_px, self._traits)
