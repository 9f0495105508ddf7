"""Whether one of our values reproduces the paper's: a statement about their difference and how sure it is.

The uncertainty depends on what the two have in common (docs/claims.md, "Verdicts"). On the paper's test images, a
scorer without training must give the printed value up to rounding and precision. A head that this run trained may also
differ by its seed, and on other test images both values are samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nearid.paper.metrics import Cell

REPRODUCED, DEVIATES, INCONCLUSIVE, INCOMPARABLE = "reproduced", "deviates", "inconclusive", "not comparable"

# Half the 95 % interval of a difference, beyond which nearly any value would pass. Percent: a little more than the
# worst case for two samples of the paper's 500 test identities; correlations: less than the gaps between table 1's
# methods.
WIDEST_PERCENT, WIDEST_CORRELATION = 6.5, 0.05
_Z = 1.96
# Upper 2.5 % points of Student's t for 2, 3, ... degrees of freedom: heads of the same kind with different seeds.
_T = (4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
# Slack for differences that equal the limit in decimal but not in binary.
_EDGE = 1e-9


@dataclass(frozen=True)
class Setting:
    """What our value shares with the paper's.

    Attributes:
        same_images: both were measured on the same test images.
        retrained: ours is the value of a head that this run trained.
        seeds: values of all this run's heads of the same kind, each with its own seed, including ours.
        images: what the reason says about the images; by default whether they are the same.
    """

    same_images: bool
    retrained: bool
    seeds: Sequence[float] = ()
    images: str = ""


def judge(ours: Cell, paper: float, tolerance: float, percent: bool, setting: Setting) -> tuple[str, str]:
    """The verdict and its reason; `ours` has a value, `tolerance` covers rounding and precision."""
    assert ours.value is not None
    difference = ours.value - paper
    where = setting.images or ("the paper's test images" if setting.same_images else "other test identities")
    near = abs(difference) <= tolerance + _EDGE
    if setting.same_images and near:
        return REPRODUCED, f"{where}: within the tolerance of {tolerance:.4g}"
    if setting.same_images and not setting.retrained:
        return DEVIATES, f"{where} and no training: beyond the tolerance of {tolerance:.4g}"
    spread, what = _spread(ours, paper, percent, setting)
    if spread is None:
        return INCONCLUSIVE, f"{where}: {what}"
    allowed = spread + tolerance
    told = f"{where}: {what} allows ±{allowed:.3g}"
    if abs(difference) > allowed + _EDGE:
        return DEVIATES, told
    widest = WIDEST_PERCENT if percent else WIDEST_CORRELATION
    if spread > widest:
        return INCONCLUSIVE, f"{told}, more than the {widest:g} beyond which nearly anything would pass"
    return REPRODUCED, told


def _spread(ours: Cell, paper: float, percent: bool, setting: Setting) -> tuple[float | None, str]:
    """Half the 95 % interval of the difference by chance alone, and its source; None if it is not known."""
    if setting.same_images and len(setting.seeds) > 2:
        mean = sum(setting.seeds) / len(setting.seeds)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in setting.seeds) / (len(setting.seeds) - 1))
        t = _T[min(len(setting.seeds) - 3, len(_T) - 1)]
        return t * deviation * math.sqrt(2), f"the spread of {len(setting.seeds)} seeds"
    half = _half_interval(ours, paper, percent)
    if half is None:
        return None, "no interval of this value is known"
    what = "one seed, so at most two samples' interval" if setting.same_images else "the interval of two samples"
    return half * math.sqrt(2), what


def _half_interval(ours: Cell, paper: float, percent: bool) -> float | None:
    """Half the 95 % interval of one sample: ours as measured, or the binomial one for our count at the paper's rate."""
    if ours.low is not None and ours.high is not None and ours.high > ours.low:
        return (ours.high - ours.low) / 2
    # There is no interval, or it has no width because no trial failed.
    if not percent or not ours.count:
        return None
    share = min(max(paper, 0.0), 100.0) / 100
    return 100 * _Z * math.sqrt(share * (1 - share) / ours.count)
