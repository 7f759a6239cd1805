"""The time scales of a network whose biases were drawn for them, measured along a series at rest."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

import lemode
from lemode import init


@pytest.mark.parametrize("dt", [1.0, 0.3])
def test_scales_at_rest_are_log_uniform_where_they_were_asked_for(dt):
    low, high = 5.0, 3000.0
    rnn = lemode.LEM(2, 200, num_layers=2, dt=dt, dtype=torch.float64)
    weights = [p.detach().clone() for p in rnn.parameters()]
    assert init.timescales_(rnn, low, high, torch.Generator().manual_seed(0)) is rnn
    # one step from rest; the second layer reads what the first has made of it, so alone it is at rest
    for cell in rnn.cells:
        alone = lemode.LEM(cell.input_size, 200, dt=dt, dtype=torch.float64)
        alone.cells[0] = cell
        found = lemode.analysis.timescales(alone, torch.zeros(1, cell.input_size, dtype=torch.float64)).median[0]
        assert ((found > low * (1 - 1e-9)) & (found < high * (1 + 1e-9))).all()  # rounding of a logit and back
        for scales in found:  # of z and of y
            share = np.log(scales / low) / np.log(high / low)
            assert kstest(share, "uniform").pvalue > 0.01  # of a fixed draw; wrong ones have 1e-30
        assert (
            np.abs(np.corrcoef(np.log(found))[0, 1]) < 0.2
        )  # y and z are drawn each for itself: 3 standard errors of 200 units
    for before, p in zip(weights, rnn.parameters(), strict=True):
        d = 200
        untouched = slice(2 * d, None) if p.dim() == 1 else slice(None)
        assert torch.equal(before[untouched], p[untouched])


def test_equal_scales_are_exact():
    rnn = init.timescales_(lemode.LEM(1, 3, dt=0.5), 40, 40)
    measured = lemode.analysis.timescales(rnn, torch.zeros(1, 1)).median
    assert np.allclose(measured, 40, rtol=1e-5)  # float32


@pytest.mark.parametrize("scheme", ["semi_implicit", "exponential"])
def test_other_schemes_are_at_most_a_step_slower(scheme):
    rnn = init.timescales_(lemode.LEM(1, 3, scheme=scheme), 40, 40)
    measured = lemode.analysis.timescales(rnn, torch.zeros(1, 1)).median
    assert ((measured > 40) & (measured <= 41.001)).all()


def test_the_generator_decides_and_a_cell_is_taken():
    biases = []
    for seed in (1, 1, 2):
        cell = init.timescales_(lemode.LEMCell(1, 4), 2, 9, torch.Generator().manual_seed(seed))
        biases.append(cell.ode.bias[:8].detach())
    assert torch.equal(biases[0], biases[1])
    assert not torch.equal(biases[0], biases[2])


@pytest.mark.parametrize(
    ("network", "low", "high", "error", "words"),
    [
        (lemode.LEM(1, 2, dt=0.5), 2, 9, ValueError, r"tau_min=2 steps with dt=0\.5.*give more than 2\."),
        (lemode.LEM(1, 2), 9, 3, ValueError, "tau_min=9, tau_max=3: give the smaller one first"),
        (lemode.LEM(1, 2), 0, 3, ValueError, "tau_min=0: give a finite positive number"),
        (lemode.LEM(1, 2), 2, float("inf"), ValueError, "tau_max=inf: give a finite"),
        (lemode.LEM(1, 2), 2, "9", TypeError, "tau_max='9': give a number"),
        (lemode.LEM(1, 2, bias=False), 2, 9, ValueError, "bias=True"),
        (torch.nn.LSTM(1, 2), 2, 9, TypeError, "lem is LSTM"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_and_change_nothing(network, low, high, error, words):
    before = [p.detach().clone() for p in network.parameters()]
    with pytest.raises(error, match=words):
        init.timescales_(network, low, high)
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters()))
