"""The calculators of lemode.analysis: closed forms on small cases, and errors that name value and remedy."""

import math

import numpy as np
import pytest
import torch

import lemode
from lemode import analysis


def cell(**kw):
    return lemode.LEMCell(1, 3, **({"dt": 0.5, "dtype": torch.float64} | kw))


def with_nan():
    c = cell()
    with torch.no_grad():
        c.ode.weight_hh[0, 0] = torch.inf
    return c


U, Y = torch.zeros(1, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: analysis.jacobian_bound(torch.nn.LSTMCell(1, 3)), TypeError, "LSTMCell: give a lemode.LEMCell"),
        (lambda: analysis.contraction_rate(torch.nn.Linear(1, 3)), TypeError, "Linear: give a lemode.MultiscaleODE"),
        (lambda: analysis.step_jacobian(lemode.MultiscaleODE(1, 3), (Y, Y), U), TypeError, "MultiscaleODE: give a lemode.LEMCell"),
        (lambda: analysis.jacobian_bound(with_nan()), ValueError, "W1 contains inf"),
        (lambda: analysis.contraction_certificate(with_nan()), ValueError, "W1 contains inf"),
        (lambda: analysis.gradient_bound(with_nan(), 3, 1.0, "bz"), ValueError, "W1 contains inf"),
        (lambda: analysis.jacobian_bound(cell(), 3), ValueError, "norm=3"),
        (lambda: analysis.inverse_bound(cell(), 1), ValueError, "norm=1"),
        (lambda: analysis.jacobian_bound(cell(dt=1.5, allow_large_dt=True)), ValueError, "dt=1.5.*use a smaller dt"),
        (lambda: analysis.step_jacobian(cell(scheme="explicit"), (Y, Y), U), ValueError, "scheme='explicit'"),
        (lambda: analysis.step_distance_bound(cell(), 0.0), ValueError, "gate_max=0"),
        (lambda: analysis.state_radius(0.0, 3), ValueError, "dt=0"),
        (lambda: analysis.state_radius(-1.0, 3), ValueError, "dt=-1"),
        (lambda: analysis.state_radius(0.5, -1), ValueError, "n=-1"),
        (lambda: analysis.state_radius(0.5, 1, scheme="euler"), ValueError, "scheme='euler'"),
        (lambda: analysis.state_radius(0.5, 1, gates=[2.0]), ValueError, "gates"),
        (lambda: analysis.state_radius(1.5, 1, gates=[1.0]), ValueError, "dt=1.5.*give n"),
        (lambda: analysis.state_radius(0.5, 1, x0=math.nan), ValueError, "x0"),
        (lambda: analysis.gradient_bound(cell(), 0, 1.0, "bz"), ValueError, "steps=0"),
        (lambda: analysis.gradient_bound(cell(), 2.5, 1.0, "bz"), ValueError, "steps=2.5"),
        (lambda: analysis.gradient_bound(cell(), 3, 1.0, "W3"), ValueError, "group='W3'.*W1, W2"),
        (lambda: analysis.gradient_bound(cell(), 3, 1.0, "bz", "best-ever"), ValueError, "kind='best-ever'"),
        (lambda: analysis.gradient_bound(cell(), 3, 1.0, "bz", row=3), ValueError, "row=3"),
        (lambda: analysis.gradient_bound(cell(), 3, np.ones(2), "bz"), ValueError, "pull of shape"),
        (lambda: analysis.gradient_bound(cell(), 3, -1.0, "bz"), ValueError, "pull"),
        (lambda: analysis.gradient_bound(cell(), 3, 1.0, "Vz"), ValueError, "group='Vz'.*give u_max"),
        (lambda: analysis.gradient_bound(cell(), 3, 1.0, "Vz", u_max=math.inf), ValueError, "u_max"),
        (lambda: analysis.gradient_bound(cell(), 3, 1.0, "bz", x0=2.0), ValueError, "x0=2"),
        (lambda: analysis.gradient_bound_posterior(cell(), torch.ones(2, 3), "bz", torch.zeros(3, 1)), ValueError, "pull of shape"),
        (lambda: analysis.gradient_bound_posterior(cell(), torch.ones(3, 3), "bz", torch.zeros(3, 1), kind="exact"), ValueError, "kind='exact'"),
        (lambda: analysis.quadratic_pull(cell(), 3, -1.0), ValueError, "target_max=-1"),
        (lambda: analysis.quadratic_pull(cell(), 3, 1.0, (np.ones((2, 4)), np.ones(2))), ValueError, "readout"),
        (lambda: analysis.parameter_jacobian(cell(), (Y, Y), U, "b3"), ValueError, "group='b3'"),
        (lambda: analysis.contraction_certificate(cell(), torch.zeros(4, 2)), ValueError, "2 features"),
        (lambda: analysis.contraction_certificate(cell(), torch.full((4, 1), torch.nan)), ValueError, "finite"),
        (lambda: analysis.contraction_certificate(cell(), r=0.0), ValueError, "r=0"),
        (lambda: analysis.gradient_floor(cell(), -1), ValueError, "steps=-1"),
        (lambda: analysis.inverse_step(cell(), (Y, Y), U), ValueError, "W2 is not zero"),
        (lambda: analysis.local_error_bound(cell(scheme="exponential")), ValueError, "'exponential'"),
        (lambda: analysis.global_error_bound(cell(), -1), ValueError, "steps=-1"),
        (lambda: analysis.stability_region(0.0, 1.0, 0.0), ValueError, "a, b, pq"),
        (lambda: analysis.gate_bias(-1.0), ValueError, "tau"),
        (lambda: analysis.gate_bias(10.0, dt=0.0), ValueError, "dt=0"),
        (lambda: analysis.gate_bias(10.0, mode="slow"), ValueError, "mode='slow'"),
        (lambda: analysis.gate_bias(0.5, mode="rate"), ValueError, "tau=0.5.*rescale time"),
        (lambda: analysis.gate_bias(0.1, dt=0.5), ValueError, "tau=0.1.*rescale time"),
        (lambda: analysis.decay_error_bound(1.5), ValueError, "x: dt times"),
        (lambda: analysis.psi(-1.0, 0.0), ValueError, "a=-1"),
        (lambda: analysis.lem_G(1.0, math.nan, 0.0), ValueError, "A=nan"),
        (lambda: analysis.linear_growth(0, 0.1, 1.0), ValueError, "N=0"),
        (lambda: analysis.linear_growth(3, 0.0, 1.0), ValueError, "dt=0"),
        (lambda: analysis.linear_growth(3, [0.1, 0.0], 1.0), ValueError, "dt="),
        (lambda: analysis.trajectory_vjp(cell(), torch.zeros(3, 1), Y, Y, (Y, Y)), ValueError, "L \\+ 1 states"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_saturated_step_cannot_be_inverted():
    c = lemode.LEMCell(1, 3, dt=1.0, dtype=torch.float64)
    with torch.no_grad():
        c.ode.weight_hh[3:6] = 0
        c.ode.bias[:] = 60.0
    with pytest.raises(ValueError, match="saturated"):
        analysis.inverse_step(c, (Y, Y), U)


def test_conditions_that_fail_give_no_bound_rather_than_a_wrong_one():
    c = cell(dt=1.0)
    assert analysis.inverse_bound(c) == math.inf
    assert analysis.inverse_bound(c, 2) == math.inf
    assert analysis.gradient_floor(c, 5) == 0.0
    assert analysis.gradient_floor(c, 0) == 1.0
    with torch.no_grad():
        c.ode.weight_hh.mul_(100)
    assert not analysis.contraction_certificate(c).holds
    assert analysis.contraction_rate(c) == 0.0
    assert analysis.contraction_certificate(c).factor(c) == math.inf
    assert analysis.gradient_bound(c, 5, 1.0, "bz", "uniform") == math.inf
    assert analysis.gradient_bound(c, 10**4, 1.0, "bz", "inf") == math.inf
    assert analysis.highway_floor(c, 100, 1.0) == 0.0


def test_jacobians_are_differentiable():
    c = cell()
    y, z = (torch.rand(4, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    J = analysis.step_jacobian(c, (y, z), torch.zeros(4, 1, dtype=torch.float64))
    grads = torch.autograd.grad(J.matrix().pow(2).sum() + J.logabsdet().sum(), [y, z, c.ode.weight_hh])
    assert all(torch.isfinite(g).all() for g in grads)
    assert J.yy.shape == (4, 3, 3)
    torch.testing.assert_close(torch.cat([torch.cat([J.zz, J.zy], -1), torch.cat([J.yz, J.yy], -1)], -2), J.matrix())


def test_growth_is_exponential_and_says_inf_when_it_overflows():
    assert analysis.linear_growth(10**6, 1.0, 10.0) == math.inf
    values = analysis.linear_growth(np.array([1, 2, 3]), 0.5, np.array([[0.0], [2.0]]))
    np.testing.assert_allclose(values, [[0.5, 0.75, 1.0], [0.5, 1.0, 11 / 6]])


@pytest.mark.parametrize("norm", [2, math.inf])
def test_a_step_whose_gate_may_forget_all_has_no_bounded_inverse(norm):
    cell = lemode.LEMCell(1, 2, dt=1.0)
    with torch.no_grad():
        for p in cell.parameters():
            p.zero_()
    assert analysis.inverse_bound(cell, norm=norm) == math.inf
