import numpy as np
import pytest
from scipy import stats

from nearid.scores.bootstrap import interval, interval_of_sums

pytestmark = pytest.mark.numerics


def test_interval_of_a_mean_agrees_with_theory():
    sample = np.random.default_rng(0).normal(size=300)
    ((low, high),) = interval(lambda drawn: sample[drawn].mean(keepdims=True), len(sample), seed=0, replicates=2000)
    expected = stats.norm.interval(0.95, sample.mean(), sample.std() / np.sqrt(len(sample)))
    assert (low, high) == pytest.approx(expected, abs=0.02)


def test_the_seed_decides_the_draws():
    sample = np.random.default_rng(0).normal(size=50)

    def of(seed):
        return interval(lambda drawn: sample[drawn].mean(keepdims=True), 50, seed, replicates=100)

    assert of(1) == of(1) != of(2)


def test_undefined_resamples_are_left_out():
    value = np.array([1.0, np.nan])
    assert interval(lambda drawn: value[drawn].max(keepdims=True), 2, 0, replicates=200) == [(1.0, 1.0)]
    nothing = interval(lambda drawn: np.array([np.nan]), 2, 0, replicates=5)
    assert np.isnan(nothing).all()


def test_sums_of_all_resamples_at_once_are_those_of_one_after_another():
    counts = np.random.default_rng(4).integers(0, 7, (37, 2))

    def share(sums):
        return np.divide(sums[..., 0], sums[..., 1])[..., None]

    one_by_one = interval(lambda drawn: share(counts[drawn].sum(0)), len(counts), seed=3)
    assert interval_of_sums(share, counts, seed=3) == one_by_one


def test_sums_over_nobody_have_no_interval():
    (bounds,) = interval_of_sums(lambda sums: np.full((len(sums), 1), np.nan), np.empty((0, 2), np.int64), 0)
    assert np.isnan(bounds).all()
