"""Certified horizons: the forecast is within the radius at every step, in all ways that a surrogate can be built, or there is none."""

import copy
import dataclasses
import functools
from fractions import Fraction

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch

import lemode
from lemode.analysis import CertifiedHorizon, certified_horizon
from lemode.analysis import horizon as module
from lemode.analysis.horizon import ClosedLoop, _radii
from lemode.analysis.tube import Spread
from lemode.surrogate.forecast import free_run
from lemode.surrogate.network import both_ends

STEPS = 140
KINDS = {
    "trained, float32": {"train": "all", "hidden_size": 5, "dtype": "float32"},
    "two layers and delays": {"train": "all", "hidden_size": 4, "num_layers": 2, "delays": 2},
    # without bounds, which its wide radii would meet
    "another scheme": {"train": "all", "hidden_size": 5, "scheme": "exponential", "dt": 2.0, "contain": None},
    "readout": {"train": "readout", "hidden_size": 6},
    "readout of two layers": {"train": "readout", "hidden_size": 4, "num_layers": 2},
}


def pendulum(n):
    """A damped pendulum under a known torque: (angle, rate, torque), each series from another start."""
    u = 0.4 * np.sin(0.25 * np.arange(STEPS) + np.arange(n)[:, None])
    x = np.empty((n, STEPS, 2))
    x[:, 0] = np.stack([np.linspace(-0.8, 0.8, n), np.linspace(0.3, -0.2, n)], 1)
    for k in range(STEPS - 1):
        a, b = x[:, k].T
        x[:, k + 1, 1] = b + 0.2 * (-0.4 * b - np.sin(a) + u[:, k])
        x[:, k + 1, 0] = a + 0.2 * x[:, k + 1, 1]
    return np.concatenate([x, u[..., None]], 2)


DATA = pendulum(8)
NAMES = ("angle", "rate", "torque")


def as_trajectories(x):
    return lemode.Trajectories(0.2 * np.arange(x.shape[-2]), x, NAMES)


@functools.cache
def fitted(kind):
    model = lemode.Surrogate(**{"steps": 60, "seed": 0, "verbose": False, "inputs": ("torque",)} | KINDS[kind])
    return model.fit(as_trajectories(DATA[:4]), validation=as_trajectories(DATA[4:6]))


LONG = ("another scheme", "readout", "readout of two layers")


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow if kind in LONG else ()) for kind in KINDS])
def model(request):
    return fitted(request.param)


def one_step_errors(model, x, begin):
    """Of the values from `begin` on, ``(T, D)``."""
    predicted = model.predict(as_trajectories(x))
    values = np.asarray(getattr(predicted, "x", predicted)).reshape(len(x), -1)[:, :2]
    return values[begin - 1 : -1] - x[begin:, :2]


def test_the_forecast_is_within_the_radius_of_held_out_data_at_every_step(model):
    closest = 0.0
    for x in DATA[6:]:
        for history in (60, 90):
            found = certified_horizon(model, x, 0.3, history=history)
            error = np.abs(np.asarray(model.forecast(x[:history], STEPS - history, inputs=x[history:, 2:])) - x[history:, :2])
            assert np.array_equal(found.truth, x[history:, :2])
            assert (error <= found.radius).all()
            assert (error[: found.horizon] <= 0.3).all()
            finite = np.isfinite(found.radius).all(1)
            assert finite[:3].all()
            closest = max(closest, (error / found.radius)[finite].max())
    assert closest > 0.9  # of the first steps the error is known


def test_the_forecast_is_within_the_radius_where_the_errors_to_come_are_as_small_as_was_said(model):
    for x in DATA[6:]:
        largest = np.abs(one_step_errors(model, x, 60)).max(0)
        found = certified_horizon(model, x[:60], 0.5, steps=40, errors=largest, inputs=x[60:100, 2:])
        error = np.abs(found.forecast - x[60:100, :2])
        assert np.isfinite(found.radius[:2]).all()
        assert (error <= found.radius).all()
        assert found.truth is None
        known = certified_horizon(model, x, 0.5, history=60, steps=40)
        assert found.horizon <= known.horizon  # who knows the signs knows more


