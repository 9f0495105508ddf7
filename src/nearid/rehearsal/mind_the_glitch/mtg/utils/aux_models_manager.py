"""Stand-in."""

from typing import Any


class ModelManager:
    """Gives what the stand-in takes for a feature extractor."""

    def __init__(self, device: Any, dataset: Any, load_cleandift: bool, load_groundingsam: bool) -> None:
        assert load_cleandift and not load_groundingsam
        self.cleandift_model = "features"
