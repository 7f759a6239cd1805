"""A fit that is worth little is called so, beside persistence, beside a linear autoregression, and by where its free runs go."""

import math

import numpy as np
import pytest
import torch

from lemode import LEM
from lemode.baselines import Autoregression
from lemode.surrogate.network import IncrementNetwork
from lemode.surrogate.run import History, Stopped
from lemode.surrogate.series import Series
from lemode.surrogate.worth import Worth, measure, verdict

RAN = [0.5] * 500  # losses of a fit that ran its course


def adding(step, dimension=1, inputs=0):
    """A network that adds so much at every step."""
    network = IncrementNetwork(LEM(dimension + 2 * inputs, 2), 2, dimension, inputs=inputs).double()
    torch.nn.init.zeros_(network.head.weight)
    torch.nn.init.constant_(network.head.bias, step)
    return network


def noise(T, n=1, D=1, seed=0):
    return torch.randn(T, n, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_autoregression_is_that_of_the_baselines():
    x = noise(300, 2, 2).cumsum(0) + 0.5 * noise(300, 2, 2, seed=1)
    training, judge = Series(x[:200]), Series(x[200:])
    found = measure(adding(0.0, 2), training, judge, warmup=10)
    model = Autoregression(lags=2).fit(training.x.transpose(0, 1).numpy())
    predicted = model.predict(judge.x.transpose(0, 1).numpy())
    error = (predicted[:, :-1] - judge.x[1:].transpose(0, 1).numpy())[:, 10:]
    # a ridge there, and none here
    assert found.autoregression == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-3)
    assert found.error == found.persistence == pytest.approx((judge.x[1:] - judge.x[:-1])[10:].square().mean().sqrt().item())


def test_inputs_and_missing_values_count():
    u = noise(200)
    x = torch.cat([torch.zeros(1, 1, 1), u[:-1] + u[1:]]).cumsum(0)
    e = torch.cat([u, torch.cat([u[1:], u[-1:]])], -1)
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[::7] = False
    whole, torn = Series(x, e), Series(torch.where(mask, x, 1e3), e, mask=mask)
    shift = Series(x[:-1] + 0.0, e[:-1])
    for series in (whole, torn, shift):
        found = measure(adding(0.0, inputs=1), series, series, warmup=5)
        assert found.autoregression < 1e-6  # what comes next is the value and the inputs at both ends of the step
        assert found.persistence > 1


def test_what_cannot_be_compared_is_left_out():
    for series in (Series(noise(50, 1, 70)), Series(noise(50), r=torch.ones(50, 1, 2, dtype=torch.float64))):
        found = measure(adding(0.0, series.x.shape[-1]), series, series, warmup=5)
        assert math.isnan(found.autoregression)
        assert found.persistence > 0
        assert "autoregression" not in (verdict(found, ("x",) * 70, History(loss=RAN)) or "").split("take")[0]


def test_a_free_run_that_leaves_names_the_variable_and_the_step():
    wave = torch.sin(0.3 * torch.arange(200, dtype=torch.float64))[:, None, None].repeat(1, 1, 2)
    network = adding(0.0, 2)
    with torch.no_grad():
        network.head.bias[1] = 0.1  # a whole range, which is two, beyond the end of it: from sin(3) = 0.14 in 29 steps to 3
    found = measure(network, Series(wave), Series(wave), warmup=11)
    assert (found.left_at, found.left_by) == (29, 1)
    sentence = verdict(Worth(0.1, 1.0, 0.5, found.left_at, found.left_by), ("v", "w"), History(loss=RAN))
    assert "after 29 steps along the validation series w is far outside" in sentence
    assert "that of persistence 1, and that of a linear autoregression 0.5" in sentence
    with torch.no_grad():
        network.head.bias[1] = math.nan
    assert measure(network, Series(wave), Series(wave), warmup=11).left_at == 1


@pytest.mark.parametrize(
    ("error", "autoregression", "worth_little"),
    [
        (0.1, 0.01, False),
        (0.6, 0.9, False),
        (0.6, 0.5, True),
        (1.2, 0.5, True),
        (1.2, math.nan, True),
        (0.9, 1.5, False),
        (math.nan, 1, True),
    ],
)
def test_it_is_worth_little_if_it_beats_nothing(error, autoregression, worth_little):
    for history in (History(loss=RAN), History(stopped=Stopped.SOLVED)):
        assert (verdict(Worth(error, 1.0, autoregression), ("x",), history) is not None) == worth_little
    for history in (History(loss=RAN[:499]), History(loss=RAN, stopped=Stopped.DIVERGED)):
        assert verdict(Worth(error, 1.0, autoregression, 3), ("x",), history) is None
