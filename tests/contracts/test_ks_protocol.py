"""benchmarks/ks_protocol.py: its data, its measure, and the readout and peers it compares."""

import importlib.util
import itertools
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import lemode

F64 = torch.float64


def _load(name):
    path = Path(__file__).parents[2] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


peers = _load("ks_protocol_peers")
solved = _load("ks_protocol_readout")
ks = _load("ks_protocol")  # which imports both


def small(n=4, samples=260, kept=60, seed=0):
    u, length, ends = ks.starts(n, 64, np.random.default_rng(seed))
    L, dt = 22 * length, 0.2 * ends
    return {"u": ks.solve(u, L, dt, samples, kept, 2).astype(np.float32), "L": L, "dt": dt}


def readout(**settings):
    net = solved.Readout(**{"units": 8, "block": 4, "far": 8, "shifts": (0.0, 0.8), **settings})
    u = torch.randn(4, 32, dtype=F64)
    net.set_scales(u, torch.full((4,), 22.0, dtype=F64), 0.1 * torch.ones(4, 32, dtype=F64))
    net.C = 0.1 * torch.randn(net.columns, generator=torch.Generator().manual_seed(1), dtype=F64)
    return net


def test_series_of_one_batch_are_those_of_each_alone():
    u, length, _ = ks.starts(2, 64, np.random.default_rng(0))
    L, dt = 22 * length, np.array([0.19, 0.21])
    both = ks.solve(u, L, dt, 20, 1)
    alone = ks.solve(u[1:], L[1:], dt[1:], 20, 1)
    np.testing.assert_allclose(both[1:], alone, rtol=0, atol=1e-12)
    system = lemode.systems.KuramotoSivashinsky(L=float(L[1]), N=64, step=0.21 / ks.SUBSTEPS)
    np.testing.assert_allclose(alone[0, 0], system.solve(u[1], [0.0, 19 * 0.21])[-1], rtol=0, atol=1e-9)


def test_starts_have_one_or_two_periods():
    u, length, ends = ks.starts(50, 64, np.random.default_rng(0))
    assert np.abs(np.fft.rfft(u)[:, [0, *range(3, 33)]]).max() < 1e-12
    assert all(v.min() >= 0.9 and v.max() <= 1.1 for v in (length, ends))


@pytest.mark.parametrize("L", [20.0, 26.0])
def test_window_holds_values_at_fixed_distances(L):
    net = readout()

    def field(x):
        return torch.sin(2 * math.pi * x / L) + 0.5 * torch.cos(2 * math.pi * 3 * x / L + 1)

    x = torch.arange(32, dtype=F64) * L / 32
    lengths = torch.tensor([L], dtype=F64)
    w = net.window(torch.fft.rfft(field(x)[None]), solved.wavenumbers(x, lengths), 32)
    at = x[:, None] + net.h * torch.arange(-8, 9, dtype=F64)
    torch.testing.assert_close(w[0], field(at), rtol=0, atol=1e-12)


def test_states_are_those_of_a_lem_after_one_step_from_rest():
    net = solved.Readout(units=6, block=6)
    lem = lemode.LEM(13, 6, dtype=F64)
    with torch.no_grad():
        for name, p in lem.named_parameters():
            if "weight_ih" in name:
                p.copy_(net.V.T)
            elif "weight_zy" in name:
                p.copy_(net.W_y[0].T)
            elif "bias" in name:
                p.copy_(net.b)
        u = torch.randn(5, 13, dtype=F64)
        y, z = lem.states(u[None])[0]
    torch.testing.assert_close(net.states(u @ net.V + net.b), torch.cat([y[0], z[0]], -1), rtol=0, atol=1e-12)


