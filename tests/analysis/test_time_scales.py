"""Time scales of units against networks whose gates are known."""

import json
import math

import numpy as np
import pytest
import torch

from lemode import LEM
from lemode.analysis import timescales


def network(tau, dt=1.0, scheme="imex", layers=1):
    """Gates that do not depend on anything: unit i of z has time scale tau[i] (in steps), every unit of y 1/(1/2) dt."""
    rnn = LEM(1, len(tau), num_layers=layers, dt=dt, scheme=scheme, dtype=torch.float64)
    with torch.no_grad():
        for p in rnn.parameters():
            p.zero_()
        for cell in rnn.cells:
            cell.ode.bias[: len(tau)] = torch.tensor(
                [math.log(1 / (dt * t - 1)) for t in tau], dtype=torch.float64
            )  # logit of 1 / (dt tau)
    return rnn


U = torch.linspace(-1, 1, 30, dtype=torch.float64).view(30, 1)


def test_constant_gates_give_their_inverse_rate():
    s = timescales(network([2.0, 10.0, 400.0]), U, dt_physical=0.1)
    # all quantiles agree, as the gates do not move; 1e-12: rounding of logit and sigmoid
    assert np.allclose(s.z[0], 0.1 * np.array([2.0, 10.0, 400.0]), rtol=1e-12)
    assert np.allclose(s.y[0], 0.2, rtol=1e-12)
    assert s.spread == pytest.approx(200.0)
    assert s.median.shape == (1, 2, 3)


@pytest.mark.parametrize(
    ("scheme", "leak"),
    [
        ("imex", lambda x: x),
        ("explicit", lambda x: x),
        ("semi_implicit", lambda x: x / (1 + x)),
        ("exponential", lambda x: 1 - np.exp(-x)),
    ],
)
def test_the_leak_is_the_schemes(scheme, leak):
    s = timescales(network([4.0], dt=0.5, scheme=scheme), U)
    assert s.y[0, 0, 0] == pytest.approx(1 / leak(0.25), rel=1e-12)  # gate 1/2, dt 1/2


def test_gates_are_those_of_the_step():
    # the definition, x_n - x_{n-1} = l (target - x_{n-1}), solved for l on the network's own states
    torch.manual_seed(0)
    rnn = LEM(2, 3, num_layers=2, dt=0.8, dtype=torch.float64)
    u, start = torch.randn(40, 1, 2, dtype=torch.float64), tuple(0.5 * torch.randn(2, 2, 1, 3, dtype=torch.float64))
    s = timescales(rnn, u, start)
    below = u
    with torch.no_grad():
        for k, (cell, (ys, zs)) in enumerate(zip(rnn.cells, rnn.states(u, start), strict=True)):
            p = cell.ode.blocks()
            y, z = torch.cat([start[0][k][None], ys[:-1]]), torch.cat([start[1][k][None], zs[:-1]])
            lz = (zs - z) / (torch.tanh(y @ p.Wz.T + below @ p.Vz.T + p.bz) - z)
            ly = (ys - y) / (torch.tanh(zs @ p.Wy.T + below @ p.Vy.T + p.by) - y)
            for got, leak in ((s.z[k], lz), (s.y[k], ly)):
                # 1e-8: the quotient loses digits where the state is close to its target
                assert np.allclose(got, np.quantile(1 / leak[:, 0].numpy(), s.quantiles, axis=0), rtol=1e-8)
            below = ys


def test_known_scales():
    s = timescales(network([2.0, 10.0, 400.0]), U, dt_physical=0.1, known=[1.5, 100.0])
    one, far = s.known
    # medians: z 0.2, 1, 40; y three times 0.2
    assert one.units_within_2 == pytest.approx(1 / 6)
    assert one.visits_within_2 == pytest.approx(1 / 6)
    assert one.nearest == (0, "z", 1)
    assert one.nearest_scale == pytest.approx(1.0)
    assert far.units_within_2 == 0.0
    assert far.nearest == (0, "z", 2)


def test_table_and_dict():
    s = timescales(network([2.0, 10.0], layers=2), U.unsqueeze(1).expand(30, 4, 1), known=[10.0])
    lines = str(s).splitlines()
    assert len(lines) == 1 + 4 + 2
    assert "z[1] of layer 0 at 10" in lines[-1]
    back = json.loads(json.dumps(s.to_dict()))
    assert np.array_equal(back["z"], s.z)
    assert back["known"][0]["nearest"] == [0, "z", 1]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: timescales(torch.nn.LSTM(1, 2), U), TypeError, "LSTM is not a LEM"),
        (lambda: timescales(network([2.0]), U.numpy()), TypeError, "torch tensor"),
        (lambda: timescales(network([2.0]), U[:0]), ValueError, "no time steps"),
        (lambda: timescales(network([2.0]), U * math.nan), ValueError, "not finite"),
        (lambda: timescales(network([2.0]), U.expand(30, 3)), ValueError, "3 features"),
        (lambda: timescales(network([2.0]), U, dt_physical=0.0), ValueError, "dt_physical=0"),
        (lambda: timescales(network([2.0]), U, known=[1.0, -2.0]), ValueError, "known="),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()
