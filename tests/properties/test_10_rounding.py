"""10.1: values and their roundings. 10.2: the engine's maxima. 10.3: the adjoint. Against exact rationals and 50 digits, without a tolerance."""

import importlib.util
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf

from lemode.analysis import lem_G
from lemode.analysis.rounding import dot_above, grown, inward, outward

SIZE = st.just(0.0) | st.floats(1e-300, 1e100) | st.floats(-6, 6).map(lambda e: 10.0**e)


@pytest.fixture(scope="module")
def exact():
    spec = importlib.util.spec_from_file_location("rounding_formulas", Path(__file__).parents[2] / "benchmarks" / "rounding.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@given(rows=st.lists(st.lists(SIZE, min_size=3, max_size=3), min_size=1, max_size=3), x=st.lists(SIZE, min_size=3, max_size=3))
def test_10_1_sums_of_products_are_rounded_outward(rows, x):
    A, v = np.array(rows), np.array(x)
    for row, found in zip(rows, dot_above(A, v), strict=True):
        true = sum(Fraction(a) * Fraction(b) for a, b in zip(row, x, strict=True))
        assert found == np.inf or Fraction(found) >= true
        assert (found == 0) == (true == 0)
    total, true = float(np.sum(v)), sum(map(Fraction, x))
    assert Fraction(float(inward(total, 3))) <= true <= Fraction(float(outward(total, 3)))
    s, dt, rate = x
    assert Fraction(float(grown(np.array(s), min(dt, 1.0), np.array(rate)))) >= Fraction(s) + Fraction(min(dt, 1.0)) * Fraction(
        rate
    )


@given(s=SIZE, A=SIZE, B=SIZE, r=st.sampled_from([0.0, 1.0]) | st.floats(0, 1), close=st.integers(-3, 3) | st.none())
def test_10_2_no_maximum_is_below_that_of_50_digits(exact, s, A, B, r, close):
    B = B if close is None else s * (1 + close * 2.0**-52)  # candidate and decay cancel
    assert mpf(lem_G(s, A, B, r)) >= exact.G(mpf(s), mpf(A), mpf(B), mpf(r))


def test_10_3_no_adjoint_is_further_from_that_of_50_digits_than_is_said(exact):
    rng, count = np.random.default_rng(5), exact.Count()
    for _ in range(6):
        exact.posterior_case(rng, count)
    assert not count.broken
    assert count.done["adjoint's error"] >= 6
