"""Every public function of the analysis and the metrics: what does not fit is refused in a sentence of lemode's own."""

import inspect
import math
import traceback

import numpy as np
import pytest
import torch
from torch.nn.utils import parametrizations, weight_norm
from torch.nn.utils.rnn import pack_sequence

import lemode
from lemode import analysis, metrics, plots
from lemode.analysis import audit, lyapunov_spectrum
from lemode.analysis.audit_report import AuditReport, Row
from lemode.systems import CallableSystem, SolveError

f64 = torch.float64


def rand(*shape):
    return torch.rand(*shape, dtype=f64) / 2


def calls():
    """Name, function, and arguments that fit."""
    cell, rnn = lemode.LEMCell(1, 2, dt=0.1, dtype=f64), lemode.LEM(1, 2, dt=0.1, dtype=f64)
    u, y, ode = rand(6, 1), rand(6, 2), cell.ode
    at, first, initial = {"u": u, "state": (y, y)}, (y[0], y[0]), (rand(1, 1, 2), rand(1, 1, 2))
    path = {"u": u[:5], "ys": y, "zs": y}
    spectrum = {"k": 1, "blocks": 5, "seed": 0}
    of = {
        "audit": {"rnn": rnn, "u": u[:, None], "target": y[:, None], "readout": (np.eye(2), np.zeros(2)), "state": initial,
                  "max_samples": 1, "max_states": 5},
        "state_radius": {"dt": 0.1, "n": 3, "x0": 0.0, "gate_max": 1.0},
        "growth_rate": {"network": cell, "norm": 1.0},
        "jacobian_bound": {"cell": cell, "norm": 2.0},
        "jacobian_bound_posterior": {"cell": cell, **at},
        "jacobian_product_bound": {"cell": cell, "steps": 3},
        "tube_along": {"rnn": rnn, "u": u, "state": (y[:1], y[:1]), "radius": 1e-3, "input_radius": 0.0},
        "contraction_over_windows": {"cell": cell, "u": u, "state": first, "window": 2},
        "input_bound": {"cell": cell},
        "step_distance_bound": {"cell": cell, "gate_max": 0.5},
        "convergence_study": {"ode": ode, "u": u[0], "state0": first, "dt": 0.5, "steps": 1, "halvings": 1},
        "decay_error_bound": {"x": 0.5},
        "gate_bias": {"tau": 10.0, "dt": 0.5, "mode": "exact"},
        "global_error_bound": {"cell": cell, "steps": 3, "u": u},
        "local_error_bound": {"cell": cell},
        "stability_region": {"a": 0.1, "b": 0.1, "pq": -1.0},
        "beta": {"a": 1.0, "b": 1.0}, "gam": {"a": 1.0, "b": 1.0}, "psi": {"a": 1.0, "b": 1.0}, "chi": {"w": 1.0},
        "psi_r": {"a": 1.0, "b": 1.0, "r": 1.0}, "lem_G": {"s": 1.0, "A": 1.0, "B": 1.0, "r": 1.0},
        "linear_growth": {"N": 3, "dt": 0.1, "G": 1.0},
        "gradient_bound": {"cell": cell, "steps": 6, "pull": 1.0, "group": "W1", "row": 0, "u_max": 1.0, "u": u, "x0": 0.0},
        "gradient_bound_posterior": {"cell": cell, "pull": y, "group": "W1", "u": u, "state": first, "row": 0},
        "linearisable": {"cell": cell, "steps": 3},
        "quadratic_pull": {"cell": cell, "steps": 3, "target_max": 1.0, "readout": (np.ones((1, 2)), np.zeros(1)), "x0": 0.0},
        "recollected_bound": {"cell": cell, "steps": 3, "target_max": 1.0},
        "gradient_floor": {"cell": cell, "steps": 3},
        "highway_floor": {"cell": cell, "steps": 3, "gate_max": 0.1},
        "critical_forcing": {"a": 0.5, "b": 1.0, "c": 1.0, "d": 1.0},
        "inverse_bound": {"cell": cell, "norm": 2.0},
        "inverse_bound_posterior": {"cell": cell, **at},
        "coefficients": {"cell": cell, **at}, "step_jacobian": {"cell": cell, **at}, "input_jacobian": {"cell": cell, **at},
        "parameter_jacobian": {"cell": cell, **at, "group": "V1"}, "field_jacobian": {"ode": ode, **at},
        "trajectory_jvp": {"cell": cell, **path, "tangent": first}, "trajectory_vjp": {"cell": cell, **path, "cotangent": first},
        "lyapunov_spectrum": {"what": lambda x: 0.5 * x, "x": y[0], "n": 20},
        "spectrum_of_map": {"step": lambda x: 0.5 * x, "x0": y[0], "steps": 20, "dt": 1.0, "transient": 1, **spectrum},
        "spectrum_of_flow": {"rhs": lambda t, x: -x, "x0": np.ones(1), "t": 2.0, "jacobian": lambda t, x: -np.eye(1), "dt": 0.1,
                             "transient": 0.0, "interval": 0.1, "method": "rk4", **spectrum},
        "spectrum_of_lem": {"rnn": rnn, "u": u, "state": initial, "dt": 0.1, "transient": 0, "k": 1, "blocks": 2, "seed": 0},
        "contraction_certificate": {"network": cell, "u": u, "r": 1.0}, "contraction_rate": {"network": cell, "u": u},
        "logarithmic_norm": {"ode": ode, **at}, "lyapunov_bounds": {"cell": cell, "u": u},
        "timescales": {"rnn": rnn, "u": u, "state": initial, "dt_physical": 0.1, "known": [1.0]},
    }  # fmt: skip
    t = np.linspace(0, 20, 100)
    x = np.random.default_rng(0).standard_normal((2, 100, 2)).cumsum(1)
    pair, waves = {"prediction": x[0], "truth": x[1]}, {"prediction": np.sin(3 * t), "truth": np.sin(3.1 * t)}
    of_metrics = {
        "correlation_dimension": {"x": x[0], "quantile": 0.1, "exclude": 5, "points": 90, "seed": 0},
        "crossing_times": {"t": t, "x": np.sin(3 * t), "level": 0.0}, "period": {"t": t, "x": np.sin(3 * t), "level": 0.0},
        "period_error": {"t": t, **waves, "level": 0.0}, "phase_error": {"t": t, **waves, "level": 0.0},
        "drift": {"quantity": t, "scale": 1.0}, "energy_ratio": pair, "wasserstein": pair, "rmse": pair,
        "kl_divergence": {**pair, "components": 2, "bins": 5}, "nrmse": {**pair, "scale": 1.0},
        "power_spectrum": {"x": x[0], "dt": 0.1, "segment": 20}, "spectrum_distance": {**pair, "dt": 0.1, "segment": 20},
        "state_space_divergence": {**pair, "bins": 5, "smoothing": 1e-5}, "smape": pair,
        "smoothed_spectrum_distance": {**pair, "sigma": 2.0},
        "spectrum_excess": {**pair, "dt": 0.1, "segment": 20},
        "spike_f1": {"prediction": [1.0], "truth": [1.1], "tolerance": 0.2},
        "evaluate": {"models": {}, "x": x[0], "horizon": 3, "origins": [20, 30], "inputs": x[1], "season": 12},
        "short_time_score": {**pair, "steps": 20}, "reconstruction_score": pair,
        "histogram_score": {**pair, "steps": 50, "bins": 5}, "spectrum_score": {**pair, "steps": 20, "modes": 1},
        "common_task_scores": {"predictions": {2: x[0]}, "truths": {2: x[1]}, "kind": "dynamical", "floor": -100.0},
        "valid_prediction_time": {**pair, "dt": 0.1, "threshold": 0.5, "lyapunov_time": 1.0, "scale": 1.0},
    }  # fmt: skip
    return [(n, getattr(analysis, n), a) for n, a in of.items()] + [(n, getattr(metrics, n), a) for n, a in of_metrics.items()]


