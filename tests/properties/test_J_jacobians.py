"""3: exact Jacobians. J1 to J6: bounds of one step, and where they are attained. J7: of many. 5.1: determinant and Liouville. 5.3: the ODE."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lem_cases import assert_bounded, cases, logit, network, numeric_max
from torch.func import jacrev, vmap

from lemode import analysis
from lemode.analysis.network import GROUPS
from lemode.analysis.products import row_sums_of_products

SCHEMES = ("imex", "semi_implicit", "exponential")
ANY_DT = st.floats(-2, 2.5).map(lambda e: 10.0**e)


def flat_step(cell):
    """(z, y) -> (z, y) at a given input: the theory's order."""

    def step(x, u):
        z, y = x.chunk(2)
        y, z = cell.scheme.step(cell.ode, (y, z), u, cell.dt)
        return torch.cat([z, y])

    return step


@given(case=cases(max_d=5, schemes=SCHEMES))
def test_3_jacobian_equals_autograd_and_differences(case):
    (y, z), u = case.cube_states(3), case.inputs(3)
    x, step = torch.cat([z, y], -1), flat_step(case.cell)
    J = analysis.step_jacobian(case.cell, (y, z), u)
    exact = vmap(jacrev(step))(x, u)
    size = 1 + exact.abs().max()
    assert (J.matrix() - exact).abs().max() <= 1e-12 * size
    Uy, Uz = analysis.input_jacobian(case.cell, (y, z), u)
    assert (torch.cat([Uz, Uy], 1) - vmap(jacrev(step, argnums=1))(x, u)).abs().max() <= 1e-12 * (
        1 + Uz.abs().max() + Uy.abs().max()
    )
    if case.scale > 4 or case.input_scale > 1:
        return  # third derivatives then exceed what a central difference of step 1e-5 resolves
    h = 1e-5
    for j in range(2 * case.d):
        e = torch.zeros(2 * case.d, dtype=torch.float64)
        e[j] = h
        difference = (vmap(step)(x + e, u) - vmap(step)(x - e, u)) / (2 * h)
        # truncation h^2/6 times a third derivative of at most (1 + d * scale)^3, and rounding eps / h
        assert (difference - J.matrix()[..., j]).abs().max() <= 1e-10 * (1 + case.d * case.scale) ** 3 + 1e-10


@given(case=cases(max_d=4, schemes=SCHEMES), group=st.sampled_from(GROUPS))
def test_3_parameter_sources_equal_autograd(case, group):
    (y, z), u = case.cube_states(2), case.inputs(2)
    dy, dz = analysis.parameter_jacobian(case.cell, (y, z), u, group)
    cell = case.cell
    cell.requires_grad_(True)
    offset = GROUPS.index(group)
    stacked = {"W": "weight_hh", "V": "weight_ih", "b": "bias"}[group[0]] if group != "Wy" else "weight_zy"
    rows = slice(None) if group == "Wy" else slice((offset % 4) * case.d, (offset % 4 + 1) * case.d)
    after_y, after_z = cell.scheme.step(cell.ode, (y, z), u, cell.dt)
    for got, after in ((dy, after_y), (dz, after_z)):
        for k in range(2):
            for i in range(case.d):
                exact = torch.autograd.grad(after[k, i], getattr(cell.ode, stacked), retain_graph=True, materialize_grads=True)[
                    0
                ][rows]
                assert (got[k, i] - exact).abs().max() <= 1e-12 * (1 + exact.abs().max())


@given(case=cases(max_d=5))
def test_5_3_field_jacobian_equals_autograd(case):
    (y, z), u = case.cube_states(3), case.inputs(3)

    def field(x, u):
        z, y = x.chunk(2)
        dy, dz = case.cell.ode(y, z, u)
        return torch.cat([dz, dy])

    exact = vmap(jacrev(field))(torch.cat([z, y], -1), u)
    assert (analysis.field_jacobian(case.cell.ode, (y, z), u) - exact).abs().max() <= 1e-12 * (1 + exact.abs().max())


