"""One long series: what is held out begins where the rest ended, and a batch is made of its windows."""

import copy

import numpy as np
import pytest
import torch

from lemode import LEM, Surrogate, Trajectories
from lemode.surrogate.bands import residuals
from lemode.surrogate.forecast import free_run_error
from lemode.surrogate.head_errors import head_of, one_step_errors
from lemode.surrogate.network import IncrementNetwork
from lemode.surrogate.readout import Judge
from lemode.surrogate.recipe import Recipe
from lemode.surrogate.run import Run, Starts
from lemode.surrogate.series import Series, lay_out
from lemode.surrogate.worth import measure

T, CUT = 120, 90


def slow_network():
    """One that needs many samples to find its state: steps of 0.1."""
    torch.manual_seed(0)
    network = IncrementNetwork(LEM(1, 6, dt=0.1, dtype=torch.float64), 6, 1, torch.float64)
    with torch.no_grad():
        network.head.weight.normal_()
    return network


def wave(n=1):
    """Series ``(T, n, 1)`` far from zero, which is where the state begins."""
    k = torch.arange(T, dtype=torch.float64)[:, None]
    return (2 + torch.sin(0.3 * k + torch.arange(n)))[..., None]


def told(network, x):
    """By hand: errors of one step over the last part, in increments, of a network that has read all of it."""
    increments, _ = network(x[:-1])
    return ((x[1:] - x[:-1]) / network.increment - increments)[CUT:]


def validated(network, series, **recipe):
    """The error that a fit would judge it by."""
    starts = Starts(series, window=20)
    return Run(
        network, torch.optim.Adam(network.parameters()), torch.Generator(), Recipe(washout=5, **recipe), starts
    ).validate(series)


@torch.no_grad()
def test_the_past_finds_the_state_and_is_not_judged():
    network, x = slow_network(), wave()
    error = told(network, x)
    series = Series(x, lead=CUT)
    # the judged steps are those from a sample of the last part
    expected = float(error.square().mean().sqrt())
    assert validated(network, series) == pytest.approx(expected, rel=1e-12)
    assert validated(network, Series(x[CUT:])) != pytest.approx(expected, rel=0.01)  # from rest it is another
    assert measure(network, series, series, warmup=5).error == pytest.approx(expected, rel=1e-12)
    kept = torch.tensor(residuals(network, series, skip=5), dtype=torch.float64) / network.increment
    torch.testing.assert_close(kept, error[:, 0], rtol=1e-12, atol=1e-12)


@torch.no_grad()
def test_so_do_readouts():
    network, x = slow_network(), wave()
    series, expected = Series(x, lead=CUT), float((told(network, x) * network.increment).square().mean().sqrt())
    found = one_step_errors(network, head_of(network)[None], series)
    assert float(found[0]) == pytest.approx(expected, rel=1e-12)
    judge = Judge.along(series, washout=20, seed=0)  # runs are many, their past is of four washouts
    assert (len(judge.validation.x), judge.warmup, judge.horizon) == (80 + T - CUT, 80, T - CUT)
    torch.testing.assert_close(judge.validation.x[80:], x[CUT:])
    # after 80 samples the state has forgotten rest, exp(-80 / 2 dt) = 2 % of it is left; after one washout, it has not: 37 %
    assert judge.errors(network)[1] == pytest.approx(expected, rel=0.02)
    short = Series(x[CUT - 20 :], lead=20)
    assert Judge.along(short, washout=20, seed=0).errors(network)[1] != pytest.approx(expected, rel=0.1)


@torch.no_grad()
def test_free_runs_begin_behind_the_past():
    network, x = slow_network(), wave()
    changed = x.clone()
    changed[: CUT // 2] += 1e-9  # too little to move the state, enough to be seen if it was judged
    horizon = T - CUT
    whole = free_run_error(network, Series(x, lead=CUT), Series(x, lead=CUT).warmup(5), horizon)
    increments, state = network.step(x[:CUT])
    run = [increments[-1]]
    for _ in range(horizon - 1):
        step, state = network.step(run[-1][None], None, state)
        run.append(step[0])
    by_hand = (torch.stack(run) - x[CUT:]).square().mean(-1).sqrt().clamp(max=1.0).mean()
    assert whole == pytest.approx(float(by_hand), rel=1e-9)


def test_ragged_series_have_a_past_of_one_length_on_the_grid():
    rng = np.random.default_rng(0)
    data = Trajectories.ragged([(np.cumsum(rng.uniform(0.9, 3, k)), rng.normal(size=(k, 1))) for k in (40, 60)], "v")
    grid = lay_out(data, 1.0, 1, lead=10)
    assert grid.lead == grid.at[:, 10].max() > grid.at[:, 10].min()


class TestBatches:
    def starts(self, n=2, batch_size=8):
        network, generator = slow_network(), torch.Generator().manual_seed(0)
        starts = Starts(Series(wave(n)), window=10)
        starts.refresh(network, generator)
        return network, starts, generator

    def test_a_batch_is_filled_with_windows_from_other_times(self):
        network, starts, generator = self.starts()
        whole, _ = network(starts.series.x)
        sizes = set()
        for _ in range(80):
            window, state, washout = starts.draw(8, 3, generator)
            sizes.add((window.x.shape[1], washout))
            increments, _ = network(window.x, None, state)
            for column in range(window.x.shape[1]):  # each is a window of one series, and its state the one of there
                at = [
                    (k, i)
                    for k in range(T - 10)
                    for i in (0, 1)
                    if torch.equal(starts.series.x[k : k + 11, i], window.x[:, column])
                ]
                assert len(at) == 1
                k, i = at[0]
                torch.testing.assert_close(increments[:, column], whole[k : k + 11, i], rtol=1e-9, atol=1e-9)
            places = {window.x[0, column].item() for column in range(window.x.shape[1])}
            assert len(places) == window.x.shape[1]  # none twice
        assert sizes == {(8, 3), (2, 0)}  # those from the beginning are two

    def test_as_many_series_as_a_batch_draw_as_ever(self):
        _, starts, generator = self.starts(n=8)
        other = copy.deepcopy(generator.get_state())
        window, _, _ = starts.draw(8, 3, generator)
        rows = torch.randperm(8, generator=generator.set_state(other))
        begin = starts.states[int(torch.randint(0, len(starts.states), (), generator=generator))][0]
        torch.testing.assert_close(window.x, starts.series.x[begin : begin + 11, rows], rtol=0, atol=0)


def test_a_fit_of_one_series_is_judged_by_what_follows_its_past():
    """A fit is judged as if all of the series had been read, at the end of which the state has long settled."""
    x = np.sin(0.3 * np.arange(400.0))[:, None] + 3
    model = Surrogate(hidden_size=4, dt=0.2, steps=60, window=50, washout=10, train="all", verbose=0).fit(x)
    z = model.network_.normalise(torch.tensor(x))[:, None]
    with torch.no_grad():
        increments, _ = model.network_(z[:-1])
    error = ((z[1:] - z[:-1]) / model.network_.increment - increments)[320:].square().mean().sqrt()
    best = dict(model.history_.validation)[model.history_.best_step]
    assert best == pytest.approx(float(error), rel=1e-9)