def test_the_radius_starts_from_the_first_error_and_horizons_grow_with_the_tolerance():
    model, x = fitted("two layers and delays"), DATA[7]
    first = np.abs(one_step_errors(model, x, 60)[0])
    found = [certified_horizon(model, x, tolerance, history=60) for tolerance in (1e-9, 0.05, [0.05, 0.5], 0.5)]
    assert np.allclose(found[0].radius[0], first, rtol=1e-6)
    horizons = np.array([f.horizons for f in found])
    assert (np.diff(horizons, axis=0) >= 0).all()
    assert horizons[0].tolist() == [0, 0]
    assert horizons[2].tolist() == [horizons[1, 0], horizons[3, 1]]
    assert found[2].horizon == horizons[2].min() < horizons[2].max() or horizons[2, 0] == horizons[2, 1]
    assert np.array_equal(found[0].radius, found[3].radius)  # the tolerance is no part of the proof


@pytest.mark.parametrize("future", [False, True])
def test_every_history_within_the_noise_has_its_forecast_within_the_radius(model, future):
    x, rng, closest = DATA[7], np.random.default_rng(0), 0.0
    noise = np.array([1e-4, 2e-4])
    largest = np.abs(one_step_errors(model, x, 60)).max(0)
    given = {"errors": 1.1 * largest, "inputs": x[60:90, 2:]} if future else {"history": 60}
    found = certified_horizon(model, x[:60] if future else x, 0.3, steps=30, noise=noise, **given)
    alone = certified_horizon(model, x[:60] if future else x, 0.3, steps=30, **given)
    finite = np.isfinite(found.radius).all(1) & np.isfinite(alone.radius).all(1)
    assert finite[:2].all()
    assert (found.radius > alone.radius)[finite].all()
    for _ in range(20):
        history = x[:60].copy()
        history[:, :2] += (1 - 1e-9) * noise * rng.choice([-1, 1], (60, 2))
        forecast = np.asarray(model.forecast(history, 30, inputs=x[60:90, 2:]))
        assert (np.abs(forecast - x[60:90, :2]) <= found.radius).all()
        moved = np.abs(forecast - alone.forecast)[finite] / (found.radius[finite] - alone.radius[finite])
        closest = max(closest, moved.max())
    assert closest > 0.1  # draws seldom meet the worst history of 60 samples


@pytest.mark.parametrize(("known", "glitch", "place"), [(1, 0.0, 0), (2, 0.0, 1), (60, 2.0, 30), (60, 2.0, 57)])
def test_noise_in_the_first_sample_and_in_samples_that_are_held(known, glitch, place):
    """What lies beyond the bounds is read at them: of one that was read shortly before the end the state still knows."""
    network, x, noise = fitted("two layers and delays").network_, DATA[7].copy(), np.array([1e-4, 2e-4])
    x[place, :2] += glitch
    radius = _radii(ClosedLoop(network), x[: known + 3], known, 3, None, noise)
    error = []
    for way in ([0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]):
        before = x[: known + 3].copy()
        before[:known, :2] += (1 - 1e-9) * noise * np.array(way)
        series, e = (torch.from_numpy(part)[:, None].to(network.mean) for part in (before[:known, :2], before[:, 2:]))
        with torch.no_grad():
            e = both_ends(network.normalise_inputs(e))
            ahead = free_run(network, network.normalise(series), 3, e[:known], e[known:-1])
            error.append(np.abs(network.denormalise(ahead)[:, 0].double().numpy() - x[known : known + 3, :2]))
        assert (error[-1] <= radius).all()
    assert (radius < error[0] + 20 * noise).all()


def test_what_is_known_is_measured_and_rounding_alone_is_added():
    """The bound ends where the forecast does, and not where a bound of its error by the sizes of one-step errors would."""
    model, x = fitted("trained, float32"), DATA[7]
    found = certified_horizon(model, x, 0.3, history=60)
    error = np.abs(found.forecast - found.truth)
    last = np.isfinite(found.radius).all(1).sum()
    assert last > 50  # from there on the forecast is held at its bounds
    assert error[:last].max() > 0.1
    assert (found.radius - error)[:last].max() < 1e-3  # 3e-6 at each step, that of float32


