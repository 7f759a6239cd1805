"""Streaming least squares: against LAPACK on the whole matrix, against fifty digits, and against what a weight, a ridge or a block must mean."""

import mpmath
import numpy as np
import pytest
import torch

from lemode.surrogate.least_squares import BLOCK, StreamingQR

EPS = np.finfo(float).eps


def rng():
    return np.random.default_rng(17)


def conditioned(rows, columns, condition, random):
    """A matrix of norm one whose singular values fall evenly from 1 to 1/condition."""
    U, _ = np.linalg.qr(random.standard_normal((rows, columns)))
    V, _ = np.linalg.qr(random.standard_normal((columns, columns)))
    return (U * np.logspace(0, -np.log10(condition), columns)) @ V.T


def fit(F, t, weights=None, unpenalised=0, blocks=1):
    qr = StreamingQR(F.shape[1], t.shape[1], unpenalised)
    for k in np.array_split(np.arange(len(F)), blocks):
        qr.add(F[k], t[k], None if weights is None else weights[k])
    return qr


def close(a, b, rtol):
    """Two lists of solutions predict alike: coefficients to rtol of the largest."""
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=0, atol=rtol * np.abs(other.coefficients).max())
        np.testing.assert_allclose(one.mean_square, other.mean_square, rtol=rtol)


def test_condition_1e14_is_solved_as_well_as_by_lstsq_and_far_better_than_by_the_normal_equations():
    random = rng()
    F = conditioned(3000, 20, 1e14, random)
    t = F @ random.standard_normal((20, 2))
    C = fit(F, t, blocks=7).solve([0.0])[0].coefficients
    lstsq = np.linalg.lstsq(F, t, rcond=EPS)[0]
    # backward stability: C solves the problem of a matrix 20 * 20 rounding errors away (columns x growth of their sums), so the
    # consistent system is left with that times |C|, whatever the condition
    bound = 400 * EPS * (np.linalg.norm(C) + np.linalg.norm(t))
    assert np.linalg.norm(F @ C - t) < bound
    assert np.linalg.norm(F @ (C - lstsq)) < 2 * bound
    normal = np.linalg.solve(F.T @ F + 1e-15 * np.eye(20), F.T @ t)
    assert np.linalg.norm(F @ normal - t) > 1e4 * bound


def test_condition_1e14_with_noise_leaves_the_residual_of_lstsq():
    random = rng()
    F = conditioned(3000, 20, 1e14, random)
    t = F @ random.standard_normal((20, 2)) + 1e-3 * random.standard_normal((3000, 2))
    solution = fit(F, t, blocks=5).solve([0.0])[0]
    C, least = solution.coefficients, np.linalg.norm(F @ np.linalg.lstsq(F, t, rcond=EPS)[0] - t, axis=0)
    # |C| is 1e11 here, and F @ C alone is rounded to 20 rounding errors of that: 1 % of the residual
    bound = 20 * EPS * np.linalg.norm(C)
    assert bound < 0.02 * least.min()
    left = np.linalg.norm(F @ C - t, axis=0)
    assert (np.abs(left - least) < bound).all()
    assert (np.abs(np.sqrt(3000 * solution.mean_square) - least) < bound).all()


@pytest.mark.parametrize("ridge", [0.0, 1e-12, 1e-6, 1.0])
def test_fifty_digits_say_the_same(ridge):
    """A Hilbert-like matrix with two unpenalised columns: the normal equations in 50 digits are exact for our purpose."""
    random = rng()
    F = np.stack([np.linspace(0.1, 1, 15) ** k for k in range(7)], 1)
    t = random.standard_normal((15, 2))
    w = random.uniform(0.5, 2, 15)
    solution = fit(F, t, w, unpenalised=2, blocks=4).solve([ridge])[0]
    with mpmath.workdps(50):
        A, W = mpmath.matrix(F.tolist()), mpmath.diag(w.tolist())
        penalty = mpmath.diag([0, 0] + 5 * [ridge]) * sum(map(mpmath.mpf, w.tolist()))
        normal = A.T * W * A + penalty
        exact = np.array((mpmath.inverse(normal) * (A.T * W * mpmath.matrix(t.tolist()))).tolist(), dtype=float)
    # the condition of [sqrt(w) F; sqrt(W ridge)] is that of the triangle that is inverted; its square times the residual, which is of
    # order one here, bounds the error (Golub and Van Loan, section 5.3.7); 10 for the growth of 7 columns
    stacked = np.concatenate([np.sqrt(w)[:, None] * F, np.sqrt(w.sum() * ridge) * np.eye(7)[2:]])
    condition = np.linalg.cond(stacked)
    assert np.abs(solution.coefficients - exact).max() < 10 * EPS * condition**2 * np.abs(exact).max()
    left = np.average((F @ exact - t) ** 2, axis=0, weights=w)
    np.testing.assert_allclose(solution.mean_square, left, rtol=10 * EPS * condition)


