"""The ODE by torchdiffeq and scipy: solvers agree, inputs mean what they say, gradients, batches, and errors that help."""

import importlib
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.interpolate import CubicHermiteSpline
from transcription import load_into, random_parameters, vector_field

import lemode
from lemode import DiscontinuityWarning, MultiscaleODE, Samples, SolveError, solve
from lemode.continuous.integrators import ADAPTIVE, FIXED_STEP, SCIPY

f64 = torch.float64
TIGHT = {"rtol": 1e-9, "atol": 1e-11}
# solvers control the error of a step, not of the end: over these times and weights it grows by a factor below 100
AGREE = 1e-7


def random_ode(m=2, d=3, scale=1.0, seed=0):
    ode = MultiscaleODE(m, d, dtype=f64)
    load_into(ode, random_parameters(np.random.default_rng(seed), d, m, scale))
    return ode


def random_state(*shape):
    return torch.rand(*shape, dtype=f64) * 2 - 1, torch.rand(*shape, dtype=f64) * 2 - 1


def uneven(T, *columns, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return (0.1 + 0.5 * torch.rand(T, *columns, dtype=f64, generator=generator)).cumsum(0)


def test_the_solution_is_that_of_the_papers_ode():
    """Against the transcription of equation (1), solved apart from lemode."""
    p = random_parameters(np.random.default_rng(1), 3, 2)
    ode = MultiscaleODE(2, 3, dtype=f64)
    load_into(ode, p)
    (y0, z0), u, t = random_state(3), np.array([0.4, -1.0]), np.linspace(0, 5, 6)

    def field(_, x):
        return np.concatenate(vector_field(p, x[:3], x[3:], u))

    x0 = np.concatenate([y0, z0])
    expected = solve_ivp(field, (0, 5), x0, method="DOP853", t_eval=t, rtol=1e-12, atol=1e-14).y.T
    y, z = solve(ode, t, torch.from_numpy(u), (y0, z0), **TIGHT)
    assert np.abs(torch.cat([y, z], 1).detach().numpy() - expected).max() < AGREE


SLOWER = [pytest.param(name, marks=pytest.mark.slow) for name in ("heun3", "implicit_adams")]


@pytest.mark.parametrize("method", ["dopri8", "bosh3", "rk4", *SLOWER, *SCIPY])
def test_methods_agree_on_a_piecewise_constant_input(method):
    ode, t = random_ode(), torch.linspace(0, 3, 7, dtype=f64)
    u = Samples(torch.linspace(0.4, 3.2, 5), torch.randn(5, 2, 2, dtype=f64))  # its jumps are not at output times
    state0 = random_state(2, 3)
    options = {"step_size": 2e-3} if method in FIXED_STEP else None
    tolerance = {"rtol": 1e-7, "atol": 1e-9} if method in ("bosh3", "RK23") else TIGHT  # third order: small steps are slow
    expected, got = solve(ode, t, u, state0, **TIGHT), solve(ode, t, u, state0, method, options=options, **tolerance)
    for a, b in zip(expected, got):
        assert (a - b).abs().max() < AGREE


@pytest.mark.slow
def test_a_trained_model_stiff_and_non_stiff():
    """Radau agrees with dopri5 on a surrogate that was fitted, driven by its data as LEM is."""
    fhn = lemode.systems.FitzHughNagumo()
    data = fhn.trajectories(8, np.linspace(0, 80, 201))
    model = lemode.Surrogate(hidden_size=8, dt=0.5, steps=30, dtype="float64", verbose=0, train="all").fit(data)
    net = model.network_
    u = net.normalise(torch.tensor(data.x[0]))
    t = 0.5 * torch.arange(41, dtype=f64)
    ode = net.core.cells[0].ode
    expected = solve(ode, t, Samples(t[1:], u[:40]), **TIGHT)
    got = solve(ode, t, Samples(t[1:], u[:40]), method="Radau", **TIGHT)
    for a, b in zip(expected, got):
        assert (a - b).abs().max() < AGREE


# -- inputs --------------------------------------------------------------------------------------------------------------


def test_constant_samples_are_the_convention_of_lem():
    """u_n on (t_{n-1}, t_n], the first before all; LEM on a fine grid converges to that, not to the value at the left end."""
    u = Samples(torch.tensor([1.0, 2.0]), torch.tensor([[10.0], [20.0]]))
    for time, value in ((0.0, 10.0), (1.0, 10.0), (1.0 + 1e-6, 20.0), (2.0, 20.0)):
        assert u(torch.tensor(time, dtype=f64)).item() == value
    ode, t, values = random_ode(1), torch.arange(5, dtype=f64), torch.randn(4, 1, dtype=f64)
    y, _ = solve(ode, t, Samples(t[1:], values), **TIGHT)
    rnn = lemode.LEM(1, 3, scheme="strang", backend="reference", dtype=f64)
    rnn.cells[0].ode = ode
    out, _ = rnn.refine(200)(values.repeat_interleave(200, 0))
    assert (out[199::200] - y[1:]).abs().max() < 1e-5  # second order at dt = 1/200; with the left values it is 0.3


def test_linear_and_cubic_samples():
    t = torch.tensor([0.0, 0.5, 0.8, 2.0, 2.1], dtype=f64)
    values = torch.randn(5, 2, dtype=f64)
    s = np.linspace(0, 2.1, 50)
    linear = torch.stack([Samples(t, values, "linear")(x) for x in torch.from_numpy(s)])
    np.testing.assert_allclose(linear, np.stack([np.interp(s, t, v) for v in values.T], 1), rtol=1e-12, atol=1e-14)
    # slopes of the parabolas through three neighbours: np.gradient with its second-order edges
    slopes = np.gradient(values.numpy(), t.numpy(), axis=0, edge_order=2)
    cubic = torch.stack([Samples(t, values, "cubic")(x) for x in torch.from_numpy(s)])
    np.testing.assert_allclose(cubic, CubicHermiteSpline(t, values, slopes)(s), rtol=1e-11, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param("linear", marks=pytest.mark.slow), "cubic"])