def test_the_map_and_its_derivative_are_those_of_the_network(model):
    """Beside torch's derivative of what the network itself does."""
    loop, rng = ClosedLoop(model.network_), np.random.default_rng(0)
    v, known = rng.uniform(-0.8, 0.8, loop.size), rng.uniform(-1, 1, 2)
    network = copy.deepcopy(model.network_).double()
    network.lower.fill_(-torch.inf)  # at a drawn state a head may predict what is beyond its bounds
    network.upper.fill_(torch.inf)
    S, D, layers = loop.states, loop.D, len(loop.steps)

    def move(v):
        z, y = v[:S].reshape(layers, 2, 1, -1).unbind(1)
        lags = v[S + D :].reshape(-1, D).flip(0)[:, None]
        x, ((y, z), lags) = network.step(v[None, None, S : S + D], torch.from_numpy(known)[None, None], ((y, z), lags))
        return torch.cat([torch.stack([z[:, 0], y[:, 0]], 1).reshape(-1), x.reshape(-1), lags[:, 0].flip(0).reshape(-1)])

    image, A, rest, own, _ = loop.enclose(v, np.zeros(loop.size), known)
    vt = torch.from_numpy(v)
    expected = move(vt).detach().numpy()
    expected[S + D :] = v[S : S + D * loop.lags]
    J = torch.autograd.functional.jacobian(move, vt).numpy()
    J[S + D :, S : S + D * loop.lags] = np.eye(D * loop.lags)  # the network keeps the values as they were given
    size = 1 + np.abs(loop.by_state).sum() + loop.by_series_size.sum()
    assert np.abs(image - expected).max() <= 1e-14 * size  # a few hundred terms in float64
    assert np.abs(A - J).max() <= 1e-14 * size
    assert max(own.max(), rest.max()) <= 1e-12 * size


def test_rounding_is_a_defect():
    """A float32 network beside the free run of its twin in float64: there is no other error, and no more of it than is said."""
    model = fitted("trained, float32")
    network = copy.deepcopy(model.network_).double()
    x, history = DATA[7].copy(), 60
    with torch.no_grad():
        e = network.normalise_inputs(torch.from_numpy(x[:, 2:]))
        e = torch.cat([e, torch.cat([e[1:], e[-1:]])], -1)[:, None]
        series = network.normalise(torch.from_numpy(x[:history, :2]))[:, None]
        value, state = network.step(series, e[:history])
        value = value[-1:]
        for k in range(history, history + 30):
            x[k, :2] = network.denormalise(value)[0, 0].numpy()
            value, state = network.step(value, e[k : k + 1], state)
    found = certified_horizon(model, x, 1e-2, history=history, steps=30)
    error = np.abs(found.forecast - x[history : history + 30, :2])
    assert error.max() > 0
    assert (error <= found.radius).all()
    assert (found.radius[:10] < 1e-3).all()


@pytest.mark.parametrize(("future", "times"), [(False, 1), (True, 2)])
def test_what_a_step_rounds_by_is_in_the_radius_of_the_next(monkeypatch, future, times):
    """Of the free run; and, where the errors to come are those of the network as it runs along the truth, of that as well."""
    model, x = fitted("two layers and delays"), DATA[7]
    given = {"errors": 1e-4, "inputs": x[60:63, 2:]} if future else {"history": 60}
    series, usual = (x[:60] if future else x), ClosedLoop.enclose

    def rounding(more):
        def enclose(*given):
            loop = given[0]
            *same, running = usual(*given)
            return *same, running + more * (np.arange(loop.size) == loop.states)

        monkeypatch.setattr(ClosedLoop, "enclose", enclose)
        return certified_horizon(model, series, 0.3, steps=3, **given).radius[:, 0]

    by = 1e-3
    gained = rounding(by) - rounding(0.0)
    assert gained[0] == 0
    std = float(model.network_.std[0])
    assert gained[1] == pytest.approx(times * by * std, rel=1e-6)


def test_a_float32_step_is_within_what_is_said_of_the_exact_one():
    model = fitted("trained, float32")
    network, rng, loop = model.network_, np.random.default_rng(1), ClosedLoop(model.network_)
    closest = 0.0
    for _ in range(20):
        v, known = (torch.from_numpy(rng.uniform(-0.8, 0.8, n)).float() for n in (loop.size, 2))
        z, y = v[: loop.states].reshape(2, 1, 1, -1)
        with torch.no_grad():
            x, ((y, z), _) = network.step(v[None, None, loop.states :], known[None, None], ((y, z), v.new_zeros(0, 1, 2)))
        image, *_, own, running = loop.enclose(v.double().numpy(), np.zeros(loop.size), known.double().numpy())
        error = np.abs(torch.cat([z.reshape(-1), y.reshape(-1), x.reshape(-1)]).double().numpy() - image)
        assert (error <= own + running).all()
        closest = max(closest, (error / running).max())
    assert closest > 0.01


