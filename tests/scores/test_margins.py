import numpy as np
import pytest

from nearid.errors import UserError
from nearid.margins import directed_margins
from nearid.scores.margins import CROSSES, SIMILARITIES, Rates, edit_margins, pool, rate


def table_of(n, rng, missing=0.0, step=0.0):
    columns = {name: rng.uniform(-1, 1, n) for name in (*SIMILARITIES, *CROSSES)}
    for name in columns:
        if step:  # a coarse grid makes ties common
            columns[name] = np.round(columns[name] / step) * step
        columns[name][rng.uniform(size=n) < missing] = np.nan
    return columns


def slow_rates(columns):
    """docs/protocol.md 4.1 written literally: every ordered pair of views of every identity."""
    n = len(columns["sim_01"])
    successes, mean_successes, valid_identities, wins, trials = 0, 0, 0, 0, 0
    for row in range(n):
        margins = []
        for i in range(3):
            for j in range(3):
                if i != j:
                    similarity = columns[f"sim_{min(i, j)}{max(i, j)}"][row]
                    margin = similarity - columns[f"cross_{i}{i}"][row]
                    if not np.isnan(margin):
                        margins.append(margin)
        if margins:
            valid_identities += 1
            successes += all(margin > 0 for margin in margins)
            mean_successes += sum(margins) / len(margins) > 0
        wins += sum(margin > 0 for margin in margins)
        trials += len(margins)
    return successes, mean_successes, valid_identities, wins, trials


@pytest.mark.parametrize(("missing", "step"), [(0, 0), (0.3, 0), (0.3, 0.5), (0.9, 0)])
def test_rates_equal_the_slow_double_loop(missing, step):
    columns = table_of(200, np.random.default_rng(3), missing, step)
    successes, mean_successes, n, wins, trials = slow_rates(columns)
    rates = rate(directed_margins(columns))
    assert (rates.n, rates.trials, rates.identities) == (n, trials, 200)
    assert rates.ssr == pytest.approx(100 * successes / n)
    assert rates.ssr_mean == pytest.approx(100 * mean_successes / n)
    assert rates.pa == pytest.approx(100 * wins / trials)
    assert rates.pa_table == pytest.approx(100 * (wins + mean_successes) / (trials + n))


def test_a_missing_slot_takes_its_trials_only():
    columns = {name: np.full(4, 0.9 if name.startswith("sim") else 0.1) for name in (*SIMILARITIES, *CROSSES)}
    for name in columns:
        if "2" in name:
            columns[name][1] = np.nan  # two views: 2 trials
    columns["cross_00"][2] = np.nan  # one distractor missing: d(0->1) and d(0->2) are no trials
    for name in CROSSES:
        columns[name][3] = np.nan  # no distractor at all
    rates = rate(directed_margins(columns))
    assert (rates.n, rates.trials, rates.identities) == (3, 6 + 2 + 4, 4)
    assert rates.ssr == rates.pa == 100


def test_a_tie_loses():
    margins = np.array([[0.0, 0.5], [0.1, 0.5]])
    rates = rate(margins)
    assert (rates.ssr, rates.pa, rates.ssr_mean) == (50, 75, 100)


def test_printed_pa_counts_each_identity_s_mean_margin_as_one_more_trial():
    rates = rate(np.array([[0.6, -0.1]]))
    assert (rates.pa, rates.pa_table) == pytest.approx((50, 200 / 3))


def test_nothing_valid_is_nan_with_its_counts():
    rates = rate(np.full((3, 6), np.nan))
    assert np.isnan([rates.ssr, rates.pa, rates.pa_table, rates.ssr_mean]).all()
    assert (rates.n, rates.trials, rates.identities) == (0, 0, 3)


def test_edit_margins_hold_originals_against_each_edit():
    columns = {"s_12": np.array([0.8]), "s_11e": np.array([0.9]), "s_22e": np.array([0.5])}
    assert edit_margins(columns) == pytest.approx(np.array([[-0.1, 0.3]]))


@pytest.mark.parametrize(
    ("successes", "n", "printed"), [(1737, 499, 49.73), (1120, 498, 32.13), (1076, 500, 30.74), (3471, 500, 99.17)]
)
def test_pooled_ssr_has_the_denominators_of_table_5(successes, n, printed):
    shares = [successes // 7 + (source < successes % 7) for source in range(7)]
    rates = {str(source): Rates(100 * share / n, 0.0, 50.0, n, 4 * n, 500) for source, share in enumerate(shares)}
    pooled = pool(rates, rates, "main7")
    assert round(pooled.ssr, 2) == printed
    assert pooled.n == 7 * n and pooled.identities == 3500


def test_pool_weights_by_support():
    big, small = table_of(90, np.random.default_rng(1)), table_of(10, np.random.default_rng(2), missing=0.5)
    both = {name: np.concatenate([big[name], small[name]]) for name in big}
    pooled = pool({name: rate(directed_margins(t)) for name, t in (("a", big), ("b", small))}, ["a", "b"], "all")
    expected = rate(directed_margins(both))
    assert (pooled.n, pooled.trials, pooled.identities) == (expected.n, expected.trials, expected.identities)
    for name in ("ssr", "ssr_mean", "pa", "pa_table"):
        assert getattr(pooled, name) == pytest.approx(getattr(expected, name)), name


def test_a_missing_source_is_refused_by_name():
    rates = {"flux": rate(np.ones((2, 2))), "empty": rate(np.full((2, 2), np.nan))}
    with pytest.raises(UserError, match="qwen"):
        pool(rates, ["flux", "qwen"], "train")
    with pytest.raises(UserError, match="empty"):
        pool(rates, ["flux", "empty"], "train")
