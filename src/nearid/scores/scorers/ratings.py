"""Released ratings of DreamBench++ as a scorer: what others measured, without their model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearid.errors import UserError
from nearid.scores.ratings import Ratings, read_methods

if TYPE_CHECKING:
    from nearid.layout import Layout


class Scorer:
    """Reads `<method>.json` or `<method>-cp.json` of all methods from the folder `ratings`."""

    def __init__(self, settings: Mapping[str, Any], layout: Layout) -> None:
        folder = settings["scorer"].get("ratings")
        if not folder:
            raise UserError(f"scorers.{settings['scorer_id']}.ratings", "nothing", "a folder of ratings", "add it")
        self._folder = Path(folder)

    def ratings(self) -> Mapping[str, Ratings]:
        """Ratings by method and canonical key.

        Raises:
            UserError: a method's file is missing or damaged.
        """
        return read_methods(self._folder)
