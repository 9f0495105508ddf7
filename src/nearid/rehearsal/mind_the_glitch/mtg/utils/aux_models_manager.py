"""Stand-in."""

from typing import Any

from .loaders import cleandift_loader


class ModelManager:
    """Loads the models that other models build on."""

    def __init__(self, device: Any, dataset: Any, load_cleandift: bool, load_groundingsam: bool) -> None:
        assert load_cleandift and not load_groundingsam
        self.cleandift_model = cleandift_loader(device)
