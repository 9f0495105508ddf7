"""Figure 7: qualitative rows under the paper's name; `qualitative` with this figure's own settings."""

from __future__ import annotations

from nearid.paper.figures.qualitative import compute, plot

__all__ = ["compute", "plot"]