@given(case=cases(max_d=5, max_N=12, schemes=SCHEMES))
def test_3_products_along_a_trajectory(case):
    ys, zs = case.run()
    J = analysis.step_jacobian(case.cell, (ys[:-1], zs[:-1]), case.u).matrix()
    t = torch.from_numpy(case.rng.standard_normal((2, case.d)))
    dys, dzs = analysis.trajectory_jvp(case.cell, case.u, ys, zs, (t[0], t[1]))
    vys, vzs = analysis.trajectory_vjp(case.cell, case.u, ys, zs, (t[0], t[1]))
    x = v = torch.cat([t[1], t[0]])
    for n in range(case.N):
        x, v = J[n] @ x, v @ J[case.N - 1 - n]
        for got, want in ((torch.cat([dzs[n + 1], dys[n + 1]]), x), (torch.cat([vzs[-2 - n], vys[-2 - n]]), v)):
            # products of up to 12 matrices in another order of summation
            assert (got - want).abs().max() <= 1e-11 * (1 + want.abs().max()) * max(1.0, float(J.abs().max())) ** 2


@given(case=cases(), states=st.just(40))
def test_J1_to_J6_norm_bounds(case, states):
    (y, z), u = case.cube_states(states), case.inputs(states)
    J = analysis.step_jacobian(case.cell, (y, z), u).matrix().detach()
    inf, posterior = J.abs().sum(-1).amax(-1), analysis.jacobian_bound_posterior(case.cell, (y, z), u)
    bound = analysis.jacobian_bound(case.cell)
    assert_bounded(inf, posterior)  # J2
    assert_bounded(posterior, bound)
    assert_bounded(J.abs().sum(-2).amax(-1), analysis.jacobian_bound(case.cell, norm=1))  # J3
    assert_bounded(torch.linalg.matrix_norm(J, 2), analysis.jacobian_bound(case.cell, norm=2))  # J4
    Uy, Uz = analysis.input_jacobian(case.cell, (y, z), u)
    assert_bounded(torch.cat([Uy, Uz], -2).abs().sum(-1).amax(-1), analysis.input_bound(case.cell))  # J5
    g = torch.stack(case.cell.ode.gates(y, u)).amax((0, 2))
    distance = (J - torch.eye(2 * case.d)).abs().sum(-1).amax(-1)
    for k in range(0, states, 8):
        assert_bounded(distance[k], analysis.step_distance_bound(case.cell, max(float(g[k]), 1e-300)))  # J6
    mu = analysis.logarithmic_norm(case.cell.ode, (y, z), u)
    assert_bounded(mu, analysis.growth_rate(case.cell.ode))  # 5.3
    assert analysis.growth_rate(case.cell.ode) <= analysis.growth_rate(case.cell) * (1 + 1e-12)


@given(case=cases(dts=ANY_DT, schemes=("semi_implicit", "exponential")))
def test_J1_to_J6_unconditional_schemes(case):
    (y, z), u = case.cube_states(20), case.inputs(20)
    J = analysis.step_jacobian(case.cell, (y, z), u).matrix().detach()
    assert_bounded(J.abs().sum(-1).amax(-1), analysis.jacobian_bound_posterior(case.cell, (y, z), u))
    assert_bounded(analysis.jacobian_bound_posterior(case.cell, (y, z), u), analysis.jacobian_bound(case.cell))
    assert_bounded(J.abs().sum(-2).amax(-1), analysis.jacobian_bound(case.cell, norm=1))
    assert_bounded(torch.linalg.matrix_norm(J, 2), analysis.jacobian_bound(case.cell, norm=2))
    Uy, Uz = analysis.input_jacobian(case.cell, (y, z), u)
    assert_bounded(torch.cat([Uy, Uz], -2).abs().sum(-1).amax(-1), analysis.input_bound(case.cell))
    assert_bounded((J - torch.eye(2 * case.d)).abs().sum(-1).amax(-1), analysis.step_distance_bound(case.cell))


@given(case=cases(schemes=SCHEMES, max_bias=8.0))
def test_5_1_determinant(case):
    (y, z), u = case.cube_states(5), case.inputs(5)
    J = analysis.step_jacobian(case.cell, (y, z), u)
    full = torch.linalg.slogdet(J.matrix()).logabsdet
    finite = torch.isfinite(full) & (torch.linalg.cond(J.matrix()) < 1e6)
    # det of a matrix of condition 1e6 carries a relative error of about 1e6 eps
    assert torch.all((full - J.logabsdet())[finite].abs() <= 1e-8)