RIDGES = [0.0, 1e-8, 1e-2]


def problem(rows=400, columns=12, targets=3):
    random = rng()
    return random.standard_normal((rows, columns)), random.standard_normal((rows, targets)), random


# of a well-conditioned problem of 12 columns, two ways of rounding agree to 1e-13
ALIKE = 1e-13


def test_weights_are_repeated_rows():
    F, t, random = problem()
    w = random.integers(0, 4, len(F))
    repeated = fit(np.repeat(F, w, 0), np.repeat(t, w, 0), unpenalised=2)
    close(fit(F, t, w, unpenalised=2, blocks=3).solve(RIDGES), repeated.solve(RIDGES), ALIKE)


def test_a_row_of_weight_zero_is_left_out_whatever_it_holds():
    F, t, random = problem()
    w = random.integers(0, 2, len(F))
    unknown = np.where(w[:, None] == 0, np.nan, F)
    close(fit(unknown, t, w).solve(RIDGES), fit(F[w == 1], t[w == 1]).solve(RIDGES), ALIKE)


def test_only_the_proportion_of_the_weights_matters():
    F, t, random = problem()
    w = random.uniform(0.1, 3, len(F))
    close(fit(F, t, 1e6 * w).solve(RIDGES), fit(F, t, w).solve(RIDGES), ALIKE)


@pytest.mark.parametrize("blocks", [2, 13, 400])
def test_blocks_are_no_part_of_the_answer(blocks):
    F, t, _ = problem()
    close(fit(F, t, unpenalised=3, blocks=blocks).solve(RIDGES), fit(F, t, unpenalised=3).solve(RIDGES), ALIKE)


def test_more_rows_at_once_than_a_block():
    F, t, _ = problem(rows=2 * BLOCK + 7)
    close(fit(F, t).solve(RIDGES), fit(F, t, blocks=50).solve(RIDGES), ALIKE)


def test_merged_factors_are_one_stream():
    F, t, random = problem()
    w = random.uniform(0, 2, len(F))
    parts = [fit(F[k], t[k], w[k], unpenalised=2) for k in np.array_split(np.arange(len(F)), [5, 150, 300])]  # one has few rows
    theirs = parts[1].R.copy()
    for other in [*parts[1:], StreamingQR(12, 3, 2)]:  # the last has none
        parts[0].merge(other)
    close(parts[0].solve(RIDGES), fit(F, t, w, unpenalised=2).solve(RIDGES), ALIKE)
    np.testing.assert_array_equal(parts[1].R, theirs)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 1.0, 1e12])
def test_an_exact_linear_part_outside_the_penalty_is_found_at_any_ridge(ridge):
    F, _, random = problem()
    F[:, 0] = 1.0
    exact = np.concatenate([random.standard_normal((4, 3)), np.zeros((8, 3))])
    solution = fit(F, F @ exact, unpenalised=4, blocks=3).solve([ridge])[0]
    np.testing.assert_allclose(solution.coefficients, exact, rtol=0, atol=ALIKE)
    assert (solution.mean_square < ALIKE**2).all()


def test_a_ridge_makes_the_gradient_of_the_penalised_mean_square_zero():
    F, t, random = problem()
    w = random.uniform(0, 2, len(F))
    for ridge, C, mean_square in fit(F, t, w, unpenalised=5).solve([1e-6, 0.1, 10.0]):
        error = F @ C - t
        pull = F.T @ (w[:, None] * error) / w.sum()
        pull[5:] += ridge * C[5:]
        np.testing.assert_allclose(pull, 0, atol=ALIKE)
        np.testing.assert_allclose(mean_square, np.average(error**2, axis=0, weights=w), rtol=ALIKE)


