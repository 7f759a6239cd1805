"""Outward rounding: the house's primitives, and every bound beside its formula in 50 digits, without a tolerance (benchmarks/rounding.py)."""

import importlib.util
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch

from lemode import kernels
from lemode.analysis import contraction_over_windows, discretization, engine, inverse, stability
from lemode.analysis.rounding import above, dot_above, inward, norm2_above, outward, power_above


@pytest.fixture(scope="module")
def exact():
    spec = importlib.util.spec_from_file_location("rounding_cases", Path(__file__).parents[2] / "benchmarks" / "rounding.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mpmath.mp.dps = 50
    return module


def counted(exact, case, times):
    rng, count = np.random.default_rng(11), exact.Count()
    for _ in range(times):
        case(rng, count)
    return count


@pytest.mark.parametrize(("case", "times"), [("engine", 60), ("network", 8), ("recursion", 12), ("posterior", 5)])
def test_no_bound_is_below_its_formula_in_50_digits(exact, case, times):
    assert not counted(exact, getattr(exact, f"{case}_case"), times).broken


def test_no_window_is_below_its_norm_in_50_digits(exact):
    rng = np.random.default_rng(5)
    for scheme in exact.SCHEMES:
        for _ in range(2):
            cell = exact.network(rng, d=1, scheme=scheme)
            u = torch.from_numpy(rng.uniform(-2, 2, (6, cell.ode.input_size))).to(cell.ode.weight_zy.dtype)
            found, net = contraction_over_windows(cell, u, window=2), exact.Exact(cell)
            y = z = torch.zeros(1, dtype=u.dtype)
            L, sizes = mpmath.matrix(found.L.tolist()), [*found.found, *found.held_out]
            for k, bound in enumerate(sizes):
                product = mpmath.eye(2)
                for u_n in u[2 * k : 2 * k + 2]:
                    at = ([mpmath.mpf(x) for x in v.tolist()] for v in (y, z, u_n))
                    product = mpmath.matrix(net.jacobian(*at)) * product
                    with torch.no_grad():
                        ys, zs = kernels.run(cell.ode, cell.scheme, u_n[None, None], y[None], z[None], cell.dt)
                    y, z = ys[0, 0], zs[0, 0]
                with mpmath.workdps(400):
                    assert exact.norm2((L * product * mpmath.inverse(L)).tolist()) <= mpmath.mpf(float(bound))


def test_without_rounding_outward_many_are(exact, monkeypatch):
    for module in (engine, stability, discretization, inverse):
        for name in ("outward", "above", "inward"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda x, terms: x)
    broken = {name for name, *_ in counted(exact, exact.engine_case, 40).broken}
    assert {"psi_r", "psi", "chi", "A", "7.2"} <= broken


def test_sums_are_rounded_outward_and_inward():
    exact = sum(mpmath.mpf(x) for x in [0.1] * 1000)
    assert inward(np.array([0.1] * 1000).sum(), 1000) < exact < outward(np.array([0.1] * 1000).sum(), 1000)


def test_what_underflows_is_rounded_outward_and_what_is_nothing_is_nothing():
    A = np.array([[1e-200, 0.0], [0.0, 0.0]])
    assert (dot_above(A, np.array([1e-200, 1.0])) > [0, -1]).all()  # 1e-400 is more than nothing
    assert dot_above(A, np.array([1e-200, 1.0]))[1] == 0
    assert dot_above(A, np.array([0.0, np.inf]))[0] == np.inf  # 0 times inf is no number, and inf is a bound on it
    assert above(np.array([0.0, 1.0]), 1)[0] == 0


@pytest.mark.parametrize("scale", [1e-300, 1.0, 1e300])
def test_spectral_norms_are_rounded_outward(scale):
    rng = np.random.default_rng(0)
    mpmath.mp.dps = 50
    for n in (1, 2, 4):
        A = scale * rng.standard_normal((n, n))
        A[0] = A[-1]  # of less than full rank
        exact = max(mpmath.svd_r(mpmath.matrix(A.tolist()), compute_uv=False))
        found = mpmath.mpf(norm2_above(A))
        assert exact <= found <= exact * (1 + mpmath.mpf(1e-13) * n)


def test_spectral_norms_do_not_need_the_decomposition(monkeypatch):
    def fails(*args, **kwargs):
        raise np.linalg.LinAlgError("SVD did not converge")

    monkeypatch.setattr(np.linalg, "svd", fails)
    assert 5 <= norm2_above(np.diag([3.0, 4.0])) < 5.0001  # the Frobenius norm
    assert norm2_above(np.zeros((2, 2))) == 0


def test_powers_are_rounded_outward_on_both_sides_of_nothing():
    mpmath.mp.dps = 50
    for x in (1e-300, 1e-12, 0.3, 7.0, -1e-9, -0.5, -1 + 2**-50):
        for n in (1, 7, 1000):
            found, exact = float(power_above(x, n)), mpmath.expm1(n * mpmath.log1p(mpmath.mpf(x)))
            assert mpmath.mpf(found) >= exact
            assert found == np.inf or abs(found - exact) <= mpmath.mpf(1e-11) * abs(exact) + mpmath.mpf(1e-299)