@given(case=cases(max_bias=8.0))
def test_5_1_determinant_without_W2(case):
    case.cell.ode.weight_hh.data[case.d : 2 * case.d] = 0
    (y, z), u = case.cube_states(5), case.inputs(5)
    g1, g2 = case.cell.ode.gates(y, u)
    logdet = (1 - case.dt * g1).log().sum(-1) + (1 - case.dt * g2).log().sum(-1)
    exact = analysis.step_jacobian(case.cell, (y, z), u).logabsdet()
    open_ = torch.isfinite(logdet)  # a gate that rounds to 1 at dt = 1 makes both -inf
    assert torch.equal(open_, torch.isfinite(exact))
    assert torch.all((exact - logdet)[open_].abs() <= 1e-10 * (1 + logdet[open_].abs()))
    if case.dt < 1:
        assert_bounded(2 * case.d * math.log1p(-case.dt), exact.detach())


@given(case=cases(max_d=4, max_scale=3.0))
def test_5_1_liouville(case):
    # d/dt log det of the flow is the trace of the field's Jacobian
    (y, z), u = case.cube_states(3), case.inputs(3)
    g1, g2 = case.cell.ode.gates(y, u)
    p = case.cell.ode.blocks()
    yh = torch.tanh(z @ p.Wy.T + u @ p.Vy.T + p.by)
    trace = (-g1 - g2 + g2 * (1 - g2) * (yh - y) * p.W2.diagonal()).sum(-1)
    DF = analysis.field_jacobian(case.cell.ode, (y, z), u)
    assert (DF.diagonal(dim1=-2, dim2=-1).sum(-1) - trace).abs().max() <= 1e-12 * (1 + trace.abs().max())


# ---- where the bounds are attained ------------------------------------------------------------------------------------


def maximiser(w1, w2, wz, wy, d, dt, eps=1e-9):
    """A nonnegative network with equal row sums, its input-free biases and state at which ||J||_inf is 1 + dt Gam."""

    def row(s, a, b):
        return numeric_max(lambda g, h: g * (-s + (1 - g) * (1 + h) * a + (1 - h * h) * b))

    gz, hz = row(1.0, w1, wz)
    growth = analysis.gam(w1, wz)
    gy, hy = row(1.0, w2, wy * (1 + dt * growth))
    y = z = -np.ones(d)
    g, h = np.clip([gz, gy], eps, 1 - eps), np.clip([hz, hy], 0, 1 - 1e-15)
    cell = network(d, dt=dt, W1=w1 / d, W2=w2 / d, Wz=wz / d, Wy=wy / d)
    z_new = -1 + dt * g[0] * (h[0] + 1)
    biases = {"b1": logit(g[0]) + w1, "b2": logit(g[1]) + w2, "bz": np.arctanh(h[0]) + wz, "by": np.arctanh(h[1]) - wy * z_new}
    cell = network(d, dt=dt, W1=w1 / d, W2=w2 / d, Wz=wz / d, Wy=wy / d, **biases)
    return cell, (torch.from_numpy(y), torch.from_numpy(z))


@given(w=st.tuples(*[st.floats(0.0, 6.0)] * 4), d=st.integers(1, 5), dt=st.floats(0.01, 1.0) | st.just(1.0))
def test_J1_and_J2_are_attained(w, d, dt):
    cell, state = maximiser(*w, d, dt)
    bound = analysis.jacobian_bound(cell)
    u = torch.zeros(1, dtype=torch.float64)
    norm = float(analysis.step_jacobian(cell, state, u).matrix().abs().sum(-1).max())
    # the gates are kept 1e-9 inside (0, 1), and h is found to about 1e-8: both enter to second order or times 1e-9
    assert_bounded(norm, bound)
    assert norm - 1 >= (bound - 1) * (1 - 1e-6) - 1e-7
    assert norm >= float(analysis.jacobian_bound_posterior(cell, state, u)) * (1 - 1e-12)


