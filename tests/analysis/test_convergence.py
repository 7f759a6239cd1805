"""convergence_study measures the declared orders, agrees with errors computed apart from it, and respects the proved bounds."""

import json
import math

import matplotlib as mpl
import numpy as np
import pytest
import torch

import lemode
from lemode.analysis import ConvergenceStudy, convergence_study
from lemode.analysis.convergence import _fitted_slope
from lemode.schemes import SCHEMES

mpl.use("Agg")
f64 = torch.float64


def random_ode(seed=0, dtype=f64):
    generator = torch.Generator().manual_seed(seed)
    ode = lemode.MultiscaleODE(1, 3, dtype=dtype)
    with torch.no_grad():
        for p in ode.parameters():
            p.normal_(0, 1, generator=generator)
    return ode.requires_grad_(False)


U = torch.tensor([[1.0], [-1.0], [0.5], [2.0]], dtype=f64)


@pytest.mark.parametrize("name", SCHEMES)
def test_measured_slopes(name):
    """The order asked for to 0.05 over the last four of six halvings, and one more locally."""
    study = convergence_study(random_ode(), U, scheme=name, dt=0.25, steps=4)
    p = SCHEMES[name].order
    assert np.abs(study.global_slopes[-4:] - p).max() < 0.05
    assert abs(study.global_order - p) < 0.05
    # the local error's next term is larger: 0.1 at the first of the four, half as much at each next
    assert np.abs(study.local_slopes[-3:] - (p + 1)).max() < 0.06
    assert abs(study.local_order - (p + 1)) < 0.06


