"""Gains by masking: against a slow loop over the drawn identities, with both conditions paired."""

import numpy as np
import pytest

from nearid.io.randomness import keyed_rng
from nearid.scores.correlations import oracle_agreement
from nearid.scores.margins import CROSSES, SIMILARITIES
from nearid.scores.masking import gain_in_agreement, gain_in_ssr
from nearid.scores.mtg import ORACLES, PAIRS

COUNT = 40


def columns(seed, names=(*SIMILARITIES, *CROSSES), ease=0.0):
    random = np.random.default_rng(seed)
    values = {name: random.uniform(-1, 1, COUNT) + ease * (name in SIMILARITIES) for name in names}
    if "sim_12" in values:
        for name in names:
            if "2" in name:
                values[name][::3] = np.nan  # only two views
    return values


def drawn(statistic):
    rng = keyed_rng("bootstrap", 5, COUNT)
    return np.percentile([statistic(rng.integers(0, COUNT, COUNT)) for _ in range(1000)], [2.5, 97.5])


def succeeds(one, at):
    margins = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        margins += [one[f"sim_{i}{j}"][at] - one[f"cross_{k}{k}"][at] for k in (i, j)]
    return all(margin > 0 for margin in margins if not np.isnan(margin))


def test_ssr_is_drawn_with_both_conditions_and_all_sources_of_an_identity():
    full, foreground = [columns(1), columns(2, ease=0.5)], [columns(3, ease=0.7), columns(4, ease=0.9)]

    def gain(rows):
        sides = [[succeeds(one, at) for one in part for at in rows] for part in (full, foreground)]
        return 100 * (np.mean(sides[1]) - np.mean(sides[0]))

    value, bounds = gain_in_ssr(full, foreground, 5)
    assert value == pytest.approx(gain(range(COUNT))) and value > 0
    assert bounds == pytest.approx(drawn(gain))


def test_what_masking_does_not_change_has_no_width():
    same = [columns(1, ease=0.5)]
    assert gain_in_ssr(same, same, 0) == (0.0, (0.0, 0.0))


def test_agreement_is_drawn_with_both_conditions_of_an_edit():
    names = (*PAIRS, *ORACLES)
    full, foreground = columns(1, names), columns(2, names)

    def gain(rows):
        one, other = ({name: values[rows] for name, values in part.items()} for part in (full, foreground))
        return oracle_agreement(other)[0] - oracle_agreement(one)[0]

    value, bounds = gain_in_agreement(full, foreground, 5)
    assert value == pytest.approx(gain(np.arange(COUNT)))
    assert bounds == pytest.approx(drawn(gain))
