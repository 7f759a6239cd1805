"""benchmarks/long_memory.py: its data, its measures, how its windows begin, and that it runs and goes on from its log."""

import argparse
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

import lemode
from lemode.surrogate.run import Starts
from lemode.surrogate.series import Series

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "long_memory.py"
SHORT = "LEM, windows of 200 from rest"


@pytest.fixture
def script(monkeypatch):
    """With a fit of seconds."""
    spec = importlib.util.spec_from_file_location("long_memory", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    small = {
        "SPIN_UP": 500,
        "TRAIN": 1500,
        "VALIDATE": 500,
        "WARMUP": 300,
        "T": 1000,
        "SEGMENT": 256,
        "STEPS": 3,
        "PER_STEP": 400,
    }
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "SEEDS", (0,))
    return module


def options(tmp_path, **others):
    return argparse.Namespace(log=tmp_path / "log.jsonl", minutes=10.0, only=SHORT, **others)


def test_series_solves_the_equations(script):
    """With the constants by their usual names, and another integrator."""
    a, b, c, d, r, s, rest, current = 1, 3, 1, 5, 0.005, 4, -1.6, 3.25

    def rhs(t, v):
        x, y, z = v
        return np.array([y - a * x**3 + b * x**2 - z + current, c - d * x**2 - y, r * (s * (x - rest) - z)])

    script.SPIN_UP = 0
    found = script.HINDMARSH_ROSE.solve(5, 800)
    start = np.array([-1, 0, 3]) + 0.3 * np.random.default_rng(5).normal(size=3)
    truth = solve_ivp(rhs, (0, 79.9), start, "RK45", t_eval=0.1 * np.arange(800), rtol=1e-9, atol=1e-10).y[0]
    assert truth.max() > 1.5  # there are spikes
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-4)


def test_weather_in_a_slow_climate_solves_the_equations(script):
    """Roessler's system by itself, 20 times slower, and its x in the rho of Lorenz's."""
    sigma, beta, a, b, c, slow = 10, 8 / 3, 0.2, 0.2, 5.7, 20
    script.SPIN_UP = 0
    found = script.SLOW_CLIMATE.solve(5, 80)
    start = np.array([1, 1, 25, 1, -5, 0.1]) + 0.5 * np.random.default_rng(5).normal(size=6)
    climate = solve_ivp(
        lambda t, v: np.array([-v[1] - v[2], v[0] + a * v[1], b + v[2] * (v[0] - c)]) / slow,
        (0, 4), start[3:], "DOP853", rtol=1e-11, atol=1e-11, dense_output=True,
    ).sol  # fmt: skip

    def weather(t, v):
        x, y, z = v
        return np.array([sigma * (y - x), x * (30 + climate(t)[0] / 2 - z) - y, x * y - beta * z])

    truth = solve_ivp(weather, (0, 3.95), start[:3], "DOP853", t_eval=0.05 * np.arange(80), rtol=1e-11, atol=1e-11).y[2]
    # errors of 1e-9 a step grow by e^4 in four time units
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-4)


def test_slow_error_of_known_spectra(script):
    s = np.random.default_rng(0).uniform(1, 2, 200)
    assert script.slow_error(s, s) == 0
    assert script.slow_error(100 * s, s) == pytest.approx(2)
    assert script.slow_error(0 * s, s) == 3
    fast = s.copy()
    fast[33:] *= 100
    fast[0] = 1e9
    assert script.slow_error(fast, s) == 0
    one = s.copy()
    one[32] *= 10
    assert script.slow_error(one, s) == pytest.approx(32**-0.5)


def test_cycles_of_made_up_bursts(script):
    x = -np.ones(6000)
    for first in (100, 1500, 3100, 4300):
        for k in range(4):
            x[first + 150 * k : first + 150 * k + 10] = 1.5
    assert script.cycles(x, 500).tolist() == [1600, 1200]  # the first burst has no beginning that is known
    assert len(script.cycles(np.zeros(100), 500)) == 0
    assert len(script.cycles(x, None)) == 0


def test_a_lost_run_stays_where_it_was(script):
    assert script.held(np.array([1.0, 2.0, np.nan, 3.0])).tolist() == [1, 2, 2, 2]
    assert script.held(np.array([1.0, 1e9, 3.0])).tolist() == [1, 1, 1]
    assert script.held(np.array([1.0, -2.0])).tolist() == [1, -2]


