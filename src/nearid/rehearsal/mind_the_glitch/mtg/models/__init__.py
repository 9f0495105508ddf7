"""Stand-in."""

from .model import StandInModel

__all__ = ["StandInModel"]
