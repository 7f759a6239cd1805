"""Statement 11.1: with steps of different sizes all bounds hold, a priori for the largest."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from lem_cases import cases

import lemode
from lemode.analysis import audit, step_jacobian
from lemode.analysis.bounds import jacobian_bound_posterior
from lemode.analysis.inverse import inverse_bound_posterior


def network_of(case, layers):
    rnn = lemode.LEM(case.m, case.d, layers, scheme=case.scheme, dtype=torch.float64)
    with torch.no_grad():
        for p, q in zip(rnn.cells[0].parameters(), case.cell.parameters()):
            p.copy_(q)
    return rnn


@given(
    cases(max_d=4, max_N=25, schemes=("imex", "semi_implicit", "exponential")),
    st.integers(1, 2),
    st.sampled_from(["(L,)", "(L, N)"]),
    st.sampled_from([1.0, 0.05]),
)
def test_11_1_no_row_of_an_audit_is_violated(case, layers, shape, least):
    top = 1.0 if case.scheme == "imex" else 4.0
    dt = torch.from_numpy(case.rng.uniform(0, top, case.N if shape == "(L,)" else (case.N, 3))).clamp_min(least * 1e-3)
    u = torch.stack([case.u, -case.u, 0.5 * case.u], 1)
    report = audit(network_of(case, layers), u, dt=dt)
    assert all(row.holds is not False for row in report.rows), str(report)


@given(cases(max_d=4, max_N=10))
def test_11_1_the_gates_met_are_those_of_each_step(case):
    """Beside a cell of that size, step by step."""
    ys, zs = case.run()
    dt = torch.from_numpy(case.rng.uniform(0.01, 1.0, (case.N, 1)))
    bound = jacobian_bound_posterior(case.cell, (ys[:-1], zs[:-1]), case.u, dt)
    inverse = inverse_bound_posterior(case.cell, (ys[:-1], zs[:-1]), case.u, dt)
    for n in range(case.N):
        case.cell.dt = float(dt[n])
        state = ys[n], zs[n]
        # sums of many rows at once may be taken in another order
        assert np.isclose(float(bound[n]), float(jacobian_bound_posterior(case.cell, state, case.u[n])), rtol=1e-12)
        assert np.isclose(float(inverse[n]), float(inverse_bound_posterior(case.cell, state, case.u[n])), rtol=1e-9)
        measured = step_jacobian(case.cell, state, case.u[n]).matrix().abs().sum(-1).max()
        assert float(measured) <= float(bound[n]) * (1 + 1e-12)


def test_11_1_what_is_measured_is_what_the_network_does_with_these_steps():
    """The states, and the gradient of a loss by torch's own differentiation of the module."""
    rnn = lemode.LEM(1, 3, 2, dt=0.9, dtype=torch.float64, batch_first=True)
    rng = np.random.default_rng(0)
    u, target = (torch.from_numpy(rng.standard_normal((2, 12, k))) for k in (1, 3))
    dt = torch.from_numpy(rng.uniform(0.05, 1.0, (2, 12)))
    output, _ = rnn(u, dt=dt)
    (output - target).square().sum().div(2 * 12 * 2).backward()
    report = audit(rnn, u, target, dt=dt)
    assert any("steps of 0." in note and "(11.1)" in note for note in report.notes)
    rows = {(row.statement, row.quantity, row.scope): row for row in report.rows}
    for k, cell in enumerate(rnn.cells):
        scope = f"layer {k}" + ("" if k == 1 else ", given the gradient at its output")
        expected = cell.ode.weight_zy.grad.abs().max()
        found = rows["G_rec", "|dE/dWy|", scope]
        assert abs(found.measured - float(expected)) <= 1e-13
    # each step beside a cell of its size
    cell, states = rnn.cells[0], [torch.zeros(2, 3, dtype=torch.float64)] * 2
    largest, kept = 0.0, torch.ones(2, 3, dtype=torch.float64)
    with torch.no_grad():
        for n in range(12):
            for i in range(2):
                cell.dt = float(dt[i, n])
                y, z = states[0][i], states[1][i]
                J = step_jacobian(cell, (y, z), u[i, n]).matrix()
                largest = max(largest, float(J.abs().sum(-1).max()))
                kept[i] *= 1 - cell.dt * cell.ode.gates(y, u[i, n])[1]
            sizes = dt[:, n, None]
            states = cell.scheme.step(cell.ode, tuple(states), u[:, n], sizes)
    assert np.isclose(rows["J1", "||J||_inf", "layer 0"].measured, largest, rtol=1e-12)
    last = rows["S1 a posteriori", "|y_N|", "layer 0"]
    assert np.isclose(last.measured, states[0].abs().numpy(), rtol=1e-12).any()
    assert np.isclose(last.bound, 1 - kept.numpy(), rtol=1e-12).any()
