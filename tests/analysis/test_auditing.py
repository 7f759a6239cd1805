"""audit: every statement holds on any network and data, rows are complete, and a false bound is reported as one."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

import lemode
from lemode.analysis import audit, audit_report
from lemode.analysis.network import GROUPS


def data(L=30, N=5, m=2, o=4, dtype=torch.float64, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(L, N, m, generator=g, dtype=dtype), torch.randn(L, N, o, generator=g, dtype=dtype)


@pytest.mark.parametrize("scheme", ["imex", "semi_implicit", "exponential"])
@pytest.mark.parametrize("dt", [0.1, 1.0])
@pytest.mark.parametrize("gain", [0.3, 4.0])
def test_every_statement_holds(scheme, dt, gain):
    rnn = lemode.LEM(2, 4, num_layers=2, dt=dt, scheme=scheme, dtype=torch.float64)
    with torch.no_grad():
        for p in rnn.parameters():
            p.mul_(gain)
    result = audit(rnn, *data())
    assert result.holds, "\n".join(str(r) for r in result.rows if not r.holds)
    assert all(r.ratio <= 1 + 1e-9 for r in result.rows)


def test_rows_are_complete_and_plain():
    rnn = lemode.LEM(2, 4, num_layers=2, dt=0.2)
    result = audit(rnn, *data(dtype=torch.float32))
    content = result.to_dict()
    json.dumps(content)
    assert set(content["rows"][0]) == {
        "statement", "quantity", "scope", "measured", "rounding", "bound", "ratio", "holds", "reason", "vacuous"
    }  # fmt: skip
    for layer in (0, 1):
        own = {(r["statement"], r["quantity"]) for r in content["rows"] if r["scope"].startswith(f"layer {layer}")}
        statements = {s for s, _ in own}
        assert {
            "S1",
            "J1",
            "J2 a posteriori",
            "J3",
            "J4",
            "J5",
            "J6",
            "5.2",
            "5.3",
            "5.4",
            "6.2",
            "G_rec",
            "G_rec a posteriori",
            "G_adj a posteriori",
        } <= statements
        assert {f"|dE/d{g}|" for g in GROUPS} <= {q for _, q in own}
    text = str(result)
    assert "statements hold" in text
    assert len(text.splitlines()) >= len(result.rows) + 3
    assert any("one layer" in note for note in result.notes)


@pytest.mark.slow
def test_measured_gradient_is_that_of_the_whole_network():
    # stacked layers with a readout: the pull handed down layer by layer is the chain rule
    rnn = lemode.LEM(2, 4, num_layers=3, dt=0.5, dtype=torch.float64)
    u, target = data(o=3)
    C, c = torch.randn(3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    out, _ = rnn(u)
    (0.5 * (out @ C.T + c - target).pow(2).sum(-1).mean()).backward()
    result = audit(rnn, u, target, readout=(C.numpy(), c.numpy()))
    for layer in range(3):
        for row in result.rows:
            if row.statement == "G_rec" and row.scope.startswith(f"layer {layer}") and row.quantity == "|dE/dWy|":
                assert row.measured == pytest.approx(float(rnn.cells[layer].ode.weight_zy.grad.abs().max()), rel=1e-10)
    assert result.holds
    assert all(p.dtype == torch.float64 for p in rnn.parameters())


@pytest.mark.slow
def test_layouts_agree():
    rnn = lemode.LEM(2, 4, dt=0.5, dtype=torch.float64)
    u, target = data()
    first = lemode.LEM(2, 4, dt=0.5, dtype=torch.float64, batch_first=True)
    first.load_state_dict(rnn.state_dict())
    a, b = audit(rnn, u, target), audit(first, u.transpose(0, 1), target.transpose(0, 1))
    assert a.to_dict() == b.to_dict()
    single = audit(rnn, u[:, 0], target[:, 0])
    assert single.to_dict() == audit(rnn, u[:, :1], target[:, :1]).to_dict()


def test_initial_state_no_bias_and_no_target():
    rnn = lemode.LEM(2, 4, dt=0.5, bias=False, dtype=torch.float64)
    u, _ = data()
    state = torch.full((1, 5, 4), 0.5, dtype=torch.float64), torch.full((1, 5, 4), -1.0, dtype=torch.float64)
    result = audit(rnn, u, state=state)
    assert result.holds
    assert not any("db1" in r.quantity for r in result.rows)
    assert any("no target" in note for note in result.notes)


def test_contractive_network_gets_its_certificate():
    rnn = lemode.LEM(2, 4, dt=0.5, dtype=torch.float64)
    with torch.no_grad():
        rnn.cells[0].ode.weight_hh.mul_(0.1)
        rnn.cells[0].ode.weight_zy.mul_(0.1)
    result = audit(rnn, *data())
    assert result.holds
    assert any(r.statement == "5.4" and r.quantity == "||J||_r" for r in result.rows)
    assert not any("not certified" in note for note in result.notes)


def test_saturated_gates_at_dt_1_have_no_floor_and_say_so():
    rnn = lemode.LEM(2, 4, dt=1.0, dtype=torch.float64)
    with torch.no_grad():
        rnn.cells[0].ode.bias[:8] = 60.0
    result = audit(rnn, *data())
    assert result.holds
    assert any("no a-priori floor" in note for note in result.notes)


def test_long_times_come_with_a_note_and_a_bound_that_stays_useful():
    rnn = lemode.LEM(2, 4, dt=1.0, dtype=torch.float64)
    with torch.no_grad():
        for p in rnn.parameters():
            p.mul_(3.0)
    result = audit(rnn, *data(L=400))
    assert result.holds
    assert any("G_adj" in note for note in result.notes)
    # the exact adjoint loses to cancellation over time only: a few orders of magnitude, not hundreds
    assert all(r.ratio > 1e-4 for r in result.rows if r.statement.startswith("G_adj"))


def test_a_violated_bound_is_reported():
    row = audit_report.Row("J1", "||J||_inf", "layer 0", measured=1.1, bound=1.0)
    floor = audit_report.Row("5.2", "flow", "layer 0", measured=0.9, bound=1.0, lower=True)
    assert not row.holds
    assert not floor.holds
    assert row.ratio > 1
    assert floor.ratio > 1
    bad = audit_report.AuditReport([row, floor], [])
    assert not bad.holds
    assert "0 of 2 statements hold" in str(bad)
    assert "NO" in str(bad)


def test_plot_returns_axes_without_touching_pyplot():
    result = audit(lemode.LEM(2, 4, dt=0.2), *data(dtype=torch.float32))
    ax = result.plot()
    assert ax.get_yscale() == "log"
    assert {line.get_label() for line in ax.get_lines()} >= {"measured, median", "floor, a priori (5.2)"}
    assert result.plot(ax=ax, layer=0) is ax
    flow = result.flows[0]
    assert (flow.floor <= flow.smallest * (1 + 1e-9)).all()
    assert (flow.largest <= flow.ceiling_posterior * (1 + 1e-9)).all()
    assert (flow.ceiling_posterior <= flow.ceiling * (1 + 1e-9)).all()


@pytest.mark.slow
def test_a_thousand_steps_of_many_sequences():
    u, target = data(L=1000, N=32, o=16, dtype=torch.float32)
    assert audit(lemode.LEM(2, 16, dt=0.2), u, target).holds


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rnn": torch.nn.LSTM(2, 4)}, "rnn is LSTM"),
        ({"rnn": lemode.LEM(2, 4, bidirectional=True)}, "one direction"),
        ({"rnn": lemode.LEM(2, 4, scheme="explicit")}, "scheme='explicit'"),
        ({"rnn": lemode.LEM(2, 4, dt=1.5, allow_large_dt=True)}, "dt=1.5"),
        ({"u": torch.full((30, 5, 2), torch.nan)}, "u contains values that are not finite"),
        ({"u": torch.zeros(0, 5, 2)}, r"u has shape \(0, 5, 2\)"),
        ({"u": torch.zeros(30, 5, 3)}, "3 features"),
        ({"target": torch.zeros(30, 5, 3)}, r"target has shape \(30, 5, 3\)"),
        ({"target": torch.full((30, 5, 4), torch.inf)}, "target contains values that are not finite"),
        ({"state": (torch.full((1, 5, 4), 2.0), torch.zeros(1, 5, 4))}, "unit cube"),
        ({"state": (torch.zeros(1, 3, 4), torch.zeros(1, 3, 4))}, "state has shapes"),
        ({"dt": torch.full((7,), 0.1)}, r"dt of shape \(7,\).*give a number, or \(30,\)"),
        ({"dt": torch.full((30,), -0.1)}, r"dt=-0\.1"),
        ({"dt": torch.full((30,), 1.5)}, r"dt=1\.5"),
        ({"dt": 1.5}, r"dt=1\.5"),
        ({"dt": [0.1] * 30}, "dt is list"),
    ],
)
def test_bad_input_is_named(change, message):
    u, target = data(dtype=torch.float32)
    arguments = {"rnn": lemode.LEM(2, 4, dt=0.2), "u": u, "target": target} | change
    with pytest.raises((TypeError, ValueError), match=message):
        audit(**arguments)


def test_one_step_size_that_is_given_is_that_of_the_cells():
    rnn, same = lemode.LEM(2, 4, dt=0.2, dtype=torch.float64), data()
    given = [
        audit(rnn, *same, dt=dt)
        for dt in (0.7, torch.tensor(0.7, dtype=torch.float64), torch.full((30,), 0.7, dtype=torch.float64))
    ]
    for cell in rnn.cells:
        cell.dt = 0.7
    rows = [[(r.statement, r.quantity, r.measured, r.bound) for r in report.rows] for report in (*given, audit(rnn, *same))]
    assert rows[0] == rows[1] == rows[2] == rows[3]
    assert not any("steps of" in note for report in given for note in report.notes)


def test_non_finite_weights_are_named():
    rnn = lemode.LEM(2, 4, dt=0.2)
    with torch.no_grad():
        rnn.cells[0].ode.weight_zy[0, 0] = torch.nan
    with pytest.raises(ValueError, match="Wy contains nan"):
        audit(rnn, *data(dtype=torch.float32))


@pytest.mark.slow
def test_a_wide_network_is_audited_on_some_states_and_says_so(monkeypatch):
    """Long and wild: bounds overflow to infinity, never to nan; and G_rec of the largest row is not below that of every row."""
    from lemode.analysis import auditing
    from lemode.surrogate.draws import Draw, draw

    rnn = lemode.LEM(2, 30, dtype=torch.float64)
    draw(rnn, Draw(radius=5.0), torch.Generator().manual_seed(0))
    u = torch.randn(400, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    by_rows = audit(rnn, u)
    monkeypatch.setattr(auditing, "MOST_WORK", 40 * 60**3)
    monkeypatch.setattr(auditing, "BLOCK", 7 * 60**2)
    monkeypatch.setattr(auditing, "ROWS_APART", 4)
    report = audit(rnn, u)
    assert report.holds
    assert by_rows.holds
    assert any("of 40 of 800 states, evenly spaced" in note for note in report.notes)
    assert not any(np.isnan(row.bound) for row in report.rows)
    assert any(row.bound == np.inf for row in report.rows if row.statement == "G_rec a posteriori")
    for a, b in zip(by_rows.rows, report.rows, strict=True):
        assert (a.statement, a.quantity) == (b.statement, b.quantity) or "G_" in a.statement
        if a.statement == b.statement == "G_rec":
            assert b.bound >= a.bound * (1 - 1e-12)


def test_a_row_within_rounding_of_its_bound_is_undecided_and_says_why():
    close = audit_report.Row("J1", "||J||_inf", "layer 0", measured=1.0, bound=1.0 - 1e-16, rounding=1e-15)
    floor = audit_report.Row("5.2", "flow", "layer 0", measured=1.0, bound=1.0 + 2e-16, lower=True, rounding=1e-15)
    lost = audit_report.Row("J1", "||J||_inf", "layer 0", measured=1.0, bound=2.0, rounding=np.inf)
    clear = audit_report.Row("J1", "||J||_inf", "layer 0", measured=1.0, bound=1.0 + 2e-15, rounding=1e-15)
    assert close.holds is floor.holds is lost.holds is None
    assert clear.holds is True
    assert "1e-15" in close.reason
    assert "could not be bounded" in lost.reason
    assert not clear.reason
    report = audit_report.AuditReport([close, clear], [])
    assert report.holds is None
    assert "1 of 2 statements hold, 1 is undecided within rounding" in report.verdict
    assert "undecided: " in str(report)
    violated = audit_report.Row("J1", "||J||_inf", "layer 0", measured=1.1, bound=1.0, rounding=1e-15)
    assert audit_report.AuditReport([close, violated], []).holds is False


def test_a_difference_of_1e_13_is_no_longer_forgiven():
    assert audit_report.Row("J1", "||J||_inf", "layer 0", measured=1.0 + 1e-13, bound=1.0).holds is False


def test_of_many_entries_the_violated_one_is_shown_then_the_undecided_one():
    from lemode.analysis.auditing import _worst

    def shown(measured, rounding, bound, lower=False):
        return _worst("J1", "q", "s", (np.array(measured), np.array(rounding)), np.array(bound), lower).measured

    assert shown([0.99, 0.5, 3.0], [0.0, 0.0, 9.0], [1.0, 0.4, 4.0]) == 0.5
    assert shown([0.99, 0.5, 3.0], [0.0, 0.0, 9.0], [1.0, 0.6, 4.0]) == 3.0
    assert shown([0.99, 0.5, 3.0], [0.0, 0.0, 0.0], [1.0, 0.6, 4.0]) == 0.99
    assert shown([0.5, 2.0], [0.0, 0.0], [0.6, 1.0], lower=True) == 0.5


def test_rounding_of_a_gradient_is_bounded_and_stays_small_over_long_times():
    """Against the same adjoint in 60 digits; where perturbations die out, so do errors."""
    import mpmath

    from lemode.analysis.adjoint import adjoint, steps_along

    torch.manual_seed(0)
    cell = lemode.LEMCell(1, 1, dt=0.5, dtype=torch.float64).requires_grad_(False)
    N = 60
    u = torch.randn(N, 1, dtype=torch.float64)
    zero = torch.zeros(1, 1, dtype=torch.float64)
    ys, zs = (torch.cat([zero, x[:, 0]]) for x in lemode.kernels.run(cell.ode, cell.scheme, u[:, None], zero, zero, cell.dt))
    steps, pull = steps_along(cell, u, ys, zs), torch.randn(N, 1, dtype=torch.float64)
    found = adjoint(steps, pull, windows=True)
    mpmath.mp.dps = 60
    p = {k: mpmath.mpf(float(w.reshape(-1)[0])) for k, w in cell.ode.blocks()._asdict().items()}
    ly = lz = mpmath.mpf(0)
    largest = 0.0
    for n in range(N, 0, -1):
        ly += mpmath.mpf(float(pull[n - 1, 0]))
        off = abs(mpmath.mpf(float(found.y[n, 0])) - ly) + abs(mpmath.mpf(float(found.z[n, 0])) - lz)
        assert off <= mpmath.mpf(float(found.error[n]))
        largest = max(largest, float(found.error[n]))
        y, z, e = (mpmath.mpf(float(x)) for x in (ys[n - 1, 0], zs[n - 1, 0], u[n - 1, 0]))
        g1, g2 = (1 / (1 + mpmath.exp(-(p["W" + k] * y + p["V" + k] * e + p["b" + k]))) for k in "12")
        zh = mpmath.tanh(p["Wz"] * y + p["Vz"] * e + p["bz"])
        l1, l2 = g1 / 2, g2 / 2
        yh = mpmath.tanh(p["Wy"] * (z + l1 * (zh - z)) + p["Vy"] * e + p["by"])
        lz += ly * l2 * (1 - yh**2) * p["Wy"]
        ly = ly * (1 - l2 + l2 * (1 - g2) * (yh - y) * p["W2"]) + lz * (
            l1 * (1 - g1) * (zh - z) * p["W1"] + l1 * (1 - zh**2) * p["Wz"]
        )
        lz *= 1 - l1
    assert largest < 1e-12
    assert (adjoint(steps, pull).error >= found.error).all()


def test_a_measured_value_that_overflows_is_undecided_and_says_so():
    """At rest, in one unit: a perturbation grows by 250,000 a step, and beyond the largest float."""
    rnn = lemode.LEM(1, 1, dt=1, bias=False, dtype=torch.float64).requires_grad_(False)
    for p in rnn.parameters():
        p.fill_(1000.0)
    report = audit(rnn, torch.zeros(80, 1), torch.ones(80, 1))
    unknown = [row for row in report.rows if not math.isfinite(row.measured)]
    assert unknown
    assert {row.holds for row in unknown if not row.vacuous} == {None}
    assert {row.reason for row in unknown if row.holds is None} == {"the measured value overflows float64"}


def test_batch_first_is_read_as_such_and_a_note_is_about_states_that_are_left_out():
    rnn = lemode.LEM(1, 2, dt=0.5, dtype=torch.float64)
    u, _ = data(L=6, N=3, m=1)
    first = lemode.LEM(1, 2, dt=0.5, dtype=torch.float64, batch_first=True)
    first.load_state_dict(rnn.state_dict())
    report = audit(rnn, u)
    assert audit(first, u.transpose(0, 1)).to_dict() == report.to_dict()
    # more than there are may be asked for
    assert not any("evenly spaced" in note for note in audit(rnn, u, max_states=10**12).notes)


def test_the_verdict_counts_the_rows_that_say_nothing():
    report = audit(lemode.LEM(1, 2, dt=0.5, dtype=torch.float64), data(L=6, N=3, m=1)[0])
    report.rows[:] = report.rows[:4]
    empty = dataclasses.replace(report.rows[0], bound=np.inf)
    report.rows += [empty, empty]
    assert empty.vacuous
    said = sum(row.vacuous for row in report.rows)
    assert f" {said} more say nothing" in report.verdict


def test_the_norm_of_an_inverse_and_what_it_may_be_off_by():
    """Of a matrix whose rows and columns have other sums: the remainder of X A is in the norm of rows."""
    from lemode.analysis.auditing import _inverse_norm
    from lemode.analysis.enclosure import Ball

    A = np.array([[[1.0, 0.0], [0.0, 1.0]]])
    rad = np.array([[[0.01, 0.2], [0.0, 0.0]]])  # rows sum to 0.21 and 0, columns to 0.01 and 0.2
    size, off = _inverse_norm(Ball(A, rad))
    assert size == pytest.approx(1.0)
    assert off == pytest.approx(0.21 / 0.79, rel=1e-9)
    B = np.array([[[1.0, -1.0], [0.0, 1.0]]])  # the inverse has the rows (1, 1) and (0, 1): 2, by columns 2 as well
    assert _inverse_norm(Ball(B @ np.diag([1.0, 4.0]), 0 * B))[0] == pytest.approx(2.0)
    assert _inverse_norm(Ball(np.diag([1.0, 4.0]) @ B, 0 * B))[0] == pytest.approx(1.25)
