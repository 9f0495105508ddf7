"""Released ratings of DreamBench++ as a scorer: what others measured, without their model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nearid.config.settings.scores import ReleasedRatings
from nearid.scores.ratings import Ratings, read_methods

if TYPE_CHECKING:
    from nearid.config.settings.scores import Score
    from nearid.layout import Layout


class Scorer:
    """Reads `<method>.json` or `<method>-cp.json` of all methods from the folder `ratings`."""

    def __init__(self, settings: Score, layout: Layout) -> None:
        assert isinstance(settings.scorer, ReleasedRatings)
        self._folder = Path(settings.scorer.ratings)

    def ratings(self) -> Mapping[str, Ratings]:
        """Ratings by method and canonical key.

        Raises:
            UserError: a method's file is missing or damaged.
        """
        return read_methods(self._folder)
