"""NearID: identity representation learning via near-identity distractors, reproduced."""

__version__ = "0.1.0"
