"""Metrics against a slow computation in plain Python on random tables, and properties that must hold of any table."""

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nearid.margins import directed_margins
from nearid.scores.correlations import edit_correlations, oracle_agreement
from nearid.scores.margins import CROSSES, SIMILARITIES, edit_margins, pool, rate
from nearid.scores.mtg import ORACLES, PAIRS

pytestmark = pytest.mark.numerics

LEVELS = [math.nan, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]  # few, so that ties are common; exact in binary
NAMES = (*SIMILARITIES, *CROSSES)


@st.composite
def tables(draw, least=0):
    """Columns of similarities: missing views, missing distractors, ties, identities without any trial, constants."""
    count = draw(st.integers(least, 8))
    constant = draw(st.booleans())
    level = st.just(draw(st.sampled_from(LEVELS[1:]))) if constant else st.sampled_from(LEVELS)
    table = {name: np.array([draw(level) for _ in range(count)], np.float64) for name in NAMES}
    for row in range(count):
        views = draw(st.integers(0, 3))
        for name in NAMES:
            if any(int(slot) >= views for slot in name[-2:]):
                table[name][row] = math.nan
    return table


def slow_rates(table):
    """Success rates as the paper words them, identity by identity (docs/protocol.md 4.1)."""
    rows = [{name: float(table[name][row]) for name in NAMES} for row in range(len(table["sim_01"]))]
    success = mean_success = valid = wins = trials = 0
    for row in rows:
        margins = []
        for first in range(3):
            for second in range(3):
                if first != second:
                    same = row[f"sim_{min(first, second)}{max(first, second)}"]
                    margins.append(same - row[f"cross_{first}{first}"])
        margins = [margin for margin in margins if not math.isnan(margin)]
        if margins:
            valid += 1
            success += all(margin > 0 for margin in margins)
            mean_success += statistics.fmean(margins) > 0
            wins += sum(margin > 0 for margin in margins)
            trials += len(margins)
    share = lambda part, whole: 100 * part / whole if whole else math.nan  # noqa: E731
    return share(success, valid), share(mean_success, valid), share(wins, trials), valid, trials, len(rows)


def as_tuple(rates):
    return rates.ssr, rates.ssr_mean, rates.pa, rates.n, rates.trials, rates.identities


def same(found, expected):
    assert found == pytest.approx(expected, nan_ok=True)


@given(tables())
@settings(max_examples=60, deadline=None)
def test_rates_are_those_of_the_slow_computation(table):
    same(as_tuple(rate(directed_margins(table))), slow_rates(table))


@given(st.lists(tables(least=1), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_a_pool_is_the_rate_of_all_its_rows(parts):
    rates = {str(n): rate(directed_margins(part)) for n, part in enumerate(parts)}
    if all(part.n for part in rates.values()):
        whole = {name: np.concatenate([part[name] for part in parts]) for name in NAMES}
        same(as_tuple(pool(rates, rates, "test")), slow_rates(whole))


@given(tables(), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_identities_and_of_views_changes_nothing(table, random):
    expected = as_tuple(rate(directed_margins(table)))
    rows = list(range(len(table["sim_01"])))
    random.shuffle(rows)
    same(as_tuple(rate(directed_margins({name: values[rows] for name, values in table.items()}))), expected)
    views = [0, 1, 2]
    random.shuffle(views)
    moved = {f"cross_{i}{j}": table[f"cross_{views[i]}{views[j]}"] for i in range(3) for j in range(3)}
    for name in SIMILARITIES:
        first, second = sorted(views[int(slot)] for slot in name[-2:])
        moved[name] = table[f"sim_{first}{second}"]
    same(as_tuple(rate(directed_margins(moved))), expected)


@given(tables(), st.sampled_from([-2.0, 0.125, 64.0]))
@settings(max_examples=60, deadline=None)
def test_a_constant_added_to_all_similarities_changes_no_margin(table, constant):
    shifted = {name: values + constant for name, values in table.items()}
    np.testing.assert_array_equal(directed_margins(shifted), directed_margins(table))


@given(tables())
@settings(max_examples=60, deadline=None)
def test_pa_is_at_least_ssr_where_identities_have_equally_many_trials(table):
    # Pooled over identities with 2 and with 6 trials it need not be: one identity that wins both of its 2 trials and
    # one that loses all of its 6 give an SSR of 50 % and a PA of 25 %.
    margins = directed_margins(table)
    trials = (~np.isnan(margins)).sum(1)
    for count in set(trials) - {0}:
        rates = rate(margins[trials == count])
        assert rates.pa >= rates.ssr - 1e-9


@st.composite
def edits(draw):
    """MTG's columns with ties, gaps and constants."""
    count = draw(st.integers(0, 8))
    return {
        name: np.array(draw(st.lists(st.sampled_from(LEVELS), min_size=count, max_size=count)), np.float64)
        for name in (*PAIRS, *ORACLES)
    }


def slow_pearson(x, y):
    pairs = [(a, b) for a, b in zip(x.tolist(), y.tolist(), strict=True) if not (math.isnan(a) or math.isnan(b))]
    if len(pairs) < 2:
        return 0.0
    try:
        return statistics.correlation(*zip(*pairs, strict=True))
    except statistics.StatisticsError:
        return 0.0


@given(edits())
@settings(max_examples=60, deadline=None)
def test_mtg_metrics_are_those_of_the_slow_computation(table):
    oracles = {"s_11e": "oracle_1", "s_22e": "oracle_2", "s_12e": "oracle_2", "s_21e": "oracle_1"}
    r = {name: slow_pearson(table[name], table[oracle]) for name, oracle in oracles.items()}
    assert edit_correlations(table) == pytest.approx(r, abs=1e-9)

    def fisher(values):
        return math.tanh(statistics.fmean(math.atanh(max(-0.999, min(0.999, value))) for value in values))

    expected = fisher(r.values()), fisher([r["s_11e"], r["s_22e"]])
    assert oracle_agreement(table) == pytest.approx(expected, abs=1e-6)
    success = wins = valid = trials = 0
    for row in range(len(table["s_12"])):
        margins = [float(table["s_12"][row] - table[name][row]) for name in ("s_11e", "s_22e")]
        margins = [margin for margin in margins if not math.isnan(margin)]
        valid += bool(margins)
        success += bool(margins) and min(margins) > 0
        wins += sum(margin > 0 for margin in margins)
        trials += len(margins)
    found = rate(edit_margins(table))
    assert (found.n, found.trials) == (valid, trials)
    if trials:
        assert (found.ssr, found.pa) == pytest.approx((100 * success / valid, 100 * wins / trials))