def test_windows_from_rest_have_no_past_and_others_have(script):
    x = np.arange(1500.0)[:, None]
    cut = script.at_rest(x, 200)
    assert cut.shape == (7, 201, 1)
    assert (cut[2, :, 0] == np.arange(402, 603)).all()
    network, generator = script.IncrementNetwork(lemode.LEM(1, 2), 2, 1), torch.Generator().manual_seed(0)
    for series, from_rest in ((cut.swapaxes(0, 1), True), (x[:, None], False)):
        starts = Starts(Series(torch.tensor(series, dtype=torch.float32)), 200)
        starts.refresh(network, generator)
        assert all(state is None for _, state in starts.states) == from_rest


def test_all_windows_have_as_many_samples_in_a_step():
    spec = importlib.util.spec_from_file_location("long_memory", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for kind, window in module.ARMS.values():
        assert kind in ("ESN", "readout") or module.PER_STEP % window == 0
        assert window < module.VALIDATE < module.TRAIN


def test_spread_time_scales(script):
    network = script.Spread(hidden_size=64, train="all")._build(1, 0, torch.float32)
    scales = lemode.analysis.timescales(network.core, torch.zeros(1, 1)).median
    assert 1.9 < scales.min() < 5
    assert 800 < scales.max() < 2100
    settings = {"steps": 1, "lr": 1e-9, "window": 20, "washout": 5, "verbose": 0}
    fitted = script.Spread(hidden_size=64, train="all", **settings).fit(np.sin(np.arange(99, dtype=np.float32)))
    drawn, kept = (n.core.layers()[0].ode.stacked_bias() for n in (network, fitted.network_))
    torch.testing.assert_close(kept, drawn, rtol=0, atol=1e-6)  # a fit begins from them


@pytest.mark.parametrize("arm", [SHORT, "LEM, windows of 200"])
def test_a_row(script, arm, monkeypatch):
    cut, at_rest = [], script.at_rest
    monkeypatch.setattr(script, "at_rest", lambda *args: cut.append(args) or at_rest(*args))
    row = script.fit_and_judge("noisy", arm, 0, {"spread": True})
    assert len(cut) == (arm == SHORT)
    assert 0 < row["slow"] <= 3
    assert row["scales"][0] < row["scales"][1]
    assert len(row["run"]) == 125
    assert len(row["spectrum"]) == len(script.bands()) - 1


def test_run_waits_for_its_settings_and_goes_on(script, tmp_path, capsys):
    calls = []
    script.fit_and_judge = lambda *key: calls.append(key) or {"slow": 1 + len(calls), "seconds": 1.0, "spectrum": [], "run": []}
    script.run(options(tmp_path))
    assert not calls
    script.tune(options(tmp_path))
    assert len(calls) == 9
    script.run(options(tmp_path))
    assert [key[:2] for key in calls[9:]] == [("clean", SHORT), ("noisy", SHORT), ("climate", SHORT)]
    assert calls[9][3] == script.CHOICES["rest"][0]  # the first one had the smallest error
    script.tune(options(tmp_path))
    script.run(options(tmp_path))
    assert len(calls) == 12


def test_table_tells_a_failure(script, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(script, "FIGURE", tmp_path / "f.svg")
    row = {
        "slow": 2.5,
        "bursts": 0,
        "scales": [2.0, 9.0],
        "seconds": 1.0,
        "spectrum": [1.0] * (len(script.bands()) - 1),
        "run": [0.0] * 1250,
    }
    monkeypatch.setattr(script, "T", 12_000)
    monkeypatch.setattr(script, "TRAIN", 12_000)
    good = {**row, "slow": 0.5, "bursts": 7, "cycle": 1400.0, "sd": 200.0}
    better = {**good, "slow": 0.4}
    arms = {SHORT: row, "LEM, windows of 200": better, "LEM, windows of 10,000": good}
    lines = [[["clean", arm, 0], row] for arm, row in arms.items()]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    script.table(options(tmp_path))
    printed = capsys.readouterr().out
    assert f"| {SHORT} | 1 | 2.50 [2.50, 2.50] | 0 [0, 0] | none | none |" in printed
    assert "**0.20** times the error of windows of 200 from rest: at least halved" in printed
    assert "**1.25** times the error of windows of 200: not halved" in printed
    assert (tmp_path / "f.svg").stat().st_size > 1000
