"""Stand-in."""


def cleandift_loader() -> str:
    """What the stand-in takes for a feature extractor."""
    return "features"
