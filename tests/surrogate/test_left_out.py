"""Heads on blocks of their series that they have not seen, `lemode.surrogate.left_out`."""

import numpy as np
import pytest
import torch

import lemode
from lemode.surrogate.draws import Draw, draw
from lemode.surrogate.left_out import BLOCKS, LeftOut
from lemode.surrogate.readout_network import ReadoutNetwork
from lemode.surrogate.regression import FLOOR, Regression
from lemode.surrogate.series import Series

T = 101


def problem(x, known=None, units=5):
    network = ReadoutNetwork(lemode.LEM(x.shape[1], units, dtype=torch.float64), x.shape[1])
    draw(network.core, Draw(), torch.Generator().manual_seed(0))
    network.set_scales(torch.from_numpy(x[:, None]))
    series = Series(network.normalise(torch.from_numpy(x[:, None])))
    regression = Regression(network, series, known, torch.Generator().manual_seed(0))
    return network, series, LeftOut(regression, series, known)


@pytest.mark.parametrize("missing", [False, True])
def test_the_error_is_that_of_lstsq_without_the_block(missing):
    x = np.random.default_rng(0).standard_normal((T, 2)).cumsum(0)
    there = np.ones((T - 1, 1, 2))
    if missing:
        there[30:50] = 0
    network, series, left_out = problem(x, torch.from_numpy(there) if missing else None)
    f, _ = network.features(*series.known())
    rows = np.c_[np.ones(T - 1), f[:-1, 0].detach().numpy()]
    target = ((series.x[1:] - series.x[:-1]) / network.increment)[:, 0].numpy()
    weights, square = there[:, 0, 0], []
    for k in range(1, BLOCKS):
        inside = (np.arange(T - 1) >= 20 * k) & (np.arange(T - 1) < 20 * (k + 1))
        w = np.sqrt(weights * ~inside)[:, None]
        head = np.linalg.lstsq(w * rows, w * target, rcond=None)[0]
        error = (network.increment.numpy() * (target - rows @ head))[inside]
        square.append((error**2).mean())
    # 1e-6: the ridge of 1e-14, and a problem of 13 columns whose condition is 1e4 at most
    assert left_out.error((0.0, 1e-14)) == pytest.approx(np.sqrt(np.mean(square)), rel=1e-6)


def test_the_first_block_is_never_left_out():
    """An outlier there changes what is learned, and is not judged."""
    x = np.sin(0.3 * np.arange(T))[:, None]
    x[7] += 1e3
    _, _, left_out = problem(x)
    # the outlier is ten standard deviations: its constant is .1 of one, and its own two steps of twenty would make 3 of the mean
    assert left_out.error((0.0, FLOOR)) < 0.5


def test_what_is_learned_of_one_block_alone_is_refused():
    """A bump that is there only once: a wide head makes nothing of it, and does harm; where it comes again, it is learned."""
    k = np.arange(601)
    noise = 0.01 * np.random.default_rng(1).standard_normal(601)

    def bumps(*at):
        return (sum(np.exp(-(((k - a) / 3.0) ** 2) / 2) for a in at) + noise)[:, None]

    assert problem(bumps(300), units=100)[2].worse((0.0, 1e-14))
    assert not problem(bumps(*range(20, 601, 30)), units=100)[2].worse((0.0, 1e-6))


def test_blocks_in_which_all_that_was_observed_lies_are_left():
    there = torch.zeros(T - 1, 1, 1, dtype=torch.float64)
    there[41:59] = 1
    _, _, left_out = problem(np.sin(0.3 * np.arange(T))[:, None], there)
    assert np.isfinite(left_out.error((0.0, 1e-6)))
