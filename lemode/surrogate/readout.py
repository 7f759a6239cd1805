r"""Training of the head alone, over a random core: a least-squares problem, solved as one.

What is not determined by the data, how the core is drawn, how many values it reads and how strongly the head is held back, is chosen
by free runs on the validation series. Nothing is admitted that is worse there than the linear autoregression with the same inputs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from .autoregressions import WIDE, Autoregressions, with_units
from .draws import DRAWS, Draw, drawn
from .forecast import fill
from .head_errors import TIE, free_errors, head_of, known_rows, luck, one_step_errors, set_head
from .left_out import LeftOut
from .losses import trust
from .network import IncrementNetwork
from .phases import spend
from .progress import Progress
from .readout_network import ReadoutNetwork, random_core
from .regression import FLOOR, Regression
from .run import History, Stopped
from .seeds import torch_stream
from .series import Series

__all__ = ["NOISES", "RIDGES", "Judge", "Problem", "fit_readout"]

# Ridges in units of the mean square of a feature. The triangle is solved by its singular values, so that those below the rounding
# errors of the normal equations count: noise-free data are best with 1e-22 and less, measured ones with 1e-6 and more.
RIDGES = (1e-28, 1e-25, 1e-22, 1e-18, 1e-14, 1e-10, 1e-8, 1e-6, 1e-3)
# of the white noise on what is read, in increments
NOISES = (0.0, 1e-6, 1e-4, 1e-3, 1e-2, 2e-1)
HEADS = tuple((noise, ridge) for noise in NOISES for ridge in RIDGES)
FEW_HEADS = tuple((noise, ridge) for noise in (0.0, 1e-6, 1e-3, 1e-1) for ridge in (1e-26, 1e-20, 1e-13, 1e-8))

# with how many units, and on which part of the data, the ways to draw a core are compared
SEARCH_UNITS, SEARCH_SERIES, SEARCH_SAMPLES = 100, 16, 500

# delays that are looked at with the best draw, and taken if they are better by so much: a season is a linear matter
FAR, FURTHER = (12, 24), 1.1

# Where there is a past, that of the end of one long series, or of each of several as much as leaves room for free runs of full length,
# they are judged after so many washouts: after one alone a slow memory has not forgotten that it began at rest, and what is best with a
# past would look the worst. Of FitzHugh-Nagumo with 5 % of noise and gates that are nearly closed, free runs err by .19 after one washout
# and by .07 after four.
PAST = 4

# Samples up to which heads are asked what they make of parts that they have not seen: of more, the end that is held out is long, and to
# factor all once more takes as long as the fit.
LEFT_OUT = 20_000

# of the validation free runs: starts, and samples; in longer ones of a chaotic system all have failed alike
FEW_STARTS, STARTS, HORIZON, FINALISTS = 8, 10, 400, 8
# heads whose errors in the first look differ by less are one
ALIKE = 1.001


class Choice(NamedTuple):
    """A head that was chosen, by its errors on the validation series, beside those of the one it had to beat.

    Attributes
    ----------
    noise, ridge : of the head; NaN for the reference
    coefficients : ``(1 + features, D)``, of the one first
    free, one_step : error of free runs, see `free_errors`, and root mean square of one step, in standard deviations
    reference_free, reference_one_step : those of the reference
    """

    noise: float
    ridge: float
    coefficients: Tensor
    free: float
    one_step: float
    reference_free: float
    reference_one_step: float

    @property
    def score(self) -> float:
        """The geometric mean of both errors."""
        return math.sqrt(self.free * self.one_step)


@torch.no_grad()
def choose(
    network: IncrementNetwork,
    heads: Tensor,
    pairs: Sequence[tuple[float, float]],
    reference: Tensor,
    validation: Series,
    warmup: int,
    horizon: int,
    finalists: int = FINALISTS,
    starts: int = STARTS,
    left_out: LeftOut | None = None,
) -> Choice:
    """The head with the smallest product of its free-run and its one-step error on the validation series.

    Refused is what is worse than the reference in either by more than TIE, or better in both together by less than chance would have it on
    so few values, `luck`. Of those within TIE of the best, that with the largest ridge and noise. With finalists > 0 the first look is at
    few starts and short runs, and only so many see the second.

    Parameters
    ----------
    heads, pairs : coefficients ``(heads, 1 + features, D)``, and the noise and the ridge of each
    reference : ``(1 + features, D)``, of the head to beat
    validation, warmup, horizon : of the free runs, in samples
    starts : free runs of each head, in the last look
    left_out : refused, too, is a head that does worse on parts of its series that it has not seen
    """
    every = torch.cat([heads, reference[None]])
    one = one_step_errors(network, every, validation)
    last = len(heads)

    def scores(index: list[int], starts: int, horizon: int) -> tuple[list[float], Tensor]:
        free = free_errors(network, every[index], validation, warmup, horizon, starts)
        o = one[index]
        s = (free * o).sqrt()
        # the reference is the last of every index
        s[:-1][s[:-1] > (1 - luck(validation, network.increment)) * s[-1]] = math.inf
        s[:-1][(free[:-1] > TIE * free[-1]) | ~(o[:-1] <= TIE * o[-1])] = math.inf
        return s.tolist(), free

    index = list(range(len(every)))
    s, free = scores(index, starts, max(horizon // 4, 1) if finalists else horizon)
    if finalists:
        index = [*_unlike(s[:-1], pairs)[:finalists], last]
        s, free = scores(index, starts, horizon)
    while True:
        near = [k for k in range(len(index)) if s[k] <= TIE * min(s)]
        weight = [(math.inf, math.inf) if index[k] == last else (pairs[index[k]][1], pairs[index[k]][0]) for k in near]
        k = near[max(range(len(near)), key=lambda j: weight[j])] if near else len(index) - 1
        if index[k] == last or left_out is None or not left_out.worse(pairs[index[k]]):
            break
        s[k] = math.inf
    noise, ridge = (math.nan, math.nan) if index[k] == last else pairs[index[k]]
    return Choice(noise, ridge, every[index[k]], float(free[k]), float(one[index[k]]), float(free[-1]), float(one[last]))


def _unlike(scores: Sequence[float], pairs: Sequence[tuple[float, float]]) -> list[int]:
    """Which are the best, the first one first; of those `ALIKE` the best of them the one with the largest ridge and noise."""
    groups: list[list[int]] = []
    for i in sorted(range(len(scores)), key=lambda i: scores[i]):
        if groups and scores[i] <= ALIKE * scores[groups[-1][0]]:
            groups[-1].append(i)
        else:
            groups.append([i])
    return [max(group, key=lambda i: pairs[i][::-1]) for group in groups]


@torch.no_grad()
def fit_readout(
    network: IncrementNetwork,
    series: Series,
    validation: Series,
    washout: int,
    seed: int,
    delays: int | None = None,
    verbose: int = 0,
    units: int | None = None,
) -> tuple[ReadoutNetwork, History, Problem]:
    """A random core like that of the network, and a head that is solved for; and the problem it solves, to which rows can be added.

    Draws of `DRAWS` are tried with few units and on few series, the best of them with gates that are closed, too, and with values of long
    ago, `FAR`; then all units and all series are used. What is not better than the linear autoregression, `Autoregressions`,
    by more than `luck`, gives way to it. What was chosen is in the history, ``chosen``, and what else was looked at, ``tried``.

    Parameters
    ----------
    network : its core says how many units, layers, and with which dt and scheme; its scales are taken over. A `ReadoutNetwork`, as of a
        warm start, keeps its core, and has its head solved for again.
    series, validation : normalised by it
    washout : samples of truth before a free run
    seed : of the weights and of the noise
    delays : previous values that are read beside the present one; chosen by default
    units : as many as the network has, by default

    Examples
    --------
    >>> waves = torch.sin(torch.linspace(0, 30, 301, dtype=torch.float64)[:, None] + torch.arange(4))[..., None]
    >>> network = IncrementNetwork(lemode.LEM(1, 20, dtype=torch.float64), 20, 1, torch.float64)
    >>> network.set_scales(waves)
    >>> series = Series(network.normalise(waves))
    >>> readout, history, _ = fit_readout(network, series, series, washout=50, seed=0)
    >>> history.chosen["free_error"] <= history.chosen["linear_free_error"] < 1e-12  # a wave is linear
    True
    """
    start, history = time.monotonic(), History(stopped=Stopped.SOLVED)
    series, validation = (s.map(_in_double) for s in (series, validation))
    judge = Judge.along(validation, washout, seed, PAST)
    with threadpool_limits(1, "blas"):
        if isinstance(network, ReadoutNetwork):
            out = network
        else:
            count = random_core(network).hidden_size if units is None else units
            how = _search(network, series, judge, delays, count, history, verbose)
            out = drawn(network, how, count, seed)
        known = known_rows(series)
        regression: Regression | Autoregressions = (rows := judge.regression(out, series, known))
        found = judge.best(rows, left_out=judge.left_out(rows, series, known))
        if out is not network and delays is None:
            plain = Autoregressions(network, series, known, seed)
            floor = judge.best(plain, linear=True)
            if math.isnan(found.noise) or not found.score <= (1 - luck(judge.validation, out.increment)) * floor.score:
                how, regression = replace(how, delays=plain.network.delays), plain
                out = drawn(network, how, count, seed)
                found = floor._replace(coefficients=with_units(floor.coefficients, out, out.delays))
        if out is not network:
            history.chosen.update(how.numbers())
        problem = Problem(regression, found, judge)
        if series.mask is not None:  # what is read where a value is missing: by now, what this head predicts
            set_head(out, found.coefficients)
            filled, weights = fill(out, series, trailing=False)[0], trust(series.mask).double()
            regression = rows = judge.regression(out, filled, weights)
            again = judge.best(rows, left_out=judge.left_out(rows, filled, weights))
            if again.score < found.score:
                problem = Problem(regression, again, judge, filled=True)
                found = again
    set_head(out, found.coefficients)
    scale = float(out.increment.square().mean().sqrt())
    history.validation.append((0, found.one_step / scale))
    history.chosen |= {
        "units": random_core(out).hidden_size, "noise": found.noise, "ridge": found.ridge, "free_error": found.free,
        "one_step_error": found.one_step, "linear_free_error": found.reference_free,
        "linear_one_step_error": found.reference_one_step,
    }  # fmt: skip
    history.seconds = time.monotonic() - start
    spend(history.phases, "readout", history.seconds)
    return out, history, problem


@dataclass(frozen=True)
class Problem:
    """The least squares of a head that was chosen, to be solved again with the rows of what it was judged by.

    A fit that holds out a part of the data itself learns from that part in the end: with the noise and the ridge that were chosen, and
    unless the head that comes of it is worse there.

    Attributes
    ----------
    regression : the rows it was solved from
    chosen : the head, and its noise and ridge; NaN for the linear one
    judge : the series that were held out
    filled : whether rows were taken from what the network itself predicts where values are missing

    Examples
    --------
    >>> x = np.sin(np.linspace(0, 9, 91))
    >>> list(lemode.Surrogate(hidden_size=5, train="readout", washout=5, verbose=0).fit(x).history_.phases)
    ['data', 'readout', 'judging', 'held-out part']
    """

    regression: Regression | Autoregressions
    chosen: Choice
    judge: Judge
    filled: bool = False

    @torch.no_grad()
    def learn_held_out(self, network: ReadoutNetwork) -> None:
        """Solve for the head of the network again, with these rows, too."""
        held, pair = self.judge.validation, (self.chosen.noise, self.chosen.ridge)
        linear = math.isnan(self.chosen.noise)
        known = known_rows(held)
        if self.filled and held.mask is not None:
            known = trust(held.mask).double()
            held = fill(network, held, trailing=False)[0]
        # rows of the past are there already, and of a few beginnings a head with many columns would make too much
        begin = held.lead - 1 if held.lead else 0 if linear else self.judge.warmup
        if begin > 0:
            known = torch.ones_like(held.x[1:]) if known is None else known.clone()
            known[:begin] = 0
        before, former = self.judge.errors(network), head_of(network)
        with threadpool_limits(1, "blas"):
            self.regression.add(held, known)
            head = self.regression.heads([(0.0, FLOOR) if linear else pair])[0]
        set_head(network, with_units(head, network, network.delays) if linear else head)
        # what was learned from is known better, unless the head has gone wrong
        if any(not after <= TIE * error for error, after in zip(before, self.judge.errors(network))):
            set_head(network, former)


class Judge(NamedTuple):
    """The validation series, and how free runs along them are made.

    Examples
    --------
    >>> Judge.along(Series(torch.zeros(30, 1, 1)), washout=50, seed=0)[1:]
    (15, 15, 0)
    >>> many = Judge.along(Series(torch.zeros(1000, 16, 1)), washout=50, seed=0)
    >>> many.warmup, many.horizon, many.with_all_the_past().warmup
    (50, 400, 600)
    >>> Judge.along(Series(torch.zeros(1000, 16, 1)), washout=50, seed=0, past=4).warmup
    200
    """

    validation: Series
    warmup: int
    horizon: int
    seed: int

    @classmethod
    def along(cls, validation: Series, washout: int, seed: int, past: int = 1) -> Judge:
        """Free runs of `HORIZON` samples at most, after the washout, or half of shorter series; of a lead after `PAST` washouts at most.

        After up to `past` washouts where there is room for both.
        """
        spare = validation.lead - PAST * max(washout, 1)
        if spare > 0:
            validation = validation.part(spare, None)._replace(lead=validation.lead - spare)
        warmup = max(validation.warmup(washout), min(past * washout, len(validation.x) - HORIZON))
        return cls(validation, warmup, max(1, min(HORIZON, len(validation.x) - warmup)), seed)

    def with_all_the_past(self) -> Judge:
        """Free runs with all of a series but their own samples before them, where there are enough series for one of each."""
        n = self.validation.x.shape[1]
        return self if n < STARTS else self._replace(warmup=max(self.warmup, len(self.validation.x) - self.horizon))

    @torch.no_grad()
    def errors(self, network: IncrementNetwork) -> tuple[float, float]:
        """Of a network with the head it has: of free runs, and of one step."""
        validation = self.validation.map(lambda s: s.to(network.mean.dtype) if s.is_floating_point() else s)
        head = head_of(network)[None]
        free = free_errors(network, head, validation, self.warmup, self.horizon, STARTS)
        return float(free[0]), float(one_step_errors(network, head, validation)[0])

    def solve(
        self, network: ReadoutNetwork, series: Series, known: Tensor | None, few: bool = False, linear: bool = False
    ) -> Choice:
        """The best head of a core; of few candidates, in a quicker look; or the linear one."""
        return self.best(self.regression(network, series, known), few, linear)

    def regression(self, network: ReadoutNetwork, series: Series, known: Tensor | None, skip: int | None = None) -> Regression:
        """Of the head of a core, with the seed's noise."""
        return Regression(network, series, known, torch_stream(self.seed, "noise"), skip=skip)

    def left_out(self, regression: Regression, series: Series, known: Tensor | None) -> LeftOut | None:
        """Where the end of the series is held out, which may be unlike the rest, and they are not long: the rest judges, too."""
        short = series.x[..., 0].numel() <= LEFT_OUT
        return LeftOut(regression, series, known) if self.validation.lead and short else None

    def best(
        self, regression: Regression | Autoregressions, few: bool = False, linear: bool = False, left_out: LeftOut | None = None
    ) -> Choice:
        """The best of the heads that a regression has."""
        pairs, network = () if linear else FEW_HEADS if few else HEADS, regression.network
        heads = regression.heads([*pairs, (0.0, FLOOR)])
        horizon, finalists = (max(self.horizon // 2, 1), 0) if few else (self.horizon, FINALISTS)
        starts = FEW_STARTS if few else STARTS
        return choose(network, heads[:-1], pairs, heads[-1], self.validation, self.warmup, horizon, finalists, starts, left_out)


def _search(
    network: IncrementNetwork, series: Series, judge: Judge, delays: int | None, units: int, history: History, verbose: int
) -> Draw:
    """The draw whose head is the best, with few units and on few series."""
    samples = SEARCH_SAMPLES * max(SEARCH_SERIES // series.x.shape[1], 1)
    few = series.cut(0, samples, torch.arange(min(SEARCH_SERIES, series.x.shape[1])))
    known, units = known_rows(few), min(units, SEARCH_UNITS)
    D = network.head.out_features
    draws = [how for how in DRAWS if how.delays == 0 or D * (1 + how.delays) <= WIDE]
    if delays is not None:
        draws = [replace(how, delays=delays) for how in DRAWS if how.delays == 0]
    if len(network.input_mean):
        draws += [replace(how, apart=True) for how in draws]
    far = [p for p in FAR if delays is None and D * (1 + p) <= WIDE and 3 * p < len(few.x)]
    progress = Progress(len(draws) + 1 + len(far), 0, verbose, unit="draw")
    scores: dict[Draw, float] = {}

    def look(how: Draw) -> None:
        found = judge.solve(drawn(network, how, units, judge.seed), few, known, few=True)
        scores[how] = found.score
        history.tried.append({**how.numbers(), "free_error": found.free, "one_step_error": found.one_step})
        progress.step()
        progress.validated(found.score, min(scores.values()))

    def best() -> Draw:
        return min(scores, key=lambda how: FURTHER * scores[how] if how.delays in far else scores[how])

    for how in draws:
        look(how)
    if best().gate != 0:
        look(replace(best(), gate=0.0))
    for more in far:
        look(replace(best(), delays=more))
    progress.close()
    return best()


def _in_double(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values