# none of these is ever an argument
NEVER = {
    "None": None, "object": object(), "words": "many", "complex": torch.ones(6, 1, dtype=torch.complex64), "pair": (None, None),
}  # fmt: skip
# these are for some: they are refused by lemode or mean something
SOMETIMES = {
    "nan": math.nan, "inf": math.inf, "negative": -1, "fraction": 2.5, "list": [0.5, 0.5], "nans": np.full(3, np.nan),
    "empty": np.zeros(0), "empty tensor": torch.zeros(0, 2), "four dimensions": torch.zeros(3, 3, 3, 3, dtype=f64),
}  # fmt: skip
CALLS = calls()


def own(error):
    """Whether the sentence is lemode's: what a library says about its own arguments is no help."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return "/lemode/" in frame.filename.replace("\\", "/")


def other_dtype(value):
    return tuple(x.float() for x in value) if isinstance(value, tuple) else value.float()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # infinite numbers
@pytest.mark.parametrize(("name", "function", "arguments"), CALLS, ids=[name for name, *_ in CALLS])
def test_every_argument_is_used_or_refused_by_lemode(name, function, arguments):
    function(**arguments)
    optional = {n for n, p in inspect.signature(function).parameters.items() if p.default is None}
    for argument, value in arguments.items():
        tries = [(what, bad, True) for what, bad in NEVER.items() if not (bad is None and argument in optional)]
        tries += [(what, bad, False) for what, bad in SOMETIMES.items()]
        if isinstance(value, torch.Tensor) or (isinstance(value, tuple) and isinstance(value[0], torch.Tensor)):
            tries.append(("float32", other_dtype(value), False))
        for what, bad, must in tries:
            error = refusal(function, {**arguments, argument: bad})
            told = error is not None and own(error) and len(str(error).split()) > 3
            assert told or (error is None and not must), f"{name}({argument}={what}): {error or 'passed'}"


def refusal(function, arguments):
    try:
        function(**arguments)
    except (TypeError, ValueError, FloatingPointError, SolveError) as error:
        return error
    return None


def test_the_table_holds_every_function():
    functions = {n for n in analysis.__all__ if callable(getattr(analysis, n)) and not isinstance(getattr(analysis, n), type)}
    functions |= {n for n in metrics.__all__ if not isinstance(getattr(metrics, n), type)}
    # given a fitted model, whose checks are its own
    assert functions - {name for name, *_ in CALLS} == {
        "certified_horizon",
        "inverse_step",
        "promised_sweeps",
        "spectrum_of_closed_loop",
        "trapping_region",
    }


# -- audits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is deprecated in favor of:FutureWarning")
@pytest.mark.parametrize("wrap", [weight_norm, parametrizations.weight_norm, parametrizations.spectral_norm])
@pytest.mark.parametrize("bias", [True, False])
def test_an_audit_reads_the_weights_that_a_parametrization_makes(wrap, bias):
    rnn = lemode.LEM(1, 3, dt=0.2, bias=bias, dtype=f64)
    for weight in ("weight_hh", "weight_ih"):
        wrap(rnn.cells[0].ode, weight)
    names, u = [n for n, _ in rnn.named_parameters()], rand(12, 2, 1)
    rnn.eval()
    result = audit(rnn, u)
    plain = lemode.LEM(1, 3, dt=0.2, bias=bias, dtype=f64)
    with torch.no_grad():
        rnn(u)
        for name, parameter in plain.cells[0].ode.named_parameters():
            parameter.copy_(getattr(rnn.cells[0].ode, name))
    assert [row.measured for row in result.rows] == pytest.approx([row.measured for row in audit(plain, u).rows], rel=1e-9)
    assert [n for n, _ in rnn.named_parameters()] == names


def test_bounds_that_say_nothing_are_not_counted():
    rows = [
        Row("J1", "||J||", "layer 0", 1.0, 2.0),
        Row("G_rec", "|dE/dW1|", "layer 0", 1.0, math.inf),
        Row("5.2", "flow", "layer 0", 0.5, 0.0, lower=True),
        Row("5.2", "flow", "layer 0", 0.5, 0.1, lower=True),
        Row("5.3", "mu", "layer 0", -1.0, 0.0),
    ]
    assert [row.vacuous for row in rows] == [False, True, True, False, False]
    report = AuditReport(rows, [])
    assert report.holds
    assert report.verdict.startswith("3 of 3 statements hold. 2 more say nothing")
    assert report.verdict in str(report)
    assert str(report).count("vacuous") == 2
    assert [row["vacuous"] for row in report.to_dict()["rows"]] == [row.vacuous for row in rows]
    assert AuditReport([Row("J1", "x", "", 3.0, 2.0), rows[1]], []).verdict.startswith("0 of 1 statements hold.")
    rnn = lemode.LEM(1, 4, dt=1.0, dtype=f64)
    with torch.no_grad():
        for p in rnn.parameters():
            p.mul_(60)
    blown = audit(rnn, rand(400, 1, 1))
    infinite = sum(math.isinf(row.bound) for row in blown.rows)
    assert infinite > 0
    said = [row for row in blown.rows if not row.vacuous]
    held, undecided = sum(row.holds is True for row in said), sum(row.holds is None for row in said)
    assert held + undecided == len(said)
    assert blown.verdict.startswith(f"{held} of {len(said)} statements hold")
    assert f". {len(blown.rows) - len(said)} more" in blown.verdict


T = np.arange(3.0)
RNN, FIRST = lemode.LEM(1, 2, dt=0.1), lemode.LEM(1, 2, dt=0.1, batch_first=True)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: audit(FIRST, torch.zeros(4, 9, 1), torch.zeros(9, 4, 2)), ValueError, r"target has shape \(9, 4, 2\).*\(4, 9, 2\)"),
        (lambda: audit(RNN, torch.zeros(9, 4, 1), torch.zeros(4, 9, 2)), ValueError, r"target has shape \(4, 9, 2\).*\(9, 4, 2\)"),
        (lambda: audit(RNN, torch.zeros(9, 1), torch.zeros(9, 3)), ValueError, r"target has shape \(9, 3\).*\(9, 2\)"),
        (lambda: audit(RNN, pack_sequence([torch.zeros(3, 1)])), TypeError, r"u is a PackedSequence.*pad_packed_sequence"),
        (lambda: audit(RNN, torch.zeros(9, 1), readout=(np.ones((3, 5)), np.ones(3))), ValueError, r"readout of shapes \(3, 5\)"),
        (lambda: plots.forecast(np.arange(3), np.ones(4), [0.0], [1.0]), ValueError, r"truth has shape \(4,\), t \(3,\)"),
        (lambda: plots.forecast(None, None, None, None), TypeError, r"t=None: give real numbers"),
        (lambda: plots.phase_plane(np.ones((4, 3)), np.ones((4, 2))), ValueError, r"truth has shape \(4, 3\): give \(T, 2\)"),
        (lambda: plots.time_scales(np.ones(4), np.ones((5, 2))), ValueError, r"t has shape \(4,\), tau \(5, 2\)"),
        (lambda: plots.spacetime(T, np.ones((3, 4)), np.ones((3, 4)), x=[0.0, np.nan]), ValueError, r"x has shape \(2,\): give a fin"),
        (lambda: plots.spectra(np.ones((40, 4)), np.ones((40, 4)), dt=0.0), ValueError, r"dt=0: give a finite positive"),
        (lambda: plots.order_plot(None), TypeError, r"study is NoneType: give a ConvergenceStudy, from lemode\.analysis\.conv"),
        (lambda: plots.time_scale_histogram([1.0]), TypeError, r"scales is list: give a Timescales"),
        (lambda: plots.lyapunov_convergence(0.9), TypeError, r"spectrum is float: give a LyapunovSpectrum"),
        (lambda: plots.gradient_flow(audit(RNN, torch.zeros(9, 1)), layer=1), ValueError, r"layer=1: the audit has layers 0 to 0"),
        (lambda: audit(RNN, torch.zeros(9, 1), max_samples=0), ValueError, r"max_samples=0: give a positive"),
        (lambda: analysis.growth_rate(lemode.conv.ConvODE(1, 2, 3)), TypeError, r"network is ConvODE.*pointwise\(\)"),
        (lambda: lyapunov_spectrum(lambda t, x: -np.sin(x), np.ones(2), 10.0), TypeError, r"\(t, x\).*CallableSystem\(rhs, dim"),
        (lambda: lyapunov_spectrum(lambda x: np.sin(x), np.ones(2), 100), TypeError, r"x0 is ndarray.*jacobian="),
        (
            lambda: analysis.spectrum_of_flow(lambda t, x: -np.sin(x), np.ones(2), 10.0),
            ValueError,
            r"needs jacobian=.*CallableSystem",
        ),
    ],
)  # fmt: skip
def test_the_true_cause_and_a_remedy(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_the_remedy_for_a_right_hand_side_in_numpy_exists():
    found = lyapunov_spectrum(CallableSystem(lambda t, x: -np.sin(x), 2), np.ones(2), 10.0)
    assert found.exponents == pytest.approx([-1.0, -1.0], abs=0.1)  # the approach to 0 takes part of the time
