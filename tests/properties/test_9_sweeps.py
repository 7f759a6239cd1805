"""Statement 9.1, on networks drawn by hypothesis: sweeps over a sequence keep the cube, end, and are as good as was promised."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from lem_cases import cases

from lemode.analysis import contraction_certificate, promised_sweeps
from lemode.kernels import run
from lemode.kernels.backends import LEAKY
from lemode.kernels.parallel import solve

# states and targets are at most one: what a sum over 20 steps is rounded by
ROUNDING = 1e-13


def problem(c):
    y0, z0 = c.cube_states(1)
    u = c.u[:, None]
    return u, y0, z0, run(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, "reference")


def error(found, truth):
    return max(float((a - b).abs().max()) for a, b in zip(found[:2], truth))


@given(cases(max_d=4, max_N=20, schemes=LEAKY, max_scale=2.0))
def test_9_1_no_sweep_is_worse_than_its_bound(c):
    u, y0, z0, truth = problem(c)
    promised = promised_sweeps(c.cell, u, 1e-6, (y0, z0))
    assert promised.sweeps <= c.N
    for k in {1, 2, 3, len(promised.errors) - 1, promised.sweeps}:
        found = solve(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, sweeps=k)
        assert max(float(x.abs().max()) for x in found[:2]) <= 1 + ROUNDING
        if k < len(promised.errors):
            assert error(found, truth) <= promised.errors[k] + ROUNDING
    assert error(found := solve(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, sweeps=promised.sweeps), truth) <= 1e-6
    assert found.converged


@given(cases(max_d=4, max_N=12, schemes=LEAKY), st.booleans())
def test_9_1_what_is_found_is_the_sequence_or_said_not_to_be(c, newton):
    u, y0, z0, truth = problem(c)
    found = solve(c.cell.ode, c.cell.scheme, u, y0, z0, c.dt, tol=1e-8, newton=newton)
    if found.converged:
        assert error(found, truth) <= 1e-8


@given(cases(max_d=4, max_N=5, max_scale=1.0), st.floats(0.05, 0.5))
def test_9_1_where_5_4_holds_a_small_error_shrinks_at_any_length(c, shrink):
    with torch.no_grad():
        for W in (c.cell.ode.weight_hh, c.cell.ode.weight_zy):
            W *= shrink
    if contraction_certificate(c.cell, c.u).holds:
        assert promised_sweeps(c.cell, c.u, 1e-3).rate < 1