def test_a_head_that_cancels_rounds_by_no_more_than_is_said():
    """Of terms of the known inputs that are a million times as large as their sum."""
    loop, rng, reached = ClosedLoop(fitted("two layers and delays").network_), np.random.default_rng(4), 0.0
    S, D = loop.states, loop.D
    for _ in range(10):
        known, first = rng.uniform(0.5, 1, 2), 1e6 * rng.standard_normal(D)
        loop.by_input = np.stack([first, -first * known[0] / known[1]], 1)
        v = rng.uniform(-0.8, 0.8, loop.size)
        image, _, _, own, _ = loop.enclose(v, np.zeros(loop.size), known)
        for i in range(D):
            rows = (
                (loop.by_series[i], v[S:]),
                (loop.by_input[i], known),
                (loop.by_state[i], image[:S]),
                ([loop.constant[i]], [1.0]),
            )
            exact = sum(Fraction(a) * Fraction(b) for row in rows for a, b in zip(*row))
            error = float(abs(exact - Fraction(image[S + i])))
            assert error <= own[S + i]
            reached = max(reached, error)
    assert reached > 1e-12  # a thousand times what sums of the size of the result are rounded by


def test_a_running_network_is_said_to_round_a_head_of_n_terms_n_times():
    """Higham, Accuracy and Stability (2002), (3.5): n u / (1 - n u) times the sum of the absolute values, which here is the sum."""
    loop, known = ClosedLoop(fitted("trained, float32").network_), np.full(2, 1e6)
    loop.by_input, loop.terms = np.ones((loop.D, 2)), 1000
    *_, running = loop.enclose(np.zeros(loop.size), np.zeros(loop.size), known)
    n, u = loop.terms, 2.0**-24
    assert (
        running[loop.states :][: loop.D] >= n * u / (1 - n * u) * known.sum() * (1 - 1e-5)
    ).all()  # the head's rest is below 10


def test_a_sample_of_the_history_is_read_with_its_own_rounding(monkeypatch):
    """A large one after a small one: the noise is the same, the rounding of a float32 network is not."""
    network, x, seen = fitted("trained, float32").network_, DATA[7].copy(), []
    x[:, :2] = np.where(np.arange(STEPS)[:, None] % 2, 0.7, 1e-3)
    advance = Spread.advance
    monkeypatch.setattr(Spread, "advance", lambda self, A, q: (seen.append(q[:, 0].copy()), advance(self, A, q)))
    noise, loop, u = 1e-9, ClosedLoop(network), 2.0**-24
    _radii(loop, x[:13], 10, 3, None, np.full(2, noise))
    for k in range(9):
        value = x[k + 1, :2]
        read = (noise + 2 * u * np.abs(value)) / loop.std  # to float32, and once more where the mean is taken off
        assert (seen[k][loop.states :][:2] >= read).all()


def test_a_forecast_that_contradicts_the_proof_is_reported(monkeypatch):
    monkeypatch.setattr(module, "_radii", lambda *args: np.full((10, 2), 1e-9))
    with pytest.raises(RuntimeError, match=r"contradicts statement 8\.2"):
        certified_horizon(fitted("two layers and delays"), DATA[7], 0.3, history=60, steps=10)


def test_frames_are_read_by_name():
    model = fitted("two layers and delays")
    frame = pd.DataFrame(DATA[7][:, ::-1], columns=NAMES[::-1])
    assert np.array_equal(
        certified_horizon(model, frame, 0.3, history=60).radius, certified_horizon(model, DATA[7], 0.3, history=60).radius
    )


