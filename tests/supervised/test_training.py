"""The loop: its schedule, its limit on gradients, what it keeps and why it ends."""

import math
import os
import signal

import numpy as np
import pytest
import torch

from lemode.supervised.training import Recipe, train
from lemode.surrogate import FitWarning, interrupts


class Number(torch.nn.Module):
    def __init__(self, value=0.0):
        super().__init__()
        self.x = torch.nn.Parameter(torch.tensor(value))


def test_the_schedule_rises_and_falls_to_nothing():
    """Adam's step on a constant slope is the learning rate."""
    net, seen = Number(), []

    def loss():
        seen.append(net.x.item())
        return net.x

    train(net, loss, None, Recipe(steps=100, lr=1.0))
    steps = -torch.tensor([*seen, net.x.item()]).diff()
    expected = torch.tensor([min(1, (k + 1) / 20) * 0.5 * (1 + math.cos(math.pi * k / 100)) for k in range(100)])
    assert torch.allclose(steps, expected, atol=1e-4)  # float32 sums up to 50


def test_gradients_are_limited(monkeypatch):
    norms = []
    clip = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda p, limit: (norms.append(limit), clip(p, limit))[1])
    train(Number(), lambda: 1e6 * net.x, None, Recipe(steps=2, clip=0.5)) if (net := Number()) else None
    assert norms == [0.5, 0.5]


def test_the_best_weights_are_left_and_not_the_last():
    net = Number()
    history = train(net, lambda: net.x, lambda: abs(net.x.item() + 3), Recipe(steps=100, lr=0.2, validate_every=5))
    assert abs(net.x.item() + 3) == min(error for _, error in history.validation)
    assert history.best_step < 100
    assert history.validation[-1][0] == 100
    assert not net.training


def test_the_last_step_is_validated_once():
    for steps, expected in ((10, [5, 10]), (12, [5, 10, 12])):
        net = Number()
        history = train(net, lambda net=net: net.x, lambda net=net: net.x.item(), Recipe(steps=steps, validate_every=5))
        assert [step for step, _ in history.validation] == expected


def test_a_loss_that_is_not_finite_ends_it_with_the_best_weights():
    net, calls = Number(), []

    def loss():
        calls.append(0)
        return net.x * (math.nan if len(calls) == 13 else 1.0)

    with pytest.warns(FitWarning, match="diverged at step 13; the weights of step 10 were restored"):
        history = train(net, loss, lambda: net.x.item(), Recipe(steps=50, validate_every=5))
    assert history.stopped == "diverged"
    assert len(history.loss) == 12
    assert net.x.item() == dict(history.validation)[10]


def test_validation_that_is_never_finite_leaves_the_last_weights():
    net = Number()
    history = train(net, lambda: net.x, lambda: math.nan, Recipe(steps=20, validate_every=5, patience=1))
    assert history.best_step == 20
    assert net.x.item() < 0


def interrupted(step, validate, steps=40):
    """A fit to which SIGTERM comes in the middle of a step."""
    line, x, count = torch.nn.Linear(1, 1), torch.linspace(-1, 1, 20)[:, None], [0]

    def loss():
        count[0] += 1
        if count[0] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return (line(x) - 2 * x).square().mean()

    def error():
        return float((line(x) - 2 * x).square().mean())

    return train(line, loss, error if validate else None, Recipe(steps=steps, lr=0.1, validate_every=10))


@pytest.mark.parametrize("validate", [True, False])
def test_a_signal_ends_the_step_and_keeps_the_best_weights(validate, monkeypatch):
    monkeypatch.setattr(interrupts, "_interrupted", -np.inf)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.warns(
        FitWarning, match=rf"was interrupted at step 23; the weights of step {20 if validate else 23} were restored"
    ):
        history = interrupted(23, validate)
    assert (history.stopped, len(history.loss)) == ("interrupted", 23)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_before_there_are_weights_is_passed_on(monkeypatch):
    monkeypatch.setattr(interrupts, "_interrupted", -np.inf)
    with pytest.raises(KeyboardInterrupt, match="SIGTERM"):
        interrupted(7, validate=True)