def test_5_3_growth_rate_is_attained_to_nine_digits():
    worst = 1.0
    for w in ((0.5, 0.5, 1.5, 1.0), (2.0, 1.0, 3.0, 0.1), (1.0, 3.0, 1.0, 2.0), (0.0, 0.0, 2.0, 2.0), (6.0, 0.1, 0.1, 0.1)):
        cell, state = maximiser(*w, d=3, dt=0.1)
        norm = float(analysis.step_jacobian(cell, state, torch.zeros(1, dtype=torch.float64)).matrix().abs().sum(-1).max())
        worst = min(worst, (norm - 1) / (0.1 * analysis.growth_rate(cell)))
    assert worst >= 1 - 1e-7


def test_J3_is_attained():
    u = torch.zeros(1, dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64)
    # column of z: a closed z gate, an open y gate
    cell = network(3, dt=0.5, Wy=2.0, b1=-40.0, b2=40.0)
    norm = float(analysis.step_jacobian(cell, (zero, zero), u).matrix().abs().sum(0).max())
    assert norm == pytest.approx(analysis.jacobian_bound(cell, norm=1), rel=1e-12)
    # column of y_0: its own gate is closed, the other rows of Wz and Wy pass it on
    Wz, Wy = np.zeros((3, 3)), np.zeros((3, 3))
    Wz[1, 0], Wy[2, 1] = 2.0, 0.7
    cell = network(3, dt=0.5, Wz=Wz, Wy=Wy, b1=[-40, 40, -40], b2=[-40, -40, 40])
    norm = float(analysis.step_jacobian(cell, (zero, zero), u).matrix().abs().sum(0).max())
    assert norm == pytest.approx(analysis.jacobian_bound(cell, norm=1), rel=1e-12)
    # gate branches: W1 in row 1, W2 in row 2, both half open with the state opposite to the candidate
    W1, W2 = np.zeros((3, 3)), np.zeros((3, 3))
    W1[1, 0], W2[2, 0] = 2.0, 3.0
    y0 = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64)
    z0 = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)
    cell = network(3, dt=0.5, W1=W1, W2=W2, b1=0.0, b2=[-40, 0, 0], bz=40.0, by=40.0)
    norm = float(analysis.step_jacobian(cell, (y0, z0), u).matrix().abs().sum(0).max())
    assert norm == pytest.approx(analysis.jacobian_bound(cell, norm=1), rel=1e-12)


def test_J4_is_attained_for_large_weights():
    # the decay costs 1 where the bound is about w: attained up to 1/w
    u, zero = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    minus = -torch.ones(1, dtype=torch.float64)
    for cell, state in (
        (network(1, dt=1.0, Wz=40.0, Wy=40.0, b1=40.0, b2=40.0), (zero, zero)),
        (network(1, dt=1.0, W1=80.0, Wy=40.0, b1=80.0, b2=40.0, bz=40.0), (minus, minus)),
        (network(1, dt=1.0, W2=1e4, b2=1e4, by=40.0), (minus, zero)),
        (network(1, dt=1.0, Wy=1e4, b1=-40.0, b2=40.0), (zero, zero)),
    ):
        norm = float(torch.linalg.matrix_norm(analysis.step_jacobian(cell, state, u).matrix(), 2))
        bound = analysis.jacobian_bound(cell, norm=2)
        assert 0.999 * bound <= norm <= bound * (1 + 1e-12)


@given(v=st.tuples(*[st.floats(0.01, 6.0)] * 4), wy=st.floats(0, 4), dt=st.floats(0.01, 1.0))
def test_J5_is_attained(v, wy, dt):
    v1, v2, vz, vy = v
    bz = analysis.beta(v1, vz)
    gz, hz = numeric_max(lambda g, h: g * ((1 - g) * (1 + h) * v1 + (1 - h * h) * vz))
    gy, hy = numeric_max(lambda g, h: g * ((1 - g) * (1 + h) * v2 + (1 - h * h) * (vy + wy * dt * bz)))
    gates, h = np.clip([gz, gy], 1e-9, 1 - 1e-9), np.clip([hz, hy], 0, 1 - 1e-15)
    z_new = -1 + dt * gates[0] * (h[0] + 1)
    cell = network(
        1, dt=dt, V1=v1, V2=v2, Vz=vz, Vy=vy, Wy=wy, b1=logit(gates[0]), b2=logit(gates[1]),
        bz=np.arctanh(h[0]), by=np.arctanh(h[1]) - wy * z_new,
    )  # fmt: skip
    minus = -torch.ones(1, dtype=torch.float64)
    Uy, Uz = analysis.input_jacobian(cell, (minus, minus), torch.zeros(1, dtype=torch.float64))
    actual, bound = max(float(Uy.abs()), float(Uz.abs())), analysis.input_bound(cell)
    assert bound * (1 - 1e-6) <= actual <= bound * (1 + 1e-9)


