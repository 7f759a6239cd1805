r"""Training of the head alone, over a random core: a least-squares problem, solved as one.

What is not determined by the data, how the core is drawn, how many values it reads and how strongly the head is held back, is chosen
by free runs on the validation series. Nothing is admitted that is worse there than the linear autoregression with the same inputs.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from .forecast import fill
from .least_squares import StreamingQR
from .losses import trust
from .network import IncrementNetwork
from .phases import spend
from .progress import Progress
from .readout_network import Heads, ReadoutNetwork, random_core
from .run import History, Stopped
from .seeds import torch_stream
from .series import Series
from .tsqr import over_workers

__all__ = [
    "DRAWS",
    "FLOOR",
    "NOISES",
    "RIDGES",
    "Autoregressions",
    "Draw",
    "Judge",
    "Problem",
    "Regression",
    "draw",
    "fit_readout",
    "luck",
]

F64 = torch.float64

# Ridges in units of the mean square of a feature. The triangle is solved by its singular values, so that those below the rounding
# errors of the normal equations count: noise-free data are best with 1e-22 and less, measured ones with 1e-6 and more.
RIDGES = (1e-28, 1e-25, 1e-22, 1e-18, 1e-14, 1e-10, 1e-6, 1e-3)
# of the white noise on what is read, in increments
NOISES = (0.0, 1e-6, 1e-4, 1e-2, 2e-1)
FLOOR = 1e200  # the ridge that leaves C = 0
HEADS = tuple((noise, ridge) for noise in NOISES for ridge in RIDGES)
FEW_HEADS = tuple((noise, ridge) for noise in (0.0, 1e-6, 1e-3, 1e-1) for ridge in (1e-26, 1e-20, 1e-12, 1e-6))

# with how many units, and on which part of the data, the ways to draw a core are compared
SEARCH_UNITS, SEARCH_SERIES, SEARCH_SAMPLES = 100, 16, 500

# delays that are looked at with the best draw, and taken if they are better by so much: a season is a linear matter
FAR, FURTHER = (12, 24), 1.1

# where the previous values would be more columns than these they are not looked at
WIDE = 200

# delays of linear autoregressions, and samples of each series on which they are compared
ORDERS, BIC_SAMPLES = (*range(13), 15, 18, 24), 2000
EXACT = 1e-14  # smaller errors, in standard deviations, are those of rounding
UNLIKELY = 10.0  # an order whose BIC is larger by this has less than 0.7 % of the weight of the best

# Whose past is known, as that of the end of one long series, is judged after so many washouts: after one alone a slow memory has not
# forgotten that it began at rest, and what is best with a past would look the worst.
PAST = 4

# of the validation free runs: starts, and samples; in longer ones of a chaotic system all have failed alike
FEW_STARTS, STARTS, HORIZON, FINALISTS = 4, 10, 400, 5
# validation series of which every step is looked at, and how many rows at most, of a field those of all points
JUDGED_SERIES, JUDGED = 8, 40_000
# what is better by less is not told apart
TIE = 1.02

# A network that has just begun knows little, and a forecast may ask for it: so many beginnings, of so many samples, are in the fit, at
# other times of the series where these are fewer. Small weights are enough, as their errors are large: with weights of one, free
# runs after a fit to ten series of Lorenz63 err five times as much.
BEGINNINGS, BEGINNING, BEGINNING_WEIGHT = 64, 12, 1e-4

# of the response to noise: series and samples it is measured on, and the difference quotient's half width, in increments
NOISY_SERIES, NOISY_SAMPLES, DELTA = 4, 20_000, 1e-3
BLOCK = 8_000_000  # numbers of features at a time; some copies of them are alive at once


@dataclass(frozen=True)
class Draw:
    """How a random core is drawn: V normal with standard deviation `input`, W with spectral radius `radius`, biases uniform in (-1, 1).

    Attributes
    ----------
    gate : added to b1 and b2: gates that are open keep the last few samples apart, closed ones average over many
    delays : previous values that are read beside the present one

    Examples
    --------
    >>> Draw(input=0.1)
    Draw(delays=0, input=0.1, radius=0.5, gate=2.0)
    """

    delays: int = 0
    input: float = 0.3
    radius: float = 0.5
    gate: float = 2.0


# No setting is good for all: of these, FitzHugh-Nagumo from v alone chooses the widest V, Lorenz63 a narrow one, and a noisy series
# of a system with a long delay the last, whose memory is long.
DRAWS = tuple(
    replace(how, delays=delays)
    for delays in (0, 2, 6)
    for how in (
        *(Draw(input=v, radius=w) for v, w in ((0.3, 0.5), (0.1, 0.5), (0.1, 0.1), (0.03, 0.1), (0.3, 0.9), (1.0, 0.5))),
        Draw(input=0.1, radius=1.3, gate=0.0),
    )
)


@torch.no_grad()
def draw(core: torch.nn.Module, how: Draw, generator: torch.Generator) -> None:
    """Random weights for a core that is not trained: wider than those that training starts from, which leave it nearly linear.

    Examples
    --------
    For 100 units, recurrent weights of standard deviation 0.05 make a spectral radius of 0.5:

    >>> core = lemode.LEM(1, 100)
    >>> draw(core, Draw(), torch.Generator().manual_seed(0))
    >>> {name.split(".")[-1]: round(float(p.detach().std()), 2) for name, p in core.named_parameters()}
    {'weight_ih': 0.29, 'weight_hh': 0.05, 'weight_zy': 0.05, 'bias': 1.19}
    """
    for name, p in core.named_parameters():
        if p.dim() == 1:
            p.uniform_(-1, 1, generator=generator)
            p[: len(p) // 2] += how.gate  # blocks are in the order 1, 2, z, y
        else:
            scale = how.input if "weight_ih" in name else how.radius / math.sqrt(p.shape[1])
            p.normal_(0, scale, generator=generator)


class Regression:
    r"""The least-squares problem of a head, and beside it what white noise on what is read would add to it.

    .. math::

        \min_{A, C}\; \big\langle w \big| t_k - A\, a_k - C f_k \big|^2 \big\rangle
        + \nu^2 \big\langle \big| \xi_k + (A\, C)\, (J \xi)_k \big|^2 \big\rangle + \lambda |C|^2, \qquad t_k = \frac{x_{k+1} - x_k}{s}

    The second mean is the expectation, to leading order, of noise :math:`\nu s \xi` on what the network reads along the series while the
    targets are the true values: the head learns to return to them. J is the derivative of the features along the whole sequence. As both
    means are kept as triangles, every noise and every ridge costs a small QR and an SVD.

    Parameters
    ----------
    network : its head is what is sought, whatever its core is
    series, known : rows are taken along it, with the weights ``(T - 1, n, D)`` of `lemode.surrogate.losses.trust`, None for all alike
    generator : of the noise
    noisy : how many of the series the response to noise is measured on
    skip : samples at the beginning of a series from which nothing is learned, nor from a network that has just begun: an autoregression
        is of values that are there

    Examples
    --------
    >>> waves = torch.sin(torch.linspace(0, 30, 301, dtype=torch.float64)[:, None] + torch.arange(4))[..., None]
    >>> network = ReadoutNetwork(lemode.LEM(1, 20, dtype=torch.float64), 1)
    >>> network.set_scales(waves)
    >>> regression = Regression(network, Series(network.normalise(waves)), None, torch.Generator().manual_seed(0))
    >>> regression.heads([(0.0, 1e-20), (0.0, FLOOR)]).shape  # of 1, x, y and z
    torch.Size([2, 42, 1])
    """

    @torch.no_grad()
    def __init__(
        self,
        network: IncrementNetwork,
        series: Series,
        known: Tensor | None,
        generator: torch.Generator,
        noisy: int = NOISY_SERIES,
        skip: int | None = None,
    ) -> None:
        self.network, self.columns, self.skip = network, network.head.in_features + 1, skip or 0
        D = network.head.out_features
        # of the variables that are missing at the same times, a factor
        self.groups = [list(range(D))] if known is None else _alike(network.by_point(known))
        self.data = self._rows(series, self._after(series, known))
        if skip is None and series.x.shape[1] < BEGINNINGS:
            places = _spread(series.x, min(BEGINNING, len(series.x)), BEGINNINGS - series.x.shape[1])
            part = series.map(lambda s: _windows(s, places, BEGINNING))
            there = torch.ones_like(part.x[1:]) if known is None else _windows(known, places, len(part.x) - 1)
            self._add(part, BEGINNING_WEIGHT * there)
        rows = torch.arange(min(noisy, series.x.shape[1]))
        end = min(len(series.x), NOISY_SAMPLES)
        self.noise = self._responses(series.cut(0, end, rows), None if known is None else known[: end - 1, rows], generator)

    def _after(self, series: Series, known: Tensor | None) -> Tensor | None:
        """The weights of rows, none for those that are skipped."""
        if self.skip:
            known = torch.ones_like(series.x[1:]) if known is None else known.clone()
            known[: self.skip] = 0
        return known

    def _factor(self, targets: int) -> StreamingQR:
        return StreamingQR(self.columns, targets, 1 + self.network.linear)

    def _rows(self, series: Series, known: Tensor | None) -> list[StreamingQR]:
        """The factors of all series."""
        n, effort = series.x.shape[1], 2.0 * len(series.x) * self._numbers(series) * self.columns

        def part(rows: Tensor) -> tuple[Series, Tensor | None]:
            return series.cut(0, len(series.x), rows), None if known is None else known[:, rows]

        return over_workers(self._taken_in, lambda rows: (series, known) if len(rows) == n else part(rows), n, effort)

    @torch.no_grad()
    def _taken_in(self, series: Series, known: Tensor | None) -> list[StreamingQR]:
        """The factors of these series alone."""
        alone = self._empty()
        for begin in range(0, series.x.shape[1], 64):
            rows = torch.arange(begin, min(begin + 64, series.x.shape[1]))
            alone._add(series.cut(0, len(series.x), rows), None if known is None else known[:, rows])
        return alone.data

    def _empty(self) -> Regression:
        """One that has seen no rows yet."""
        alone = copy.copy(self)
        alone.data = [self._factor(len(g)) for g in self.groups]
        return alone

    def _numbers(self, series: Series) -> int:
        """Of the rows at one time."""
        return self.network.by_point(series.x[:1])[..., 0].numel() * self.columns

    def _blocks(self, series: Series) -> range:
        return range(0, len(series.x) - 1, max(BLOCK // self._numbers(series), 1))

    @torch.no_grad()
    def add(self, series: Series, known: Tensor | None) -> None:
        """Take in the rows of more series; where their values are missing at other times, a row counts for a group of variables at once."""
        known = self._after(series, known)
        if known is not None:
            known = known.clone()
            for group in self.groups:
                known[..., group] = known[..., group].amin(-1, keepdim=True)
        self._add(series, known)

    def _add(self, series: Series, known: Tensor | None, state: Any = None) -> Any:
        """Take in the rows of these series, and return the state before their last sample."""
        net, blocks = self.network, self._blocks(series)
        for begin in blocks:
            end = min(begin + blocks.step, len(series.x) - 1)
            part = series.part(begin, end)
            f, state = net.features(*part.known(state))
            target = (series.x[begin + 1 : end + 1] - net.base(part.x)) / net.increment
            self._reflect(self.data, f, target, part.r, None if known is None else known[begin:end], net.constant)
        return state

    def _responses(self, series: Series, known: Tensor | None, generator: torch.Generator) -> list[StreamingQR]:
        """The factors of the responses to noise. Every worker draws the noise of all series, and takes in the responses of its own."""
        drawn, effort = generator.get_state(), 4.0 * len(series.x) * self._numbers(series) * self.columns
        return over_workers(self._responded, lambda rows: (series, known, drawn, rows), series.x.shape[1], effort)

    @torch.no_grad()
    def _responded(self, series: Series, known: Tensor | None, drawn: Tensor, rows: Tensor) -> list[StreamingQR]:
        """The factors of these series alone."""
        net, state, blocks, n = self.network, None, self._blocks(series), len(rows)
        generator, alone = torch.Generator(), self._empty()
        generator.set_state(drawn)
        twice = series.cut(0, len(series.x), torch.cat([rows, rows]))
        for begin in blocks if n else ():
            end = min(begin + blocks.step, len(series.x) - 1)
            xi = net.white(series.x[begin:end].shape, generator)[:, rows]
            q, part = DELTA * net.increment * xi, twice.part(begin, end)
            f, state = net.features(*part._replace(x=part.x + torch.cat([q, -q], 1)).known(state))
            response = (f[:, :n] - f[:, n:]) / (2 * DELTA)
            r = None if part.r is None else part.r[:, :n]
            back = net.base(net.increment * xi) / net.increment
            self._reflect(alone.data, response, -back, r, None if known is None else known[begin:end, rows], constant=0.0)
        return alone.data

    def _reflect(
        self,
        factors: list[StreamingQR],
        f: Tensor,
        target: Tensor,
        r: Tensor | None,
        known: Tensor | None,
        constant: float,
    ) -> None:
        """Rows of (1, a, f) and of targets. Where increments are r_k times the head, rows are those of the head times r_k."""
        f = torch.cat([f.new_full((*f.shape[:-1], 1), constant), f], -1)
        if r is not None:
            f = f * r[..., 1:]
        rows, right = (v.flatten(0, -2).double().numpy() for v in (self.network.regressors(f), self.network.by_point(target)))
        for factor, group in zip(factors, self.groups):
            w = None if known is None else self.network.by_point(known)[..., group[0]].flatten().double().numpy()
            factor.add(rows, right[:, group], w)

    def heads(self, pairs: Sequence[tuple[float, float]]) -> Tensor:
        """Coefficients ``(len(pairs), 1 + features, D)`` for pairs of a noise and a ridge."""
        out = torch.zeros(len(pairs), self.columns, self.network.head.out_features, dtype=F64)
        for data, response, group in zip(self.data, self.noise, self.groups):
            for noise in {noise for noise, _ in pairs}:
                which = [i for i, pair in enumerate(pairs) if pair[0] == noise]
                factor = data.plus(response, noise) if noise else data
                for i, solution in zip(which, factor.solve([pairs[i][1] for i in which])):
                    out[i][:, group] = torch.from_numpy(solution.coefficients)
        return out


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
    """
    every = torch.cat([heads, reference[None]])
    one = one_step_errors(network, every, validation)
    last = len(heads)

    def scores(index: list[int], starts: int, horizon: int) -> tuple[list[float], Tensor]:
        free = free_errors(network, every[index], validation, warmup, horizon, starts)
        o = one[index]
        s = (free * o).sqrt()
        # the reference is the last of every index
        s[:-1][s[:-1] > (1 - luck(validation)) * s[-1]] = math.inf
        s[:-1][(free[:-1] > TIE * free[-1]) | ~(o[:-1] <= TIE * o[-1])] = math.inf
        return s.tolist(), free

    index = list(range(len(every)))
    s, free = scores(index, FEW_STARTS, max(horizon // 4, 1)) if finalists else scores(index, starts, horizon)
    if finalists:
        index = [*sorted(index[:-1], key=lambda i: s[i])[:finalists], last]
        s, free = scores(index, starts, horizon)
    near = [k for k in range(len(index)) if s[k] <= TIE * min(s)]
    weight = [(math.inf, math.inf) if index[k] == last else (pairs[index[k]][1], pairs[index[k]][0]) for k in near]
    k = near[max(range(len(near)), key=lambda j: weight[j])] if near else len(index) - 1
    noise, ridge = (math.nan, math.nan) if index[k] == last else pairs[index[k]]
    return Choice(noise, ridge, every[index[k]], float(free[k]), float(one[index[k]]), float(free[-1]), float(one[last]))


def luck(validation: Series) -> float:
    r"""By what part the best of many heads may be better than another without being so: :math:`\min(2/\sqrt N, 1/2)` for N values.

    Examples
    --------
    >>> [luck(Series(torch.zeros(n + 1, 1, 1))) for n in (9, 100, 10_000)]
    [0.5, 0.2, 0.02]
    """
    judged = validation.x[validation.lead + 1 :] if validation.mask is None else validation.mask[validation.lead + 1 :]
    count = judged.numel() if validation.mask is None else int(judged.sum())
    return min(2 / math.sqrt(max(count, 1)), 0.5)


@torch.no_grad()
def free_errors(network: IncrementNetwork, heads: Tensor, series: Series, warmup: int, horizon: int, starts: int) -> Tensor:
    r"""How far free runs with each head leave the truth, ``(heads,)``: from :math:`\min(\mathrm{nrmse}, 1)`, averaged over starts.

    It is the mean over the first 10, 20, 40, ... samples, and the mean of these: what is followed early counts, however soon a chaotic
    system is lost.
    """
    places = _spread(series.x, warmup + horizon, starts)
    window = series.map(lambda s: _windows(s, places, warmup + horizon))
    S = window.x.shape[1]
    seen = torch.ones_like(window.x, dtype=torch.bool) if window.mask is None else window.mask
    there = seen[warmup:]
    window = window._replace(mask=torch.cat([seen[:warmup], torch.zeros_like(there)]))
    numbers = warmup * network.by_point(window.x[:1])[..., 0].numel() * heads.shape[1]
    errors, before = [], network.head
    try:
        for some in heads.to(window.x.dtype).split(max(BLOCK // numbers, 1)):
            network.head = Heads(some)  # type: ignore[assignment]
            wide = window.map(partial(_beside_itself, copies=len(some)))
            free = fill(network, wide)[0].x[warmup:]
            error = (free.view(len(there), len(some), S, -1) - window.x[warmup:, None]).square()
            error = error.where(there[:, None], 0.0).sum(-1) / there.sum(-1).clamp_min(1)[:, None]
            errors.append(error.sqrt().clamp(max=1.0).nan_to_num(1.0))
    finally:
        network.head = before
    judged = there.any(-1)[:, None].to(F64)
    error = (torch.cat(errors, 1).double() * judged).sum(2) / judged.sum(2).clamp_min(1)
    lengths = sorted({min(10 * 2**j, len(error)) for j in range(30)})
    return torch.stack([error[:h].mean(0) for h in lengths]).mean(0)


@torch.no_grad()
def one_step_errors(network: IncrementNetwork, heads: Tensor, series: Series) -> Tensor:
    """Root mean square error of one step with each head, ``(heads,)``, in standard deviations.

    Over all steps after the lead; where there is none, the first ones count, too.
    """
    together = heads.permute(1, 0, 2).flatten(1)
    known, total, count = known_rows(series), torch.zeros(len(heads), dtype=F64), 0.0
    few = torch.arange(min(series.x.shape[1], JUDGED_SERIES))
    points = network.by_point(series.x[:1, :1])[..., 0].numel()
    part = series.cut(0, series.lead + max(JUDGED // (points * len(few)), 50), few)
    s = network.by_point(network.increment * torch.ones_like(part.x[:1, :1])).double()[..., None, :]
    block = max(BLOCK // (points * len(few) * heads.shape[1]), 1)
    state = None
    for begin in range(0, len(part.x) - 1, block):
        end = min(begin + block, len(part.x) - 1)
        now = part.part(begin, end)
        f, state = network.features(*now.known(state))
        f = network.regressors(torch.cat([f.new_full((*f.shape[:-1], 1), network.constant), f], -1)).double()
        if now.r is not None:
            f = f * now.r[..., 1:]
        truth = network.by_point(part.x[begin + 1 : end + 1] - network.base(now.x)).double()
        w = None if known is None else network.by_point(known[begin:end, few]).double()
        skip = max(series.lead - begin, 0)
        f, truth, w = f[skip:], truth[skip:], None if w is None else w[skip:]
        found = (f.flatten(0, -2) @ together).view(*f.shape[:-1], len(heads), -1)
        square = (found * s - truth[..., None, :]).square()
        total += (square if w is None else w[..., None, :] * square).flatten(0, -3).sum((0, 2))
        count += truth.numel() if w is None else float(w.sum())
    return (total / max(count, 1.0)).sqrt().nan_to_num(math.inf)


def known_rows(series: Series) -> Tensor | None:
    """Weights ``(T - 1, n, D)`` of the steps from k to k + 1: one where all that is read and what is predicted was observed.

    None where everything was. Where hardly any step has all that it reads, weights are those of `lemode.surrogate.losses.trust`.
    """
    if series.mask is None:
        return None
    whole = series.mask[1:] & series.mask[:-1].all(-1, keepdim=True)
    return whole.double() if whole.sum() >= 0.1 * series.mask[1:].sum() else trust(series.mask).double()


def _beside_itself(s: Tensor, copies: int) -> Tensor:
    return s.repeat(1, copies, 1)


def _spread(x: Tensor, length: int, count: int) -> list[tuple[int, int]]:
    """Series and time of windows of a length, spread over the series and over time."""
    T, n = x.shape[:2]
    last = max(T - length, 0)
    return sorted({((j * n) // count % n, (j * last) // max(count - 1, 1)) for j in range(count)})


def _windows(values: Tensor, places: list[tuple[int, int]], length: int) -> Tensor:
    """The windows, side by side."""
    return torch.stack([values[k : k + length, i] for i, k in places], 1)


def _alike(known: Tensor) -> list[list[int]]:
    """Variables whose weights are the same at all times, together."""
    groups: list[list[int]] = []
    for d in range(known.shape[-1]):
        for group in groups:
            if torch.equal(known[..., d], known[..., group[0]]):
                group.append(d)
                break
        else:
            groups.append([d])
    return groups


def set_head(network: IncrementNetwork, coefficients: Tensor) -> None:
    """Put coefficients ``(1 + features, D)``, of the one first, into the network."""
    with torch.no_grad():
        network.head.bias.copy_(coefficients[0])
        network.head.weight.copy_(coefficients[1:].T)


def head_of(network: IncrementNetwork) -> Tensor:
    """The coefficients ``(1 + features, D)`` of a network, of the one first, in float64."""
    return torch.cat([network.head.bias[None], network.head.weight.T]).detach().double()


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
    judge = Judge.along(validation, washout, seed)
    with threadpool_limits(1, "blas"):
        if isinstance(network, ReadoutNetwork):
            out = network
        else:
            count = random_core(network).hidden_size if units is None else units
            how = _search(network, series, judge, delays, count, history, verbose)
            out = _network(network, how, count, seed)
        regression: Regression | Autoregressions = judge.regression(out, series, known_rows(series))
        found = judge.best(regression)
        if out is not network and delays is None:
            plain = Autoregressions(network, series, known_rows(series), judge)
            floor = judge.best(plain, linear=True)
            if math.isnan(found.noise) or not found.score <= (1 - luck(judge.validation)) * floor.score:
                how, regression = replace(how, delays=plain.network.delays), plain
                out = _network(network, how, count, seed)
                found = floor._replace(coefficients=_with_units(floor.coefficients, out, out.delays))
        if out is not network:
            history.chosen.update(asdict(how))
        problem = Problem(regression, found, judge)
        if series.mask is not None:  # what is read where a value is missing: by now, what this head predicts
            set_head(out, found.coefficients)
            regression = judge.regression(out, fill(out, series, trailing=False)[0], trust(series.mask).double())
            again = judge.best(regression)
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
        set_head(network, _with_units(head, network, network.delays) if linear else head)
        # what was learned from is known better, unless the head has gone wrong
        if any(not after <= TIE * error for error, after in zip(before, self.judge.errors(network))):
            set_head(network, former)


def _with_units(coefficients: Tensor, network: ReadoutNetwork, delays: int) -> Tensor:
    """The linear columns of a head of so many delays, as a head of this network, which has as many or more."""
    out = torch.zeros(1 + network.head.in_features, network.head.out_features, dtype=F64)
    D = network.head.out_features
    seen, inputs = 1 + D * (1 + delays), network.linear - D * (1 + network.delays)
    out[:seen] = coefficients[:seen]
    out[1 + network.linear - inputs : 1 + network.linear] = coefficients[seen : seen + inputs]
    return out


class Judge(NamedTuple):
    """The validation series, and how free runs along them are made.

    Examples
    --------
    >>> Judge.along(Series(torch.zeros(30, 1, 1)), washout=50, seed=0)[1:]
    (15, 15, 0)
    """

    validation: Series
    warmup: int
    horizon: int
    seed: int

    @classmethod
    def along(cls, validation: Series, washout: int, seed: int) -> Judge:
        """Free runs after the washout, or half of shorter series, of `HORIZON` samples at most; of a lead `PAST` washouts at most."""
        spare = validation.lead - PAST * max(washout, 1)
        if spare > 0:
            validation = validation.part(spare, None)._replace(lead=validation.lead - spare)
        warmup = validation.warmup(washout)
        return cls(validation, warmup, max(1, min(HORIZON, len(validation.x) - warmup)), seed)

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

    def best(self, regression: Regression | Autoregressions, few: bool = False, linear: bool = False) -> Choice:
        """The best of the heads that a regression has."""
        pairs, network = () if linear else FEW_HEADS if few else HEADS, regression.network
        heads = regression.heads([*pairs, (0.0, FLOOR)])
        horizon, finalists = (max(self.horizon // 2, 1), 0) if few else (self.horizon, FINALISTS)
        starts = FEW_STARTS if few else STARTS
        return choose(network, heads[:-1], pairs, heads[-1], self.validation, self.warmup, horizon, finalists, starts)


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
    far = [p for p in FAR if delays is None and D * (1 + p) <= WIDE and 3 * p < len(few.x)]
    progress = Progress(len(draws) + 1 + len(far), 0, verbose, unit="draw")
    scores: dict[Draw, float] = {}

    def look(how: Draw) -> None:
        found = judge.solve(_network(network, how, units, judge.seed), few, known, few=True)
        scores[how] = found.score
        history.tried.append({**asdict(how), "free_error": found.free, "one_step_error": found.one_step})
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


class Autoregressions:
    r"""Linear autoregressions of several orders, each on all rows that it has, and the mean of their heads.

    .. math:: \bar C = \sum_p w_p C_p, \qquad w_p \propto e^{-\mathrm{BIC}_p / 2}

    The weights are those of Bayesian model averaging (Raftery, Sociological Methodology 25, 1995): where the data do not tell orders
    apart, none is chosen. The BIC is that on a part of the training data, on the same rows for all.

    Parameters
    ----------
    network : whose scales are taken
    series, known : as of a `Regression`
    judge : whose seed is taken

    Examples
    --------
    >>> x = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 1, 1)).cumsum(0))
    >>> network = IncrementNetwork(lemode.LEM(1, 1, dtype=torch.float64), 1, 1, torch.float64)
    >>> network.set_scales(x)
    >>> series = Series(network.normalise(x))
    >>> found = Autoregressions(network, series, None, Judge.along(series, 50, 0)).weights
    >>> {delays: round(w, 2) for delays, w in found.items()}  # a random walk has no lag but the first
    {0: 0.95, 1: 0.05}
    """

    def __init__(self, network: IncrementNetwork, series: Series, known: Tensor | None, judge: Judge) -> None:
        self.weights = _weights_of_orders(network, series)
        plain = [_network(network, Draw(delays), 1, judge.seed) for delays in self.weights]
        self.network = plain[-1]
        self.parts = [judge.regression(net, series, known, skip=net.delays) for net in plain]

    def add(self, series: Series, known: Tensor | None) -> None:
        """As of a `Regression`."""
        for part in self.parts:
            part.add(series, known)

    def heads(self, pairs: Sequence[tuple[float, float]]) -> Tensor:
        """As of a `Regression`: more lags are further columns, so a head of fewer is one with zeros there."""
        weighted = zip(self.weights.values(), self.parts)
        parts = [w * torch.stack([_with_units(h, self.network, p.network.delays) for h in p.heads(pairs)]) for w, p in weighted]
        return torch.stack(parts).sum(0)


def _weights_of_orders(network: IncrementNetwork, series: Series) -> dict[int, float]:
    """Weights of the numbers of delays that are likely, the fewest first."""
    D, inputs = network.head.out_features, 2 * len(network.input_mean)
    few = series.cut(0, BIC_SAMPLES, torch.arange(min(series.x.shape[1], SEARCH_SERIES)))
    known = known_rows(few)

    def rows(skip: int) -> float:
        return (len(few.x) - 1 - skip) * few.x.shape[1] if known is None else float(known[skip:].sum()) / D

    columns = {delays: 1 + D * (1 + delays) + inputs for delays in ORDERS if not delays or D * (1 + delays) <= WIDE}
    orders = [delays for delays, count in columns.items() if not delays or 3 * count <= rows(delays)]
    skip, bic = max(orders), []
    judged = few._replace(lead=skip)
    for delays in orders:
        plain = _network(network, Draw(delays), 1, 0)
        head = Regression(plain, few, known, torch_stream(0, "noise"), noisy=1, skip=skip).heads([(0.0, FLOOR)])
        error = float(one_step_errors(plain, head, judged)[0])
        bic.append(rows(skip) * 2 * math.log(max(error, EXACT)) + columns[delays] * math.log(max(rows(skip), 1.0)))
    likely = {delays: math.exp((min(bic) - b) / 2) for delays, b in zip(orders, bic) if b - min(bic) < UNLIKELY}
    return {delays: w / sum(likely.values()) for delays, w in likely.items()}


def _network(like: IncrementNetwork, how: Draw, units: int, seed: int) -> ReadoutNetwork:
    out = ReadoutNetwork.like(like, units, how.delays)
    draw(out.core, how, torch_stream(seed, "weights"))
    return out


def _in_double(values: Tensor) -> Tensor:
    return values.double() if values.is_floating_point() else values