X = DATA[7]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"series": X[:, :2]}, ValueError, r"series has shape \(140, 2\): give \(T, 3\), the columns angle, rate, torque"),
        ({"series": np.where(np.arange(140)[:, None] == 9, np.nan, X)}, ValueError, "missing or not finite.*fill them"),
        ({"tolerance": 0.0}, ValueError, "tolerance=0.*positive"),
        ({"tolerance": [0.1, 0.2, 0.3]}, ValueError, "tolerance.*each of 2 variables"),
        ({"history": 140}, ValueError, "history=140, steps=0.*140 samples.*errors="),
        ({"history": 100, "steps": 41}, ValueError, "steps=41"),
        ({"inputs": X[:, 2:]}, ValueError, "inputs: they are columns of the series"),
        ({"errors": 0.1}, ValueError, "steps=None: say how many"),
        ({"errors": 0.1, "history": 60, "steps": 3}, ValueError, "history=60: with errors="),
        ({"errors": -0.1, "steps": 3}, ValueError, "errors=-0.1"),
        ({"noise": [0.1, np.nan]}, ValueError, "noise=.*each of 2 variables"),
        ({"errors": 0.1, "steps": 3, "inputs": X[:2, 2:]}, ValueError, "inputs have 2 rows: give one for each of 3"),
        ({"errors": 0.1, "steps": 30_000, "inputs": np.zeros((30_000, 1))}, ValueError, "30000 steps in 20 dim.*give at most"),
        ({"model": lemode.LEM(1, 2)}, TypeError, "model is LEM: give a fitted lemode.Surrogate"),
        ({"model": lemode.Surrogate()}, ValueError, "not fitted"),
    ],
)
def test_refused_in_a_sentence(arguments, error, message):
    given = {"model": fitted("two layers and delays"), "series": X, "tolerance": 0.3} | arguments
    if "20 dim" in message:
        message = message.replace("20", str(ClosedLoop(given["model"].network_).size))
    with pytest.raises(error, match=message):
        certified_horizon(given.pop("model"), given.pop("series"), given.pop("tolerance"), **given)


@pytest.mark.parametrize("settings", [{"season": 12.0}, {"angles": ("angle",)}, {"scale": "series"}, {"continuous": True}])
def test_what_is_no_affine_scale_or_no_step_of_lem_is_refused(settings):
    model = lemode.Surrogate(
        hidden_size=3, train="all", steps=2, verbose=False, inputs=("torque",), **settings
    ).fit(as_trajectories(DATA[:4]), validation=as_trajectories(DATA[4:6]))  # fmt: skip
    with pytest.raises(ValueError, match="a horizon is certified"):
        certified_horizon(model, X, 0.3, history=60)


def test_other_cores_are_refused():
    model = lemode.baselines.LSTM(hidden_size=3, steps=2, verbose=False, inputs=("torque",))
    model.fit(as_trajectories(DATA[:4]), validation=as_trajectories(DATA[4:6]))
    with pytest.raises(TypeError, match=r"LSTM.*core is a LEM"):
        certified_horizon(model, X, 0.3, history=60)


def test_the_statement_in_words_and_the_plot():
    matplotlib.use("Agg")
    t, forecast = np.arange(1.0, 5), np.zeros((4, 2))
    radius = np.array([[0.1, 0.1], [0.2, 0.6], [0.3, 0.2], [np.inf, np.inf]])
    found = CertifiedHorizon(("a", "b"), t, forecast, forecast + 0.05, radius, np.array([0.25, 0.5]), None)
    assert found.horizons.tolist() == [2, 1]  # b is out at the second step, and what follows does not count
    assert str(found) == (
        "The forecast is within 0.25 of a for 2 of 4 steps; the forecast is within 0.5 of b for 1 of 4 steps: proved."
    )
    condition = dataclasses.replace(found, errors=np.array([0.1, 0.2]), noise=np.array([0.01, 0.02]))
    assert str(condition).startswith(
        "If no sample of a is off by more than 0.01 and b is off by more than 0.02 and no one-step error of a exceeds 0.1 and b exceeds 0.2, the"
    )
    assert str(dataclasses.replace(found, noise=np.array([0.01, 0.02]))).startswith(
        "If no sample of a is off by more than 0.01 and"
    )
    ax = found.plot("a")
    assert "certified horizon, 2 steps" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert found.plot(1, ax) is ax
    with pytest.raises(ValueError, match="variable='c': choose from a, b"):
        found.plot("c")
    matplotlib.pyplot.close("all")


def test_a_history_and_a_forecast_of_one_sample_each():
    model, x = lemode.Surrogate(hidden_size=3, train="all", steps=2, washout=1, verbose=False, inputs=("torque",)), DATA[7]
    model.fit(as_trajectories(DATA[:4]), validation=as_trajectories(DATA[4:6]))
    found = certified_horizon(model, x, 0.3, history=1, steps=1)
    error = np.abs(np.asarray(model.forecast(x[:1], 1, inputs=x[1:2, 2:])) - x[1:2, :2])
    assert (error <= found.radius).all()
    assert np.isfinite(found.radius).all()


def test_half_of_a_series_is_its_history_by_default():
    model, x = fitted("two layers and delays"), DATA[7][:110]
    found = certified_horizon(model, x, 0.3)
    assert np.array_equal(found.radius, certified_horizon(model, x, 0.3, history=55).radius)
    assert len(found.radius) == 55
