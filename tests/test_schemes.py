"""Every scheme: its order, its gradients, its range and its stability limit, as it declares them."""

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

import lemode
from lemode import LEM, MultiscaleODE
from lemode.kernels import Layer, rollout
from lemode.schemes import SCHEMES

f64 = torch.float64
UNCONDITIONAL = [name for name, scheme in SCHEMES.items() if math.isinf(scheme.max_dt)]


def random_ode(m=1, d=3, scale=1.0, seed=0, dtype=f64):
    generator = torch.Generator().manual_seed(seed)
    ode = MultiscaleODE(m, d, dtype=dtype)
    with torch.no_grad():
        for p in ode.parameters():
            p.normal_(0, scale, generator=generator)
    return ode


@pytest.mark.parametrize("name", SCHEMES)
def test_measured_order_is_the_declared_one(name):
    """Errors at t = 4 against DOP853, five halvings; the input is piecewise constant on four intervals, the convention of LEM."""
    scheme, ode = SCHEMES[name], random_ode().requires_grad_(False)
    u = torch.tensor([[1.0], [-0.5], [0.0], [2.0]], dtype=f64)
    state0 = (torch.tensor([0.3, -0.9, 0.6], dtype=f64), torch.tensor([-0.7, 0.2, 1.0], dtype=f64))
    times = torch.arange(5, dtype=f64)
    # 1e-12: six digits below the smallest error measured
    y, z = lemode.solve(ode, times, lemode.Samples(times[1:], u), state0, method="DOP853", rtol=1e-12, atol=1e-14)
    errors = []
    for steps in (64, 128, 256, 512, 1024, 2048):  # each a multiple of 4
        state = state0
        for n in range(steps):
            state = scheme.step(ode, state, u[4 * n // steps], 4 / steps)
        errors.append(max(float((state[0] - y[-1]).abs().max()), float((state[1] - z[-1]).abs().max())))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    # 0.05 is the tolerance asked for; the next term of the error contributes 0.04 at the first halving and half as much at each next
    assert np.abs(slopes - scheme.order).max() < 0.05, slopes


def test_6_5_strang_takes_a_smooth_input_at_the_middle():
    """Second order for u(t) sampled in the middle of each step, first order at the end: theory/strang_step.py."""
    ode = random_ode(seed=1).requires_grad_(False)

    def u(t):
        return torch.sin(torch.as_tensor(t, dtype=f64)).reshape(1)

    y, _ = lemode.solve(ode, [0.0, 4.0], u, method="DOP853", rtol=1e-12, atol=1e-14)
    for place, order in ((0.5, 2), (1.0, 1)):
        errors = []
        for steps in (64, 128, 256, 512, 1024):
            state = (torch.zeros(3, dtype=f64), torch.zeros(3, dtype=f64))
            for n in range(steps):
                state = SCHEMES["strang"].step(ode, state, u((n + place) * 4 / steps), 4 / steps)
            errors.append(float((state[0] - y[-1]).abs().max()))
        slopes = np.log2(np.array(errors[:-1]) / errors[1:])
        assert np.abs(slopes - order).max() < 0.05, slopes


@pytest.mark.parametrize("name", SCHEMES)
def test_gradcheck_of_everything(name):
    """Against finite differences: step sizes of each sample and step, input, both states, every parameter; two stacked layers."""
    rnn = LEM(2, 3, num_layers=2, scheme=name, backend="reference", dtype=f64)
    names = [key for key, _ in rnn.named_parameters()]

    def run(dt, u, y, z, *parameters):
        out, (y_n, z_n) = torch.func.functional_call(rnn, dict(zip(names, parameters, strict=True)), (u, (y, z)), {"dt": dt})
        return out, y_n, z_n

    inputs = [0.2 + 0.7 * torch.rand(3, 2), torch.randn(3, 2, 2), torch.rand(2, 2, 3), torch.rand(2, 2, 3)]
    inputs = [x.double().requires_grad_() for x in inputs] + [p.detach().clone().requires_grad_() for p in rnn.parameters()]
    assert torch.autograd.gradcheck(run, inputs)
    # and through a single step size for all, given as a tensor
    dt = torch.tensor(0.6, dtype=f64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda dt: rnn(inputs[1].detach(), dt=dt)[0], [dt])


@given(
    name=st.sampled_from(UNCONDITIONAL),
    dt=st.floats(-6, 6).map(lambda e: 10.0**e) | st.just(1e6),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    dtype=st.sampled_from([torch.float32, f64]),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_unconditional_schemes_stay_in_the_cube(name, dt, scale, dtype, seed):
    """|y|, |z| <= 1 with no tolerance, for every dt up to 1e6, from states inside the cube and on its boundary."""
    ode = random_ode(2, 4, scale, seed, dtype).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    state = tuple(torch.empty(16, 4, dtype=dtype).uniform_(-1.3, 1.3, generator=generator).clamp(-1, 1) for _ in range(2))
    for _ in range(5):
        u = 10 * torch.randn(16, 2, dtype=dtype, generator=generator)
        state = SCHEMES[name].step(ode, state, u, dt)
        assert state[0].abs().max() <= 1
        assert state[1].abs().max() <= 1


@pytest.mark.parametrize("name", ["imex", "explicit"])
def test_the_declared_range_of_dt_is_sharp(name):
    """At max_dt = 1 the cube is kept; 1 % beyond it a saturated gate leaves it from z = -1 towards 1."""
    scheme = SCHEMES[name]
    ode = MultiscaleODE(1, 1, dtype=f64).requires_grad_(False)
    for p in ode.parameters():
        p.zero_()
    ode.blocks().b1.fill_(40.0)
    ode.blocks().bz.fill_(40.0)
    minus = -torch.ones(1, dtype=f64)
    for factor, inside in ((1.0, True), (1.01, False)):
        _, z = scheme.step(ode, (minus, minus), torch.zeros(1, dtype=f64), factor * scheme.max_dt)
        assert (z.abs().max() <= 1) == inside


@pytest.mark.parametrize("omega", [0.0, 0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("name", SCHEMES)
def test_the_declared_stability_limit_is_sharp(name, omega):
    """The linearised oscillator is damped a thousandth below the limit and grows a thousandth above it."""
    scheme, g = SCHEMES[name], 0.3
    ode = MultiscaleODE(1, 1, dtype=f64).requires_grad_(False)
    for p in ode.parameters():
        p.zero_()
    blocks, zero = ode.blocks(), torch.zeros(1, dtype=f64)
    for block, value in ((blocks.Wz, -omega), (blocks.Wy, omega), (blocks.b1, math.log(g / (1 - g)))):
        block.fill_(value)
    blocks.b2.copy_(blocks.b1)

    def radius(x):
        J = torch.autograd.functional.jacobian(
            lambda s: torch.cat(scheme.step(ode, (s[:1], s[1:]), zero, x / g)), torch.zeros(2, dtype=f64)
        )
        return np.abs(np.linalg.eigvals(J.numpy())).max()

    limit = scheme.stability_limit(omega)
    if math.isinf(limit):
        assert radius(20.0) < 1
    else:
        assert radius(0.999 * limit) < 1 < radius(1.001 * limit)


@pytest.mark.parametrize("name", SCHEMES)
def test_a_rollout_is_the_scheme_fed_with_its_own_output(name):
    ode, dt = random_ode(2, 4, 0.7), 0.5
    readout, bias = torch.randn(2, 4, dtype=f64), torch.randn(2, dtype=f64)
    x = torch.randn(3, 2, dtype=f64)
    state = (torch.zeros(3, 4, dtype=f64), torch.zeros(3, 4, dtype=f64))
    layer = Layer(ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.stacked_bias(), dt, name)
    xs = rollout([layer], readout, bias, x, [state], 6)
    for k in range(6):
        state = SCHEMES[name].step(ode, state, x, dt)
        x = x + state[0] @ readout.T + bias
        torch.testing.assert_close(xs[k], x, rtol=1e-12, atol=1e-12)  # the same sums in another order
    assert xs.requires_grad


@pytest.mark.parametrize("name", SCHEMES)
def test_a_network_with_any_scheme_is_picklable(name):
    rnn = LEM(1, 2, scheme=name)
    u = torch.randn(3, 1, 1)
    assert torch.equal(pickle.loads(pickle.dumps(rnn))(u)[0], rnn(u)[0])


@pytest.mark.parametrize("name", SCHEMES)
def test_own_step_sizes_and_batch_equal_to_hidden_size(name):
    """Each sample of a batch with its own steps gives what it gives alone."""
    rnn = LEM(2, 4, num_layers=2, scheme=name, dtype=f64)
    u, dt = torch.randn(6, 4, 2, dtype=f64), 0.1 + 0.9 * torch.rand(6, 4, dtype=f64)
    together, (y, z) = rnn(u, dt=dt)
    for k in range(4):
        alone, (y_k, z_k) = rnn(u[:, k], dt=dt[:, k])
        # matrix products of another shape may round differently
        torch.testing.assert_close(together[:, k], alone, rtol=0, atol=1e-15)
        torch.testing.assert_close((y[:, k], z[:, k]), (y_k, z_k), rtol=0, atol=1e-15)


@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_packed_step_sizes_equal_one_by_one(enforce_sorted, bidirectional):
    rnn = LEM(2, 4, num_layers=2, bidirectional=bidirectional, batch_first=True, dtype=f64)
    lengths = [6, 4, 1] if enforce_sorted else [4, 6, 1]
    us = [torch.randn(n, 2, dtype=f64) for n in lengths]
    dts = [(0.1 + 0.9 * torch.rand(n, dtype=f64)).requires_grad_() for n in lengths]
    packed, (y, _) = rnn(pack_sequence(us, enforce_sorted), dt=pack_sequence(dts, enforce_sorted))
    out, _ = pad_packed_sequence(packed, batch_first=True)
    for k, (u, dt) in enumerate(zip(us, dts)):
        alone, (y_k, _) = rnn(u, dt=dt)
        torch.testing.assert_close(out[k, : len(u)], alone, rtol=0, atol=1e-15)
        torch.testing.assert_close(y[:, k], y_k, rtol=0, atol=1e-15)
        (expected,) = torch.autograd.grad(alone.square().sum(), dt)
        (got,) = torch.autograd.grad(out[k].square().sum(), dt, retain_graph=True)
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", SCHEMES)
def test_refine_converges_to_the_ode(name):
    """refine(k) on the repeated input: errors against the ODE fall with the declared order over four halvings; parameters are shared."""
    rnn = LEM(1, 3, dt=1.0, scheme=name, backend="reference", dtype=f64)
    with torch.no_grad():
        rnn.cells[0].ode.load_state_dict(random_ode(seed=3).state_dict())
    u, t = torch.randn(5, 1, dtype=f64), torch.arange(6, dtype=f64)
    y, _ = lemode.solve(rnn.cells[0].ode, t, lemode.Samples(t[1:], u), method="DOP853", rtol=1e-12, atol=1e-14)
    errors = []
    with torch.no_grad():
        for k in (32, 64, 128, 256, 512):
            fine = rnn.refine(k)
            assert fine.cells[0].ode is rnn.cells[0].ode
            assert fine.dt == rnn.dt / k
            out, _ = fine(u.repeat_interleave(k, 0))
            errors.append(float((out[k - 1 :: k] - y[1:]).abs().max()))
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.abs(slopes - SCHEMES[name].order).max() < 0.05, slopes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LEM(1, 2).refine(0), r"k=0: give a positive"),
        (lambda: LEM(1, 2).refine(0.5), r"dt=2: scheme 'imex' keeps .* 0 < dt <= 1"),
        (lambda: LEM(1, 2, scheme="strang", dt=-1.0), r"dt=-1: the step size"),
        (lambda: LEM(1, 2, scheme="strang", backend="torch")(torch.zeros(1, 1, 1)), r"backend='reference' for 'strang'"),
        (lambda: LEM(1, 2)(torch.zeros(1, 1, 1), dt=pack_sequence([torch.ones(1)])), r"dt is a PackedSequence"),
        (lambda: LEM(1, 2)(pack_sequence([torch.zeros(2, 1)]), dt=pack_sequence([torch.ones(1)])), r"packed differently"),
        (lambda: LEM(1, 2)(pack_sequence([torch.zeros(2, 1)]), dt=torch.ones(2)), r"pack the steps as the input"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("backend", ["reference", "torch", "auto"])
@pytest.mark.parametrize("name", UNCONDITIONAL)
def test_the_longest_step_is_one_in_float32_and_a_longer_one_is_refused(name, backend):
    """Gates of 0, 1/2 and 1 times 1e30; at 1e39, beyond float32, 0 times inf would be no number."""
    if backend == "torch" and SCHEMES[name].leak is None:
        backend = "reference"
    rnn = LEM(1, 3, scheme=name, dt=1e30, backend=backend)
    with torch.no_grad():
        for p in rnn.parameters():
            p.fill_(0.3)
        rnn.cells[0].ode.bias[:6] = torch.tensor([-800.0, 0.0, 800.0] * 2)
        out, (y, z) = rnn(torch.ones(5, 2, 1))
    assert all(bool((x.abs() <= 1).all()) for x in (out, y, z))
    with pytest.raises(ValueError, match=r"dt=1e\+39: float32 cannot.*1e\+30"):
        LEM(1, 3, scheme=name, dt=1e39)
