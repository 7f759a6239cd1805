"""5.4: contraction. 5.3: Lyapunov bounds. 5.2: inverse bound, gradient floor, highway. 5.1: inverse step."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lem_cases import assert_bounded, cases, logit, network

from lemode import analysis

INVERSE_RTOL = 1e-8  # measured inverses carry the condition number, below 1e6 here, times eps


def contractive(case):
    """Shrink the case's matrices until the certificate holds."""
    with torch.no_grad():
        while not analysis.contraction_certificate(case.cell, case.u).holds:
            case.cell.ode.weight_hh.mul_(0.7)
            case.cell.ode.weight_zy.mul_(0.7)
    return analysis.contraction_certificate(case.cell, case.u)


def scaled(J, r):
    """T J T^-1 with T = diag(r on z, 1 on y): its infinity norm is ||J||_r."""
    t = torch.ones(J.shape[-1], dtype=J.dtype)
    t[: len(t) // 2] = r
    return t[:, None] * J / t


def largest(cell, y, z, r):
    return np.maximum(r * z.abs().amax(-1).numpy(), y.abs().amax(-1).numpy())


DTS = st.floats(1e-3, 1.0) | st.sampled_from([1.0, 0.5])


@given(case=cases(max_d=6, max_N=20, max_scale=0.9, dts=DTS))
def test_5_4_contraction(case):
    certificate = contractive(case)
    factor = certificate.factor(case.cell)
    (y, z), u = case.cube_states(30), case.u[np.arange(30) % case.N]
    J = analysis.step_jacobian(case.cell, (y, z), u).matrix()
    assert_bounded(scaled(J, certificate.r).abs().sum(-1).amax(-1), factor)
    g = torch.stack(case.cell.ode.gates(y, u))
    assert_bounded(certificate.gate_min, g.min())
    DF = scaled(analysis.field_jacobian(case.cell.ode, (y, z), u), certificate.r)
    diagonal = DF.diagonal(dim1=-2, dim2=-1)
    assert_bounded((diagonal - diagonal.abs() + DF.abs().sum(-1)).amax(-1), -certificate.rate)
    a, b = case.run(y[0], z[0]), case.run(y[1], z[1])
    distance = largest(case.cell, a[0] - b[0], a[1] - b[1], certificate.r)
    assert_bounded(distance[1:], factor * distance[:-1])
    assert analysis.contraction_rate(case.cell, case.u) == certificate.rate
    bounds = analysis.lyapunov_bounds(case.cell, case.u)
    assert_bounded(math.log(factor) / case.dt if factor > 0 else -math.inf, bounds.lem)
    assert bounds.ode <= -certificate.rate


@given(
    case=cases(max_d=5, max_scale=0.9, dts=st.floats(-2, 3).map(lambda e: 10.0**e), schemes=("semi_implicit", "exponential"))
)
def test_5_4_contraction_of_the_unconditional_schemes(case):
    certificate = contractive(case)
    (y, z), u = case.cube_states(20), case.u[np.arange(20) % case.N]
    J = analysis.step_jacobian(case.cell, (y, z), u).matrix()
    assert_bounded(scaled(J, certificate.r).abs().sum(-1).amax(-1), certificate.factor(case.cell))


@given(case=cases(max_d=6, max_scale=3.0), r=st.floats(-3, 3).map(math.exp))
def test_5_4_the_weight_found_is_the_best(case, r):
    assert_bounded(analysis.contraction_certificate(case.cell).Psi, analysis.contraction_certificate(case.cell, r=r).Psi)


@pytest.mark.parametrize(("wz", "wy"), [(0.5, 0.5), (0.9, 0.4), (3.0, 0.2)])
def test_5_4_contraction_is_sharp(wz, wy):
    g, dt = 0.3, 0.4
    cell = network(2, dt=dt, Wz=wz / 2, Wy=wy / 2, b1=logit(g), b2=logit(0.9))
    certificate = analysis.contraction_certificate(cell)
    assert math.sqrt(wz * wy) == pytest.approx(certificate.Psi, rel=1e-9)
    assert certificate.gate_min == pytest.approx(g, rel=1e-12)
    zero = torch.zeros(2, dtype=torch.float64)
    J = analysis.step_jacobian(cell, (zero, zero), torch.zeros(1, dtype=torch.float64)).matrix()
    norm = float(scaled(J, certificate.r).abs().sum(-1).max())
    assert 1 - norm == pytest.approx(dt * certificate.rate, rel=1e-8)
    assert norm == pytest.approx(certificate.factor(cell), rel=1e-9)


def test_5_4_certificate_is_sharp_in_the_weights():
    # u = b = 0, equal gates: the origin is unstable as soon as wz wy > 1
    for w, stable in ((0.999, True), (1.001, False)):
        cell = network(1, dt=0.5, Wz=w, Wy=w)
        zero = torch.zeros(1, dtype=torch.float64)
        DF = analysis.field_jacobian(cell.ode, (zero, zero), zero)
        assert (float(torch.linalg.eigvals(DF).real.max()) < 0) == stable == analysis.contraction_certificate(cell).holds


@given(case=cases(max_d=6, max_N=10, dts=st.floats(1e-3, 0.6), max_scale=3.0))
def test_5_2_inverse_bound_and_floor(case):
    (y, z), u = case.cube_states(20), case.inputs(20)
    J = analysis.step_jacobian(case.cell, (y, z), u).matrix()
    inverse = torch.linalg.inv(J)
    measured, posterior = inverse.abs().sum(-1).amax(-1), analysis.inverse_bound_posterior(case.cell, (y, z), u)
    priori = analysis.inverse_bound(case.cell)
    assert_bounded(measured, posterior, rtol=INVERSE_RTOL)
    assert_bounded(posterior, priori)
    assert_bounded(torch.linalg.matrix_norm(inverse, 2), analysis.inverse_bound(case.cell, norm=2), rtol=INVERSE_RTOL)
    ys, zs = case.run()
    v = torch.from_numpy(case.rng.standard_normal((2, case.d)))
    vys, vzs = analysis.trajectory_vjp(case.cell, case.u, ys, zs, (v[0], v[1]))
    for k in range(case.N + 1):
        floor = analysis.gradient_floor(case.cell, case.N - k) * float(v.abs().sum())
        assert_bounded(floor, float(vys[k].abs().sum() + vzs[k].abs().sum()), rtol=INVERSE_RTOL)


@given(
    case=cases(max_d=4, dts=st.floats(-2, 1).map(lambda e: 10.0**e), max_scale=1.0, schemes=("semi_implicit", "exponential"))
)
def test_5_2_inverse_bound_of_the_unconditional_schemes(case):
    (y, z), u = case.cube_states(20), case.inputs(20)
    inverse = torch.linalg.inv(analysis.step_jacobian(case.cell, (y, z), u).matrix())
    posterior = analysis.inverse_bound_posterior(case.cell, (y, z), u)
    assert_bounded(inverse.abs().sum(-1).amax(-1), posterior, rtol=INVERSE_RTOL)
    assert_bounded(posterior, analysis.inverse_bound(case.cell))


@given(case=cases(max_d=5, max_N=20, max_scale=3.0), gate=st.floats(-5, -1).map(lambda e: 10.0**e))
def test_5_2_highway(case, gate):
    p = case.cell.ode.blocks()
    with torch.no_grad():
        for w, v, b in ((p.W1, p.V1, p.b1), (p.W2, p.V2, p.b2)):
            b.copy_(logit(gate) - w.abs().sum(1) - v.abs().sum(1) * case.input_scale)
    ys, zs = case.run(*(x[0] for x in case.cube_states(1)))
    v = torch.from_numpy(case.rng.standard_normal((2, case.d)))
    vys, vzs = analysis.trajectory_vjp(case.cell, case.u, ys, zs, (v[0], v[1]))
    floor = analysis.highway_floor(case.cell, case.N, gate) * float(v.abs().sum())
    assert_bounded(floor, float(vys[0].abs().sum() + vzs[0].abs().sum()))


def test_5_2_inverse_bounds_and_floors_are_attained():
    u = torch.zeros(1, dtype=torch.float64)
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    for blocks, state, dt in (
        ({"b1": 40.0, "b2": 40.0}, (zero, zero), 0.5),
        ({"Wy": 2.0, "b1": -40.0, "b2": 40.0}, (zero, zero), 0.5),
        ({"Wz": 1.5, "Wy": 2.0, "b1": 40.0, "b2": 40.0}, (zero, zero), 0.3),
        # gate of y at the maximiser 7/12 of chi(3), weight negative against a positive span: y = -1, candidate 1
        ({"W2": -3.0, "b1": -40.0, "b2": logit(7 / 12) - 3.0, "by": 40.0}, (-one, zero), 0.3),
    ):
        cell = network(1, dt=dt, **blocks)
        inverse = torch.linalg.inv(analysis.step_jacobian(cell, state, u).matrix())
        norm = float(inverse.abs().sum(-1).max())
        assert norm == pytest.approx(analysis.inverse_bound(cell), rel=1e-10)
        assert norm == pytest.approx(float(analysis.inverse_bound_posterior(cell, state, u)), rel=1e-10)
    cell = network(1, dt=0.5, b1=40.0, b2=40.0)
    J = analysis.step_jacobian(cell, (zero, zero), u).matrix()
    assert float(torch.linalg.matrix_norm(torch.linalg.inv(J), 2)) == pytest.approx(
        analysis.inverse_bound(cell, norm=2), rel=1e-12
    )
    assert float(torch.linalg.matrix_power(J, 5)[0, 0]) == pytest.approx(analysis.gradient_floor(cell, 5), rel=1e-10)
    cell = network(1, dt=0.5, b1=logit(1e-3), b2=logit(1e-3))
    J = analysis.step_jacobian(cell, (zero, zero), u).matrix()
    # (1 - x)^M against 2 - (1 + x)^M: apart by (M x)^2 = 2.5e-5
    assert float(torch.linalg.matrix_power(J, 10)[0, 0]) == pytest.approx(analysis.highway_floor(cell, 10, 1e-3), rel=1e-4)


def test_5_3_lyapunov_bounds_are_attained():
    zero = torch.zeros(1, dtype=torch.float64)
    cell = network(1, dt=0.5, b1=0.0, b2=0.0)
    bounds = analysis.lyapunov_bounds(cell)
    assert bounds.ode == pytest.approx(-0.5, rel=1e-12)
    assert bounds.lem == pytest.approx(math.log(0.75) / 0.5, rel=1e-12)
    cell = network(1, dt=1e-3, Wz=2.0, Wy=2.0, b1=40.0, b2=40.0)  # the origin: exponent sqrt(wz wy) - 1 = 1
    bounds = analysis.lyapunov_bounds(cell)
    assert float(torch.linalg.eigvals(analysis.field_jacobian(cell.ode, (zero, zero), zero)).real.max()) == pytest.approx(
        bounds.ode, rel=1e-12
    )
    J = analysis.step_jacobian(cell, (zero, zero), zero).matrix()
    exponent = math.log(float(torch.linalg.eigvals(J).abs().max())) / 1e-3
    assert 0.997 * bounds.lem <= exponent <= bounds.lem  # apart by a term of order dt


@given(case=cases(max_d=8, max_N=1, dts=st.floats(1e-3, 0.99), schemes=("imex", "semi_implicit", "exponential")))
def test_5_1_inverse_step_round_trip(case):
    case.cell.ode.weight_hh[case.d : 2 * case.d] = 0
    (y, z), u = case.cube_states(10), case.inputs(10)
    after = case.cell.scheme.step(case.cell.ode, (y, z), u, case.cell.dt)
    back_y, back_z = analysis.inverse_step(case.cell, after, u)
    # rounding of the step grows by 1/(1 - dt); the error of y enters z through the row sums of W1, Wz
    error_y = 1e-12 / (1 - case.dt)
    w = 1 + float(case.cell.ode.weight_hh.abs().sum(1).max())
    assert (back_y - y).abs().max() <= error_y
    assert (back_z - z).abs().max() <= error_y * w / (1 - case.dt)
