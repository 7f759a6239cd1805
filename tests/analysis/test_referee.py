"""What a referee found in the bounds, item by item; and the mutants that no test had caught."""

import dataclasses
import inspect
import math

import mpmath
import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import lemode
from lemode import analysis
from lemode.analysis.recursion import posterior_recursion
from lemode.analysis.stability import certificates

F64 = torch.float64
ZERO, ONE = torch.zeros(1, dtype=F64), torch.ones(1, dtype=F64)


def network(d=1, dt=1.0, scheme="imex", **blocks):
    cell = lemode.LEMCell(1, d, dt=dt, scheme=scheme, dtype=F64, allow_large_dt=True).requires_grad_(False)
    for name, block in cell.ode.blocks()._asdict().items():
        block.copy_(torch.as_tensor(np.asarray(blocks.get(name, 0.0), dtype=np.float64)).expand_as(block))
    return cell


def jacobian(cell, y=ZERO, z=ZERO):
    return analysis.step_jacobian(cell, (y, z), ZERO).matrix()


def source(cell, group="bz"):
    """|dy_1/dtheta| from zero: a gradient over one step with a pull of one."""
    return float(analysis.parameter_jacobian(cell, (ZERO, ZERO), ZERO, group)[0].abs())


def refused(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call()
    return True


def gradient_over(cell, N):
    y = z = ZERO
    X, total = np.zeros(2), 0.0
    for _ in range(N):
        dy, dz = analysis.parameter_jacobian(cell, (y, z), ZERO, "bz")
        X = jacobian(cell, y, z).numpy() @ X + np.array([float(dz), float(dy)])
        total += abs(X[1]) / N
        y, z = cell.scheme.step(cell.ode, (y, z), ZERO, cell.dt)
    return total


def local_error(cell, y, z):
    def field(_, x):
        return np.concatenate(
            [v.numpy() for v in cell.ode(torch.from_numpy(x[:1].copy()), torch.from_numpy(x[1:].copy()), ZERO)]
        )

    end = solve_ivp(field, (0, cell.dt), [y, z], method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    return float((torch.cat(cell.scheme.step(cell.ode, (y * ONE, z * ONE), ZERO, cell.dt)) - torch.from_numpy(end)).abs().max())


def overflowed():
    """A weight of zero beside sensitivities beyond the largest float."""
    cell = network(2, Wz=[[0, 0], [0, 900.0]], Wy=[[0, 0], [0, 900.0]], b1=40.0, b2=40.0)
    states = torch.zeros(301, 2, dtype=F64)
    return posterior_recursion(
        cell, torch.ones(300, 2, dtype=F64), ["b1", "bz"], torch.zeros(300, 1, dtype=F64), states, states
    )


def inverse_grows():
    """By how much the error of a step back exceeds that of the step, and the two bounds that were given for it."""
    cell = network(dt=0.5, Wz=1e3, b1=40.0, b2=-40.0)
    y, z = 1e-3 * ONE, ZERO
    after = cell.scheme.step(cell.ode, (y, z), ZERO, cell.dt)
    back = analysis.inverse_step(cell, (after[0] + 1e-9, after[1]), ZERO)
    grown = float((back[1] - z).abs()) / 1e-9
    return grown, 1 / (1 - cell.dt), float(analysis.inverse_bound_posterior(cell, (y, z), ZERO))


PACKED = torch.nn.utils.rnn.pack_sequence([torch.zeros(3, 1)])
PASCALS = network(dt=0.5, b1=-800.0, b2=-800.0)

ITEMS = {
    "J1, one ulp below what is attained": lambda: analysis.jacobian_bound(network(Wy=0.1 + 0.2)) >= float(jacobian(network(Wy=0.1 + 0.2, b1=-40.0, b2=40.0)).abs().sum(-1).max()),
    "G_inf at Wy=5, dt=1, N=1": lambda: analysis.gradient_bound(network(Wy=5.0), 1, 1.0, "bz", "inf") > 5.0,
    "S1 at dt=1e-12": lambda: abs(analysis.state_radius(1e-12, 1) / 1e-12 - 1) < 1e-13,
    "lem_G(1, 1e-16, 1) is not 0": lambda: 2.5e-17 <= analysis.lem_G(1.0, 1e-16, 1.0) < 2.6e-17,
    "linear_growth(3, 1e300, 1e300) = inf": lambda: analysis.linear_growth(3, 1e300, 1e300) == math.inf,
    "state_radius(3, 2000) = inf": lambda: analysis.state_radius(3.0, 2000) == math.inf,
    "1 - tanh^2 at 13 is 2e-11, not nothing": lambda: abs(float(analysis.coefficients(network(bz=13.0, b1=40.0), (ZERO, ZERO), ZERO)[2]) / (4 * math.exp(-26) / (1 + math.exp(-26)) ** 2) - 1) < 1e-12,
    "G_inf for zero inputs, N = 300": lambda: analysis.gradient_bound(network(W1=50.0, Wz=50.0, Wy=50.0), 300, 1.0, "Vz", "inf", u_max=0.0) == 0,
    "posterior_recursion, a zero weight and an overflow": lambda: not torch.isnan(overflowed()).any() and bool(torch.isinf(overflowed()).any()),
    "an underflowed gate: rate": lambda: analysis.contraction_rate(PASCALS) == 0,
    "an underflowed gate: factor": lambda: analysis.contraction_certificate(PASCALS).factor(PASCALS) == 1,
    "an underflowed gate: G_unif": lambda: analysis.gradient_bound(PASCALS, 3, 1.0, "by", "uniform") == math.inf,
    "an underflowed gate: global error": lambda: analysis.global_error_bound(PASCALS, 3) < 1,
    "an underflowed gate: Lyapunov": lambda: analysis.lyapunov_bounds(PASCALS).lem == 0,
    "dt = 1.9: the factor is refused": lambda: refused(lambda: analysis.contraction_certificate(network(dt=1.9)).factor(network(dt=1.9)), "dt=1.9"),
    "dt = 1.9: log|det J|": lambda: abs(float(analysis.step_jacobian(network(dt=1.9, b1=40.0, b2=40.0), (ZERO, ZERO), ZERO).logabsdet()) - 2 * math.log(0.9)) < 1e-12,
    "inverse_step grows by ||1/J||": lambda: inverse_grows()[1] < inverse_grows()[0] <= inverse_grows()[2],
    "dt = 1e39 is refused": lambda: refused(lambda: lemode.LEMCell(1, 1, dt=1e39, scheme="exponential"), "float32"),
    "packed sequences are refused by an audit": lambda: refused(lambda: analysis.audit(lemode.LEM(1, 2), PACKED), "unpack"),
    # mutants: what is measured is above the bound without the term
    "mutant: q = 1 in G_inf": lambda: 1.01 * analysis.linear_growth(1, 1.0, analysis.growth_rate(network(Wy=5.0))) < source(network(Wy=5.0, b1=40.0, b2=40.0)) <= analysis.gradient_bound(network(Wy=5.0), 1, 1.0, "bz", "inf"),
    "mutant: local error of y without wy": lambda: 1.01 * 1e-4 < local_error(network(dt=0.01, Wy=20.0, b1=40.0, b2=40.0, bz=40.0, by=19.6), 0.0, -1.0) <= analysis.local_error_bound(network(dt=0.01, Wy=20.0)),
}  # fmt: skip


@pytest.mark.parametrize("item", ITEMS)
def test_item(item):
    assert ITEMS[item]()


def test_mutant_q_r_is_one_in_G_unif():
    cell, N = network(dt=0.01, Wz=0.01, Wy=8.0, b1=40.0, b2=40.0), 400
    found = analysis.contraction_certificate(cell)
    measured = gradient_over(cell, N)
    assert 1 / (found.gate_min * (1 - found.Psi)) < measured <= analysis.gradient_bound(cell, N, 1.0, "bz", "uniform")


def test_mutant_inverse_bound_in_the_2_norm_without_W2():
    cell = network(dt=0.4, W2=2.0, b1=-40.0, b2=2.0, by=-40.0)
    measured = 1 / float(torch.linalg.svdvals(jacobian(cell, ONE)).min())
    assert 1.01 / (1 - 0.4) < measured <= analysis.inverse_bound(cell, 2)


def test_mutant_local_error_of_z_with_a_quarter_of_w1():
    # y moves as fast as it can where the gate is steepest, and z is far from its target
    cell = network(dt=0.01, W1=10.0, b1=-10.0, b2=40.0, bz=40.0, by=-40.0)
    assert 1.3 * (1 + 10.0 / 4) * 0.01**2 < local_error(cell, 1.0, -1.0) <= analysis.local_error_bound(cell)


def test_mutant_global_error_uniform_in_time_with_r_for_its_inverse():
    """By the formula: where z weighs less than y, r < 1, its error is 1/r times as large in the infinity norm as in that of the proof."""
    cell = network(dt=0.05, W1=0.9, Wz=0.9)  # y moves z, nothing moves y: the smaller r, the less is Psi
    found = []
    for c in certificates(cell):
        Lz, Ly, _ = analysis.discretization._local(cell)
        found.append(max(c.r * Lz, Ly) * 0.05 / (c.gate_min * (1 - c.Psi)) * max(1, 1 / c.r))
    assert min(c.r for c in certificates(cell)) < 0.01
    assert analysis.global_error_bound(cell, 10**6) >= min(found)


def test_mutant_first_order_bound_of_a_network_that_does_not_grow():
    """Without recurrent weights the gradient by `by` is a mean of dt (1 + ... + N) / N terms, and nothing beyond it; with small ones, little."""
    exact = 0.1 * (10 + 1) / 2
    assert analysis.gradient_bound(network(dt=0.1), 10, 1.0, "by", "ref") == pytest.approx(exact, rel=1e-13)
    little = network(dt=0.1, W2=1e-6, Wy=1e-6, W1=1e-6, Wz=1e-6)
    assert exact < analysis.gradient_bound(little, 10, 1.0, "by", "ref") < exact * (1 + 1e-4)


@pytest.mark.parametrize(("s", "A", "B", "r"), [(0.5, 1.0, 0.25, 1.0), (0.1, 2.0, 1.0, 0.5), (0.3, 1.0, 1.0, 0.25)])
def test_mutant_largest_bracket_where_a_root_is_of_its_second_term_alone(s, A, B, r):
    """p = 1 - 4 r B / A is zero: against the largest of a fine grid of gates."""
    assert 1 - 4 * r * B / A == 0
    g = np.linspace(0, 1, 200_001)
    a = (1 - g) * A
    psi = np.where(a <= 2 * B, r * a + B + a * a / B / 4, (1 + r) * a)
    largest = max(0.0, float((g * (psi - s)).max()))
    # 1e-9: the grid's own distance from a maximum, (5e-6)^2 times a curvature of some units
    assert largest <= analysis.lem_G(s, A, B, r) <= largest + 1e-9


def test_mutant_kept_parts_without_their_radii_where_candidate_and_state_cancel():
    """At z = tanh(bz) to the last bit, what the gate multiplies is less than a roundoff, and the sizes are above it all the same."""
    mpmath.mp.dps = 50
    seen = 0
    for b in np.linspace(0.1, 2.0, 200):
        cell = network(dt=1.0, bz=b, by=b)
        z = torch.tensor([math.tanh(b)], dtype=F64)
        sizes = analysis.sizes.step_sizes(cell, (z, z), ZERO)
        exact = abs(mpmath.tanh(mpmath.mpf(float(b))) - mpmath.mpf(float(z))) / 4  # sigma'(0) = 1/4
        seen += float(exact) > 0
        assert sizes.gate_z[0] >= exact
    assert seen > 100


@pytest.mark.parametrize("sign", [1, -1])
def test_mutant_roundoff_of_large_arguments_that_cancel(sign):
    """The least gate, by 50 digits: the argument is of order one, its two terms are a million."""
    mpmath.mp.dps = 50
    rng = np.random.default_rng(0)
    for _ in range(200):
        v, u = sign * rng.uniform(1, 2), sign * rng.uniform(5e5, 1e6)
        b = -v * u - rng.uniform(0, 2)
        cell = network(dt=0.5, V1=v, b1=b, V2=v, b2=b)
        inputs = torch.tensor([[u]], dtype=F64)
        exact = 1 / (1 + mpmath.exp(-(mpmath.mpf(v) * mpmath.mpf(u) + mpmath.mpf(b))))
        assert analysis.contraction_certificate(cell, inputs).gate_min <= exact
        bounds = analysis.sweeps.SweepBounds.of(cell, np.array([[u]]))
        assert bounds.p1 >= exact / 2


def test_mutant_roundoff_of_a_long_sum_that_cancels():
    """The least gate, by 50 digits: a hundred terms of a million, of which one is left; their sum is off by some of their roundings."""
    mpmath.mp.dps = 50
    rng = np.random.default_rng(0)
    for _ in range(40):
        v, u = rng.uniform(1, 2, 100), rng.uniform(5e5, 1e6, 100)
        exact_sum = mpmath.fsum(mpmath.mpf(a) * mpmath.mpf(b) for a, b in zip(v, u))
        b = float(-exact_sum) - 1.0
        cell = lemode.LEMCell(100, 1, dt=0.5, dtype=F64).requires_grad_(False)
        for p in cell.parameters():
            p.zero_()
        blocks = cell.ode.blocks()
        for V, bias in ((blocks.V1, blocks.b1), (blocks.V2, blocks.b2)):
            V.copy_(torch.from_numpy(v)[None])
            bias.fill_(b)
        exact = 1 / (1 + mpmath.exp(-(exact_sum + mpmath.mpf(b))))
        assert analysis.contraction_certificate(cell, torch.from_numpy(u)[None]).gate_min <= exact


def test_mutant_windows_of_the_adjoint_have_the_norm_of_their_product():
    """By hand, and of a network that grows: the error that windows say is not below what the recursion step by step needs."""
    product = torch.tensor([[1.0, -2.0], [0.0, 1.0]], dtype=F64)
    assert 3.5 <= float(analysis.adjoint._norm(product, torch.tensor(0.5, dtype=F64))) < 3.5 + 1e-12


def test_mutant_results_can_be_replaced_and_not_changed():
    found = [
        c
        for module in (analysis.audit_report, analysis.statements, analysis.trapping, analysis.tube, analysis.horizon)
        for _, c in inspect.getmembers(module, dataclasses.is_dataclass)
        if inspect.isclass(c) and c is not analysis.AuditReport  # to which notes are added
    ]
    assert len(found) == 6
    assert all(c.__dataclass_params__.frozen for c in found)


def test_mutant_errors_of_z_reach_y_through_the_new_z():
    """The rounding of what sources contribute: an error of the sensitivities goes through in full, and once more through Wy."""
    cell = network(2, dt=0.5, Wy=[[0.5, 0.0], [0.0, 2.0]], W1=0.1)
    u, states = torch.zeros(3, 1, dtype=F64), torch.zeros(4, 2, dtype=F64)
    steps = analysis.adjoint.steps_along(cell, u, states, states)
    exact = analysis.adjoint.adjoint(steps, torch.ones(3, 2, dtype=F64))
    off = exact._replace(error=exact.error + 1e-3)
    seen = analysis.adjoint.sources(steps, off, ["bz"], u, states, states)
    moved = analysis.adjoint.sources(
        steps, exact._replace(y=exact.y + 1e-3 / 4, z=exact.z + 1e-3 / 4), ["bz"], u, states, states
    )
    first = analysis.adjoint.sources(steps, exact, ["bz"], u, states, states)
    assert float((moved.size - first.size).abs().min()) > 1e-5
    assert bool(((moved.size - first.size).abs() <= seen.error).all())
