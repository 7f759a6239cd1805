"""S1, S2, S3: state bounds. S4: the cube is kept exactly in floating point. 6.4: schemes that keep it for every dt."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lem_cases import assert_bounded, cases, network

from lemode.analysis import state_radius

EPS = np.finfo(float).eps


@given(case=cases(), size=st.floats(0, 5))
def test_S1_state_bound(case, size):
    x0 = torch.from_numpy(case.rng.uniform(-1, 1, (2, case.d)) * size)
    ys, zs = case.run(*x0)
    n = np.arange(case.N + 1)
    # 4 eps a step: three roundings a step, each at most eps relative to max(1, |x0|), and the bound's own
    slack = 4 * EPS * (n[:, None] + 1) * max(1.0, size)
    for x in (ys, zs):
        start = x[0].abs().numpy()
        bound = np.stack([state_radius(case.dt, n, x0=s) for s in start], 1)
        assert (x.abs().numpy() <= bound + slack).all()
    g1, g2 = case.cell.ode.gates(ys[:-1], case.u)
    for x, g in ((zs, g1), (ys, g2)):
        product = state_radius(case.dt, case.N, gates=g.detach().numpy(), x0=x[0].numpy())
        assert (x[-1].abs().detach().numpy() <= product + slack[-1]).all()
        assert (product <= state_radius(case.dt, case.N, x0=x[0].numpy()) + slack[-1]).all()


@given(case=cases())
def test_S1_from_zero(case):
    ys, zs = case.run()
    # no tolerance on the cube itself: that is S4
    assert ys.abs().max() <= 1
    assert zs.abs().max() <= 1
    r = state_radius(case.dt, np.arange(case.N + 1))
    # the bound is rounded outward, by some twenty roundings
    assert (r <= np.minimum(1, case.dt * np.arange(case.N + 1)) * (1 + 64 * EPS) + 1e-299).all()


@given(case=cases(dts=st.floats(1.0, 3.0), schemes=("imex",)))
def test_S2_S3_large_steps(case):
    ys, zs = case.run()
    n = np.arange(case.N + 1)
    bound = state_radius(case.dt, n)
    assert_bounded(ys.abs().amax(1), bound)
    assert_bounded(zs.abs().amax(1), bound)
    if case.dt < 2:
        assert_bounded(bound, case.dt / (2 - case.dt))
    g = torch.stack(case.cell.ode.gates(ys[:-1], case.u))
    if case.dt * float(g.max()) <= 1:  # S2
        assert max(float(ys.abs().max()), float(zs.abs().max())) <= 1


@given(case=cases(dts=st.floats(1.0, 1.99), max_N=20), share=st.floats(0, 1))
def test_S3_invariant_cube(case, share):
    R = case.dt / (2 - case.dt)
    x0 = torch.from_numpy(case.rng.uniform(-1, 1, (2, case.d)) * R * share)
    ys, zs = case.run(*x0)
    for x in (ys, zs):
        bound = np.array([state_radius(case.dt, np.arange(case.N + 1), x0=s) for s in x[0].abs().numpy()]).T
        assert_bounded(x.abs(), bound)
        assert_bounded(bound, R)


@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0, 1.3, 2.0, 2.7])
def test_S1_state_bound_is_attained(dt):
    # saturated gate and candidate; beyond dt = 1 the candidate must alternate
    cell = network(1, dt=dt, b1=40.0, b2=40.0, Vz=40.0, Vy=40.0)
    state = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for n in range(1, 9):
        sign = (-1.0) ** n if dt > 1 else 1.0
        state = cell.scheme.step(cell.ode, state, torch.tensor([sign], dtype=torch.float64), dt)
        for x in state:
            assert float(x.abs()) == pytest.approx(state_radius(dt, n), rel=1e-12)
    product = state_radius(min(dt, 1.0), 8, gates=np.ones(8))
    assert product == pytest.approx(state_radius(min(dt, 1.0), 8), rel=1e-12)


@given(case=cases(dts=st.floats(-2, 6).map(lambda e: 10.0**e), schemes=("semi_implicit", "exponential")))
def test_6_4_unconditional_schemes_keep_the_cube(case):
    ys, zs = case.run()
    assert max(float(ys.abs().max()), float(zs.abs().max())) <= 1
    n = np.arange(case.N + 1)
    bound = state_radius(case.dt, n, scheme=case.scheme)
    assert (torch.stack([ys, zs]).abs().amax(-1).numpy() <= bound + 4 * EPS * n).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(seed=st.integers(0, 2**32 - 1))
def test_S4_cube_is_exact_in_floating_point(dtype, seed):
    gen = torch.Generator().manual_seed(seed)
    g = torch.rand(4000, generator=gen, dtype=dtype)
    z, t = (2 * torch.rand(2, 4000, generator=gen, dtype=dtype) - 1).unbind()
    one = torch.ones((), dtype=dtype)
    # every value near 1 by a few units in the last place matters most
    near = one - torch.randint(0, 8, (3, 4000), generator=gen).to(dtype) * torch.finfo(dtype).eps / 2
    for a, b, c in (
        (g, z, t),
        (g, near[0], near[1]),
        (near[2], near[0], near[1]),
        (g, -near[0], near[1]),
        (1 - near[2], near[0], near[1]),
    ):
        for value in ((1 - a) * b + a * c, b + a * (c - b), (b - a * b) + a * c, torch.addcmul(b, a, c - b)):
            assert value.abs().max() <= 1