@given(w=st.tuples(*[st.floats(0.0, 6.0)] * 2), dt=st.floats(0.01, 1.0), branch=st.sampled_from("zy"))
def test_J6_is_attained(w, dt, branch):
    # psi is a row at a gate of 0, so it is approached as the gate closes; the y unit reads another one, so that nothing cancels
    gate, wg, wc = 1e-6, w[0], w[1]
    h = min(wg / (2 * wc), 1 - 1e-15) if wc > 0 else 1 - 1e-15
    first = np.array([[0.0, 1.0], [0.0, 0.0]])
    on = logit(gate) + np.array([wg, -80.0])
    if branch == "z":
        cell = network(2, dt=dt, W1=wg * first, Wz=wc * first, b1=on, b2=-80.0, bz=np.arctanh(h) + wc)
    else:
        cell = network(2, dt=dt, W2=wg * first, Wy=wc * first, b1=-80.0, b2=on, by=np.arctanh(h) + wc)
    minus = -torch.ones(2, dtype=torch.float64)
    J = analysis.step_jacobian(cell, (minus, minus), torch.zeros(1, dtype=torch.float64)).matrix()
    actual, bound = float((J - torch.eye(4)).abs().sum(-1).max()), analysis.step_distance_bound(cell, gate_max=gate)
    assert bound * (1 - 2e-5) <= actual <= bound * (1 + 1e-9) + 1e-15  # J - I is a difference of numbers near 1


def test_5_3_logarithmic_norm_is_attained():
    u, minus = torch.zeros(1, dtype=torch.float64), -torch.ones(1, dtype=torch.float64)
    g, h = numeric_max(lambda g, h: g * (-1 + (1 - g) * (1 + h) * 2 + (1 - h * h) * 2))
    cell = network(1, dt=0.1, W1=2.0, Wz=2.0, b1=logit(g) + 2.0, bz=np.arctanh(h) + 2.0)
    assert float(analysis.logarithmic_norm(cell.ode, (minus, minus), u)) == pytest.approx(
        analysis.growth_rate(cell.ode), rel=1e-9
    )


@given(case=cases(max_d=4, max_N=30, schemes=SCHEMES))
def test_J7_bounds_products_and_is_no_larger_than_powers_of_J1(case):
    """States and inputs need not be those of a trajectory."""
    (y, z), u = case.cube_states(case.N), case.inputs(case.N)
    bound, product = analysis.jacobian_product_bound(case.cell, case.N), np.eye(2 * case.d)
    for n, J in enumerate(analysis.step_jacobian(case.cell, (y, z), u).matrix().numpy()):
        product = J @ product
        assert_bounded(np.abs(product).sum(1).max(), bound[n + 1])
        assert_bounded(np.abs(product[case.d :]).sum(), np.exp(log_rows(case, n + 1)[case.d :]).sum())
    power = np.arange(case.N + 1) * math.log(analysis.jacobian_bound(case.cell))
    assert (np.log(bound) <= power + 1e-9 * (1 + power)).all()
    assert bound[0] == 1


def log_rows(case, n):
    scale, rows = row_sums_of_products(case.cell, n)
    return scale[n] + np.log(rows[n])


def test_J7_overflows_to_inf():
    cell = network(2, m=1, dt=1.0, W1=50 * np.ones((2, 2)), Wz=50 * np.ones((2, 2)), Wy=50 * np.ones((2, 2)))
    bound = analysis.jacobian_product_bound(cell, 400)
    assert bound[-1] == math.inf
    assert not np.isnan(bound).any()
    assert (np.diff(bound[np.isfinite(bound)]) >= 0).all()