def test_without_a_ridge_what_the_rows_do_not_determine_is_zero():
    F, t, random = problem(columns=6)
    F = F @ random.standard_normal((6, 10))  # rank 6 of 10
    C = fit(F, t, blocks=4).solve([0.0])[0].coefficients
    np.testing.assert_allclose(C, np.linalg.lstsq(F, t, rcond=1e-12)[0], rtol=0, atol=1e-11)  # condition 100 of the mixing
    few = fit(F[:4], t[:4]).solve([0.0])[0]
    np.testing.assert_allclose(few.coefficients, np.linalg.lstsq(F[:4], t[:4], rcond=1e-12)[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize("ridge", RIDGES)
def test_unpenalised_columns_that_depend_on_each_other_do_not_take_what_belongs_to_the_others(ridge):
    """A constant given twice is a constant given once."""
    F, t, _ = problem()
    F[:, 0] = 1.0
    twice = np.concatenate([2 * F[:, :1], F], 1)
    a, b = fit(twice, t, unpenalised=3, blocks=3).solve([ridge])[0], fit(F, t, unpenalised=2).solve([ridge])[0]
    np.testing.assert_allclose(twice @ a.coefficients, F @ b.coefficients, rtol=0, atol=10 * ALIKE)
    np.testing.assert_allclose(a.mean_square, b.mean_square, rtol=ALIKE)


def test_an_unpenalised_column_of_zeros_is_no_column():
    F, t, _ = problem()
    F[:, 1] = 0.0
    a, b = fit(F, t, unpenalised=2).solve([1e-2])[0], fit(np.delete(F, 1, 1), t, unpenalised=1).solve([1e-2])[0]
    np.testing.assert_allclose(np.delete(a.coefficients, 1, 0), b.coefficients, rtol=0, atol=ALIKE)
    np.testing.assert_allclose(a.mean_square, b.mean_square, rtol=ALIKE)


def test_all_columns_unpenalised_is_plain_least_squares():
    F, t, _ = problem()
    solution = fit(F, t, unpenalised=12).solve([5.0])[0]
    np.testing.assert_allclose(solution.coefficients, np.linalg.lstsq(F, t, rcond=None)[0], rtol=0, atol=ALIKE)
    np.testing.assert_allclose(solution.mean_square, ((F @ solution.coefficients - t) ** 2).mean(0), rtol=ALIKE)


def test_float32_rows_are_solved_in_float64():
    """The answer is that of the numbers that float32 holds: 1e-13, and not the 1e-6 of sums in float32."""
    F, t, _ = problem()
    small, target = torch.from_numpy(F).float(), torch.from_numpy(t).float()
    solutions = fit(small, target, blocks=3).solve(RIDGES)
    assert solutions[0].coefficients.dtype == np.float64
    close(solutions, fit(small.double().numpy(), target.double().numpy()).solve(RIDGES), ALIKE)


def test_no_rows_are_nothing():
    F, t, _ = problem()
    qr = fit(F, t)
    before = qr.R.copy()
    qr.add(F[:0], t[:0])
    qr.add(F, t, np.zeros(len(F)))
    assert qr.weight == len(F)
    np.testing.assert_array_equal(qr.R, before)
    with pytest.raises(ValueError, match="no rows: `add`"):
        StreamingQR(3).solve([0.0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_by_its_place_and_nothing_is_taken_in(value):
    F, t, _ = problem(rows=BLOCK + 10)
    qr = StreamingQR(12, 3)
    F[BLOCK + 3, 5] = value
    with pytest.raises(ValueError, match=rf"row {BLOCK + 3}, column 5 is {value}: .*weight 0"):
        qr.add(F, t)
    F[BLOCK + 3, 5], t[2, 1] = 0.0, value
    with pytest.raises(ValueError, match=rf"target 2, column 1 is {value}"):
        qr.add(F, t)
    assert qr.weight == 0
    assert not qr.R.any()


def test_arguments_that_make_no_sense_are_refused():
    F, t, _ = problem()
    qr = fit(F, t)
    for arguments, said in [
        ((F[:, :11], t), r"give \(M, 12\) and \(M, 3\)"),
        ((F, t[:-1]), r"give \(M, 12\)"),
        ((F, t, np.ones(3)), r"give \(400,\)"),
        ((F, t, -np.ones(400)), "none negative"),
        ((F, t, np.full(400, np.nan)), "finite"),
    ]:
        with pytest.raises(ValueError, match=said):
            qr.add(*arguments)
    for ridge in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="none negative"):
            qr.solve([ridge])
    with pytest.raises(ValueError, match="made alike"):
        qr.merge(StreamingQR(12, 3, 1))
    for counts in ((0, 1, 0), (2, 0, 0), (2, 1, 3), (2, 1, -1)):
        with pytest.raises(ValueError, match="at least one column"):
            StreamingQR(*counts)
