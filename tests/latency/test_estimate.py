"""Times with error bars, and how these add up."""

import math

import pytest

from flopscope.errors import OptionError
from flopscope.latency.estimate import Estimate, combined

A, B = Estimate(3.0, 2.0, 7.0), Estimate(4.0, 1.0, 7.0)


def test_a_sum_of_errors_that_go_together_is_the_widest():
    total = A + B
    assert (total.seconds, total.low, total.high) == (7.0, 3.0, 14.0)


def test_independent_errors_add_up_in_squares():
    found = combined([A, B], correlation=0.0)
    assert found.seconds == 7.0
    assert found.low == pytest.approx(7 - math.sqrt(1 + 9))
    assert found.high == pytest.approx(7 + math.sqrt(16 + 9))


def test_correlated_errors_lie_between():
    found = combined([A, B], correlation=0.5)
    assert found.high - 7 == pytest.approx(math.sqrt(0.5 * 49 + 0.5 * 25))


def test_unknown_is_not_zero():
    found = combined([A, None, Estimate(1.0, 1.0, 1.0, unknown=2)])
    assert found.partial
    assert found.unknown == 3
    assert A * 3 == 3 * A
    assert (3 * A).high == 21.0
    assert not (A + B).partial


def test_a_bar_holds_its_time():
    assert Estimate.within(4.0, 2.0) == Estimate(4.0, 2.0, 8.0)
    for bad in ((1.0, 2.0, 3.0), (1.0, 0.5, 0.9), (-1.0, -2.0, 0.0), (math.nan, 0.0, 1.0)):
        with pytest.raises(OptionError, match="low <= seconds <= high"):
            Estimate(*bad)
    with pytest.raises(OptionError, match="between 0 and 1"):
        combined([A], correlation=2)