def test_errors_equal_those_computed_otherwise():
    """Against Radau and rnn.refine, which share neither solver nor loop with the study."""
    ode = random_ode(1)
    state0 = torch.tensor([0.5, -0.2, 0.9], dtype=f64), torch.tensor([0.1, 0.8, -1.0], dtype=f64)
    study = convergence_study(ode, U, state0, dt=0.5, steps=4, halvings=2)
    t = 0.5 * torch.arange(5, dtype=f64)
    y, z = lemode.solve(ode, t, lemode.Samples(t[1:], U), state0, method="Radau", rtol=1e-10, atol=1e-12)
    rnn = lemode.LEM(1, 3, dt=0.5, dtype=f64)
    rnn.cells[0].ode = ode
    for k, error in enumerate(study.global_error):
        ((ys, zs),) = rnn.refine(2**k).states(U.repeat_interleave(2**k, 0)[:, None], tuple(s[None, None] for s in state0))
        expected = max(float((a[2**k - 1 :: 2**k, 0] - b[1:]).abs().max()) for a, b in ((ys, y), (zs, z)))
        assert error == pytest.approx(expected, rel=1e-5)  # Radau's own error, against errors above 1e-3
        x = torch.cat([y[:-1], z[:-1]], 1)  # one step from each exact state
        step = lemode.LEMCell(1, 3, dt=0.5 / 2**k, dtype=f64)
        step.ode = ode
        local = 0.0
        for n in range(4):
            start = (x[n, :3], x[n, 3:])
            after = lemode.solve(ode, [0.0, step.dt], U[n], start, rtol=1e-11, atol=1e-13)
            local = max(local, *(float((a - b[-1]).abs().max()) for a, b in zip(step(U[n], start), after)))
        assert study.local_error[k] == pytest.approx(local, rel=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_the_proved_bounds_hold(seed):
    study = convergence_study(random_ode(seed), U, dt=0.5, steps=4, halvings=4)
    assert (study.local_error <= study.local_bound).all()
    assert (study.global_error <= study.global_bound).all()
    assert convergence_study(random_ode(seed), U, scheme="strang", steps=4, halvings=1).local_bound is None


def test_bounds_of_a_contracting_network_say_more_than_the_cube():
    ode = lemode.MultiscaleODE(1, 3, dtype=f64).requires_grad_(False)
    for p in ode.parameters():
        p.mul_(0.3)
    study = convergence_study(ode, U, dt=0.25, steps=4)
    assert (study.global_bound[-4:] < 0.5).all()
    assert np.abs(np.log2(study.global_bound[:-1] / study.global_bound[1:])[-3:] - 1).max() < 0.1
    outside = torch.full((3,), 1.5, dtype=f64), torch.zeros(3, dtype=f64)
    assert convergence_study(ode, U, outside, dt=0.25, steps=4, halvings=1).global_bound is None


def test_the_report():
    study = convergence_study(random_ode(), U, dt=0.25, steps=4, halvings=4)
    text = str(study)
    assert text.splitlines()[0].startswith("imex, order 1: measured 1.0")
    assert len(text.splitlines()) == 2 + 5
    assert f"{study.global_error[-1]:.3e}" in text
    assert f"{study.local_bound[-1]:.2e}" in text
    assert json.loads(json.dumps(study.to_dict()))["global_order"] == study.global_order
    strang = convergence_study(random_ode(), U, scheme="strang", dt=0.25, steps=4, halvings=4)
    assert "local_bound" in strang.to_dict()
    str(strang)


def test_the_plot_shows_errors_orders_and_bounds():
    study = convergence_study(random_ode(), U, dt=0.25, steps=4, halvings=4)
    ax = study.plot()
    lines = {line.get_label(): line for line in ax.lines}
    assert set(lines) == {"proved bound, global", "global error", "slope 1", "proved bound, local", "local error", "slope 2"}
    np.testing.assert_array_equal(lines["local error"].get_ydata(), study.local_error)
    np.testing.assert_array_equal(lines["proved bound, global"].get_ydata(), study.global_bound)
    mpl.pyplot.close(ax.figure)


def test_a_float32_network_is_studied_in_float64():
    ode = random_ode(dtype=torch.float32)
    double = random_ode()
    double.load_state_dict({k: v.double() for k, v in ode.state_dict().items()})
    a, b = (convergence_study(net, U, steps=4, halvings=2) for net in (ode, double))
    np.testing.assert_array_equal(a.global_error, b.global_error)
    assert convergence_study(lemode.LEMCell(1, 3), steps=1, halvings=1).scheme == "imex"


def test_errors_that_the_reference_does_not_resolve_do_not_enter_the_order():
    dt = 2.0 ** -np.arange(8)
    errors = np.where(dt**2 * 1e-6 > 1e-9, dt**2 * 1e-6, 3e-12)
    assert _fitted_slope(dt, errors) == pytest.approx(2)
    assert math.isnan(_fitted_slope(dt, 0 * errors))
    study = ConvergenceStudy("imex", 1, dt, errors, errors, None, None)
    assert study.global_order == pytest.approx(2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, r"steps=0: give a positive integer"),
        ({"halvings": 1.5}, r"halvings=1\.5"),
        ({"scheme": "rk4"}, r"scheme='rk4'"),
        ({"dt": 1.5}, r"dt=1\.5: scheme 'imex' keeps"),
        ({"u": torch.zeros(3, 1)}, r"u has shape \(3, 1\): give \(1,\).*\(8, 1\)"),
        ({"u": torch.full((1,), torch.nan)}, r"not finite"),
        ({"state0": (torch.zeros(2), torch.zeros(2))}, r"d=3"),
    ],
)  # fmt: skip
def test_bad_input_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        convergence_study(random_ode(), **options)
    with pytest.raises(TypeError, match=r"MultiscaleODE or a lemode\.LEMCell"):
        convergence_study(lemode.LEM(1, 2))


def test_the_bound_on_the_whole_error_is_that_of_as_many_steps_as_there_are():
    ode = random_ode()
    u = torch.ones(5, ode.input_size, dtype=f64)
    study = convergence_study(ode, u, dt=0.01, steps=5, halvings=2)
    for k, found in enumerate(study.global_bound):
        cell = lemode.LEMCell(ode.input_size, ode.hidden_size, dt=0.01 / 2**k, dtype=f64)
        cell.ode = ode
        assert found == pytest.approx(min(lemode.analysis.global_error_bound(cell, 5 * 2**k, u), 2.0), rel=1e-12)
        assert 0 < found < 2