def test_interpolated_samples_equal_the_same_input_as_a_function(kind):
    ode, t = random_ode(), torch.linspace(0, 3, 5, dtype=f64)
    u = Samples(torch.linspace(0, 3, 9), torch.randn(9, 2, dtype=f64), kind)
    expected = solve(ode, t, u, **TIGHT)[0]
    assert (solve(ode, t, u.__call__, **TIGHT)[0] - expected).abs().max() < AGREE


@pytest.mark.parametrize("method", ["dopri5", "Radau"])
def test_a_jump_announced_is_solved_and_one_that_is_not_is_warned_of(method):
    ode, t = random_ode(1), torch.linspace(0, 3, 4, dtype=f64)

    def pulse(s):
        return ((s >= 0.7) & (s < 1.234)).to(f64).reshape(1)

    with pytest.warns(DiscontinuityWarning, match=r"u jumps near t = 0\.7, 1\.234:.*event_times=\[0\.7, 1\.234\]"):
        solve(ode, t, pulse, method=method, rtol=1e-4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, _ = solve(ode, t, pulse, method=method, event_times=[0.7, 1.234], **TIGHT)
    samples = Samples(torch.tensor([0.7, 1.234, 3.0], dtype=f64), torch.tensor([[0.0], [1.0], [0.0]], dtype=f64))
    assert (solve(ode, t, samples, **TIGHT)[0] - y).abs().max() < AGREE


def test_no_warning_for_a_steep_but_continuous_input():
    ode = random_ode(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(ode, [0.0, 2.0], lambda s: torch.tanh(200 * (s - 1)).reshape(1), rtol=1e-4)
        solve(ode, [0.0, 2.0], lambda s: torch.sin(40 * s).reshape(1), rtol=1e-4)
        solve(ode, [0.0, 2.0], lambda s: (s - 1).abs().reshape(1), rtol=1e-4)


# -- batches -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["constant", *(pytest.param(k, marks=pytest.mark.slow) for k in ("linear", "cubic"))])
@pytest.mark.parametrize(("own_t", "own_samples"), [(False, False), (True, False), (True, True), (False, True)])
def test_a_batch_equals_one_by_one(kind, own_t, own_samples):
    """Batch size equal to hidden size; output times and sample times of their own, in every combination."""
    N = d = 3
    ode, state0 = random_ode(2, d), random_state(N, d)
    t = uneven(5, N) if own_t else torch.linspace(0.2, 2.5, 5, dtype=f64)
    s = uneven(8, N, seed=1) if own_samples else torch.linspace(0, 3, 8, dtype=f64)
    s = torch.cat([torch.zeros_like(s[:1]), s[1:-1], torch.full_like(s[:1], 4.0)])
    values = torch.randn(8, N, 2, dtype=f64)
    y, z = solve(ode, t, Samples(s, values, kind), state0, **TIGHT)
    for k in range(N):
        t_k, s_k = t[:, k] if own_t else t, s[:, k] if own_samples else s
        alone = solve(ode, t_k, Samples(s_k, values[:, k], kind), (state0[0][k], state0[1][k]), **TIGHT)
        assert alone[0].shape == (5, d)
        for a, b in zip((y[:, k], z[:, k]), alone):
            # the batch takes the steps of its most demanding sample, and breaks where another sample does
            assert (a - b).abs().max() < 1e-8


def test_scipy_and_functions_with_times_of_their_own():
    N = 3
    ode, state0, t = random_ode(2, 3), random_state(N, 3), uneven(4, N)
    seen = set()

    def u(time):
        seen.add(tuple(time.shape))
        return torch.stack([torch.sin(time), torch.cos(2 * time)], -1)

    y, _ = solve(ode, t, u, state0, **TIGHT)
    assert seen == {(N,)}  # every sample is asked for at its own time
    for k in range(N):
        alone, _ = solve(ode, t[:, k], u, (state0[0][k], state0[1][k]), method="DOP853", **TIGHT)
        assert (y[:, k] - alone).abs().max() < AGREE


def test_the_error_is_controlled_in_each_sample():
    """One restless sample among 200 at rest: it is as accurate as alone; by the mean over the batch it would be 10 times worse."""
    ode = random_ode(1, 4, scale=2.0).requires_grad_(False)
    start, other = random_state(4), solve(ode, [0.0, 200.0])
    rest = (other[0][-1], other[1][-1])
    batch = tuple(torch.cat([a[None], b.expand(199, -1)]) for a, b in zip(start, rest))
    exact, _ = solve(ode, [0.0, 5.0], state0=start, rtol=1e-12, atol=1e-14)
    alone, _ = solve(ode, [0.0, 5.0], state0=start, rtol=1e-5, atol=1e-7)
    among, _ = solve(ode, [0.0, 5.0], state0=batch, rtol=1e-5, atol=1e-7)
    assert (among[-1, 0] - exact[-1]).abs().max() < 3 * (alone[-1] - exact[-1]).abs().max() + 1e-7


def test_float32_and_layout():
    ode = MultiscaleODE(2, 3)
    for method in ("dopri5", "rk4", "Radau"):
        y, z = solve(ode, torch.linspace(0, 1, 5), torch.ones(4, 2), method=method)
        assert y.shape == z.shape == (5, 4, 3)
        assert y.dtype == z.dtype == torch.float32
        assert torch.equal(y[0], torch.zeros(4, 3))


# -- gradients -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["function", "tensor", "constant", "linear", pytest.param("cubic", marks=pytest.mark.slow)])
def test_adjoint_gradients_equal_those_through_the_solver(kind):
    ode, state0 = random_ode(2, 3), tuple(s.requires_grad_() for s in random_state(2, 3))
    t = uneven(4, 2)
    t = torch.cat([torch.zeros_like(t[:1]), t])
    module = torch.nn.Linear(1, 2, dtype=f64)
    leaf = torch.randn(*((2, 2) if kind == "tensor" else (6, 2, 2)), dtype=f64, requires_grad=True)

    class Drive(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = module

        def forward(self, time):
            return torch.sin(self.layer(time.unsqueeze(-1)))

    inputs = [*ode.parameters(), *state0, *(module.parameters() if kind == "function" else [leaf])]
    grads = []
    for adjoint in (False, True):
        values = leaf.sin()  # not a leaf: the graph goes on behind it
        u = Drive() if kind == "function" else values if kind == "tensor" else Samples(torch.linspace(0, 4, 6), values, kind)
        y, z = solve(ode, t, u, state0, adjoint=adjoint, **TIGHT)
        loss = (y * torch.linspace(-1, 2, y.numel(), dtype=f64).view_as(y)).sum() + z.square().sum()
        grads.append(torch.autograd.grad(loss, inputs))
    for a, b in zip(*grads):
        assert a.abs().max() > 1e-3
        assert (a - b).abs().max() < 1e-8


def test_gradcheck_through_the_solver():
    """Against finite differences of the solution, at a fixed step so that it is a smooth function of its inputs."""
    names = ("weight_ih", "weight_hh", "weight_zy", "bias")
    ode = random_ode(1, 2)
    t = torch.linspace(0, 1, 4, dtype=f64)

    def run(y0, z0, values, *parameters):
        moved = MultiscaleODE.from_tensors(**dict(zip(names, parameters)))
        return solve(moved, t, Samples(t[1:], values), (y0, z0), method="rk4")

    inputs = [*random_state(2, 2), torch.randn(3, 1, dtype=f64), *(p.detach().clone() for p in ode.parameters())]
    assert torch.autograd.gradcheck(run, [x.requires_grad_() for x in inputs])


def test_the_jacobian_handed_to_scipy_is_exact():
    ode, u = random_ode(2, 3).requires_grad_(False), torch.randn(2, dtype=f64)
    y, z = random_state(3)

    def field(x):
        dy, dz = ode(x[3:], x[:3], u)
        return torch.cat([dz, dy])

    expected = torch.autograd.functional.jacobian(field, torch.cat([z, y]))
    torch.testing.assert_close(ode.jacobian(y, z, u), expected, rtol=1e-12, atol=1e-14)
    J = ode.jacobian(y.expand(5, 3), z.expand(5, 3), u.expand(5, 2))
    torch.testing.assert_close(J, expected.expand(5, 6, 6), rtol=1e-12, atol=1e-14)


# -- failures ------------------------------------------------------------------------------------------------------------


def stiff_ode():
    """z at the rate 1.5e-8, y at the rate 0.99."""
    ode = MultiscaleODE(1, 1, dtype=f64).requires_grad_(False)
    for p in ode.parameters():
        p.zero_()
    ode.blocks().b1.fill_(-18.0)
    ode.blocks().b2.fill_(5.0)
    return ode


@pytest.mark.parametrize("method", ["dopri5", "DOP853"])
def test_a_stiff_failure_names_the_ratio_and_a_solver(method):
    one = torch.ones(1, dtype=f64)
    with pytest.raises(SolveError, match=r"gave up near t=.*of 1e\+06.*stiffness ratio is 6\.5.*e\+07.*method='Radau'"):
        solve(stiff_ode(), [0.0, 1e6], state0=(one, one), method=method, max_evaluations=300)
    _, z = solve(stiff_ode(), [0.0, 1e6], state0=(one, one), method="Radau")
    rate = 1 / (1 + np.exp(18.0))
    assert z[-1].item() == pytest.approx(np.exp(-1e6 * rate), rel=1e-6)


def test_weights_that_are_not_finite_are_named():
    ode = random_ode(1)
    with torch.no_grad():
        ode.bias[0] = float("nan")
    with pytest.raises(SolveError, match="not finite"):
        solve(ode, [0.0, 1.0])


ODE = MultiscaleODE(2, 3)
CELL = lemode.LEMCell(2, 3)
GOOD = torch.zeros(3), torch.zeros(3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: solve(CELL, [0, 1]), r"ode is LEMCell: give .*cells\[0\]\.ode"),
        (lambda: solve(ODE, [0, 1], method="rk5"), r"method='rk5': choose one of dopri5"),
        (lambda: solve(ODE, [0, 1], rtol=-1.0), r"rtol=-1\.0: give a positive"),
        (lambda: solve(ODE, [0, 1], method="Radau", adjoint=True), r"adjoint=True: method='Radau' gives no gradients.*dopri5"),
        (lambda: solve(ODE, [0, 1], torch.zeros(2, requires_grad=True), method="BDF"), r"u requires a gradient.*method='BDF'"),
        (lambda: solve(ODE, [0.0]), r"t has shape \(1,\)"),
        (lambda: solve(ODE, [0.0, 0.0]), r"strictly increasing"),
        (lambda: solve(ODE, [0.0, float("inf")]), r"finite"),
        (lambda: solve(ODE, [0, 1], state0=torch.zeros(3)), r"pair \(y, z\)"),
        (lambda: solve(ODE, [0, 1], state0=(torch.zeros(2), torch.zeros(2))), r"\(2,\).*d=3"),
        (lambda: solve(ODE, [0, 1], state0=(GOOD[0].double(), GOOD[1])), r"initial y: torch\.float64.*float32"),
        (lambda: solve(ODE, [0, 1], torch.zeros(3)), r"u: 3 features, the ode reads input_size=2"),
        (lambda: solve(ODE, [0, 1], torch.zeros(2).double()), r"u: torch\.float64.*\.to\(torch\.float32\)"),
        (lambda: solve(ODE, [0, 1], torch.full((2,), torch.nan)), r"u: holds a value that is not finite"),
        (lambda: solve(ODE, [0, 1], torch.zeros(4, 2), (torch.zeros(5, 3),) * 2), r"u has 4, state0 has 5"),
        (lambda: solve(ODE, [0, 1], torch.zeros(4, 5, 2)), r"lemode\.Samples"),
        (lambda: solve(ODE, [0, 1], 3.0), r"u is float"),
        (lambda: solve(ODE, [0, 1], lambda t: 0.0), r"u\(t\) returned float"),
        (lambda: solve(ODE, [0, 1], lambda t: torch.zeros(3)), r"u\(t\) returned \(3,\)"),
        (lambda: solve(ODE, [0, 1], torch.zeros(2), event_times=[0.5]), r"event_times are for a callable"),
        (lambda: solve(ODE, [0, 1], Samples(torch.tensor([0.5]), torch.zeros(1, 2))), r"reach from t=0\.5 to 0\.5"),
        (lambda: solve(ODE, [0, 3], Samples(torch.arange(1, 3), torch.zeros(2, 2), "linear")), r"reach from t=1 to 2"),
        (lambda: Samples(torch.arange(3), torch.zeros(3, 2), "quadratic"), r"kind='quadratic'"),
        (lambda: Samples(torch.arange(3), torch.zeros(4, 2)), r"one value for each time"),
        (lambda: Samples(torch.tensor([0.0, 0.0]), torch.zeros(2, 2)), r"strictly increasing"),
        (lambda: Samples(torch.arange(2), torch.tensor([[0.0], [torch.nan]])), r"values\[1\] is not finite"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_every_method_is_known_to_its_library():
    import scipy.integrate

    known = importlib.import_module("torchdiffeq._impl.odeint").SOLVERS
    assert set(ADAPTIVE) | set(FIXED_STEP) <= set(known)
    assert all(hasattr(scipy.integrate, name) for name in SCIPY)


def test_import_lemode_does_not_import_the_solvers():
    code = "import sys, lemode; print([m for m in ('torchdiffeq', 'scipy.integrate', 'matplotlib', 'sklearn') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
