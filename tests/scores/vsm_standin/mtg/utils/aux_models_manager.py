"""Stand-in."""


class ModelManager:
    """Gives what the stand-in takes for a feature extractor."""

    def __init__(self, device, dataset, load_cleandift, load_groundingsam):
        assert load_cleandift and not load_groundingsam
        self.cleandift_model = "features"