def test_readout_conserves_the_mean_and_knows_the_mirror():
    net, u, L, dt = (
        readout(),
        torch.randn(3, 32, dtype=F64),
        torch.tensor([20.0, 22.0, 24.0], dtype=F64),
        torch.full((3,), 0.21, dtype=F64),
    )
    u = torch.fft.irfft(torch.fft.rfft(u)[:, :8], 32)
    ahead = net(u, L, dt)
    assert float((ahead - u).abs().max()) > 1e-3
    torch.testing.assert_close(ahead.mean(-1), u.mean(-1), rtol=0, atol=1e-13)
    torch.testing.assert_close(net(-u.flip(-1), L, dt), -ahead.flip(-1), rtol=0, atol=1e-12)
    # the columns of the fit are those of the step
    f, base = net.features(u, L, dt)
    torch.testing.assert_close(base + net.scale * (f @ net.C), ahead, rtol=0, atol=1e-12)


def test_a_head_for_much_noise_takes_it_away():
    part, xi = small(), torch.randn(4, 32, dtype=F64)
    u, L, dt = ks.coarse(part)
    net = solved.Readout(units=8, block=4, far=6, shifts=(0.0,))
    rows = solved.Rows(net, u, L, dt, 4)
    rows.fill(20 * net.columns)
    answers = []
    for noise in (1e-3, 1e3):
        net.C = rows.head(noise)
        up, down = (net(u[:, 0].double() + s * 1e-6 * xi, L, dt) for s in (1, -1))
        answers.append(float((up - down).norm() / 2e-6 / xi.norm()))
    assert answers[1] < 0.5 < answers[0]


def test_finer_points_have_the_same_waves():
    x = torch.arange(32, dtype=F64) / 32
    fine = ks.finer(torch.sin(2 * math.pi * 3 * x)[None], 64)
    torch.testing.assert_close(fine[0], torch.sin(2 * math.pi * 3 * torch.arange(64, dtype=F64) / 64), rtol=0, atol=1e-12)


def test_correlation_time_of_made_up_runs():
    x = 2 * math.pi * torch.arange(32, dtype=F64) / 32
    truth = x.sin().expand(2, 6, 32)
    # waves that are a known angle apart: the correlation is its cosine
    angles = torch.tensor([[0.0, 0.1, 0.2, 0.5, 0.9, 1.5], [0.0, 0.1, 0.2, 0.6, 0.9, 0.0]], dtype=F64)
    free = (x + angles[..., None]).sin()
    c = ks.correlations(free, truth)
    torch.testing.assert_close(c, angles.cos().mean(0))
    assert ks.time_above(c, 0.9, 0.8) == pytest.approx(2 * 0.8)
    assert ks.time_above(c, 0.8, 0.8) == pytest.approx(3 * 0.8)
    assert ks.time_above(c, -1.0, 0.8) == pytest.approx(5 * 0.8)
    free[0, 3:] = math.nan
    assert float(ks.correlations(free, truth)[3]) == pytest.approx(math.cos(0.6) / 2)


@pytest.mark.parametrize(("name", "size"), [("U-Net", {"channels": [8, 16]}), ("FNO", {"width": 8, "modes": 6, "layers": 2})])
def test_peers(name, size, monkeypatch):
    network = peers.MAKE[name](**size)
    about = torch.randn(3, 2)
    out = network(torch.randn(3, 32), about)
    assert out.shape == (3, 32)
    out.sum().backward()
    part, asked = small(samples=60, kept=30), []
    ticks = itertools.count()  # each look at the clock is a hundredth of a second
    monkeypatch.setattr(peers, "time", SimpleNamespace(process_time=lambda: next(ticks) / 100))
    step, info = peers.train(name, *ks.coarse(part), 4, 0.5, lambda step: asked.append(step) or 1.0, 4, 1e-3, judged=2, **size)
    assert 20 <= info["steps"] <= 25  # of half a second, two looks for each
    assert len(asked) == 2
    found = ks.judged(step, part)
    assert 0 < found["one_step"] < 3


def test_readout_of_four_series():
    part = small(samples=400, kept=120)
    step, info = ks.fit_readout(1.0, part, part, units=16, far=6, shifts=(0.0, 1.2))
    found = ks.judged(step, part)
    assert info["parameters"] < 5000
    assert found["one_step"] < 0.1
    assert found["time_0.8"] > 4
