import math

import numpy as np
import pytest
from scipy import stats

from nearid.scores.correlations import edit_correlations, fisher_mean, oracle_agreement, pearson

pytestmark = pytest.mark.numerics


def edit_table(n=40, seed=0):
    rng = np.random.default_rng(seed)
    columns = {name: rng.normal(size=n) for name in ("oracle_1", "oracle_2", "s_12")}
    for name, weight in (("s_11e", 1.0), ("s_22e", 0.5), ("s_12e", -0.3), ("s_21e", 0.1)):
        columns[name] = weight * columns["oracle_1"] + 0.7 * columns["oracle_2"] + rng.normal(size=n)
    return columns


def test_pearson_equals_scipy_and_skips_missing_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=50), rng.normal(size=50)
    x[3] = y[7] = np.nan
    both = ~np.isnan(x) & ~np.isnan(y)
    assert pearson(x, y) == pytest.approx(stats.pearsonr(x[both], y[both]).statistic, abs=1e-14)


@pytest.mark.parametrize("x", [[0.1, 0.1, 0.1], [np.nan, np.nan, 1.0]])
def test_undefined_r_is_zero(x):
    assert pearson(np.array(x), np.array([1.0, 2.0, 3.0])) == 0


def test_agreement_pairs_each_similarity_with_its_edit():
    columns = edit_table()
    r11, r22, r12, r21 = (
        stats.pearsonr(columns[s], columns[o]).statistic
        for s, o in (("s_11e", "oracle_1"), ("s_22e", "oracle_2"), ("s_12e", "oracle_2"), ("s_21e", "oracle_1"))
    )
    assert edit_correlations(columns) == pytest.approx({"s_11e": r11, "s_22e": r22, "s_12e": r12, "s_21e": r21})
    m_o, m_o_pair = oracle_agreement(columns)
    assert m_o == pytest.approx(math.tanh(sum(map(math.atanh, (r11, r22, r12, r21))) / 4))
    assert m_o_pair == pytest.approx(math.tanh((math.atanh(r11) + math.atanh(r22)) / 2))


def test_perfect_correlations_are_clipped():
    assert fisher_mean([1.0, 1.0]) == pytest.approx(0.999)
    assert fisher_mean([1.0, -1.0]) == pytest.approx(0)
