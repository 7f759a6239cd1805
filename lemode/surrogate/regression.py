"""The least squares of a head: the rows along the series, their response to noise, and the coefficients for every noise and ridge."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from .least_squares import StreamingQR
from .network import IncrementNetwork
from .series import Series
from .tsqr import merged, over_workers

__all__ = ["FLOOR", "Regression"]

F64 = torch.float64

FLOOR = 1e200  # the ridge that leaves C = 0

# A network that has just begun knows little, and a forecast may ask for it: so many beginnings, of so many samples, are in the fit, at
# other times of the series where these are fewer. Small weights are enough, as their errors are large: with weights of one, free
# runs after a fit to ten series of Lorenz63 err five times as much.
BEGINNINGS, BEGINNING, BEGINNING_WEIGHT = 64, 12, 1e-4

# of the response to noise: series and samples it is measured on, and the difference quotient's half width, in increments
NOISY_SERIES, NOISY_SAMPLES, DELTA = 4, 20_000, 1e-3
BLOCK = 8_000_000  # numbers of features at a time; some copies of them are alive at once


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
    >>> from lemode.surrogate.readout_network import ReadoutNetwork
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
            places = spread(series.x, min(BEGINNING, len(series.x)), BEGINNINGS - series.x.shape[1])
            part = series.map(lambda s: windows(s, places, BEGINNING))
            there = torch.ones_like(part.x[1:]) if known is None else windows(known, places, len(part.x) - 1)
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
        self._add(series, self._together(self._after(series, known)))

    def _together(self, known: Tensor | None) -> Tensor | None:
        """The weights of rows, one for a group of variables."""
        if known is not None:
            known = known.clone()
            for group in self.groups:
                known[..., group] = known[..., group].amin(-1, keepdim=True)
        return known

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

    @torch.no_grad()
    def leaving_out(self, series: Series, known: Tensor | None, edges: Sequence[int]) -> list[Regression]:
        """For each block of rows between two edges but the first, one of the rows of all others; the response to noise stays."""
        known, parts, state = self._together(self._after(series, known)), [], None
        for begin, end in pairwise(edges):
            alone = self._empty()
            state = alone._add(series.part(begin, end + 1), None if known is None else known[begin:end], state)
            parts.append(alone.data)
        out = []
        for k in range(1, len(parts)):
            others = copy.copy(self)
            others.data = [merged(factors) for factors in zip(*(part for j, part in enumerate(parts) if j != k))]
            out.append(others)
        return out

    def heads(self, pairs: Sequence[tuple[float, float]], without: Sequence[int] = ()) -> Tensor:
        """Coefficients ``(len(pairs), 1 + features, D)`` for pairs of a noise and a ridge; zeros for the columns `without`."""
        kept = torch.tensor([k for k in range(self.columns) if k not in set(without)])[:, None]
        out = torch.zeros(len(pairs), self.columns, self.network.head.out_features, dtype=F64)
        for data, response, group in zip(self.data, self.noise, self.groups):
            for noise in {noise for noise, _ in pairs}:
                which = [i for i, pair in enumerate(pairs) if pair[0] == noise]
                factor = data.plus(response, noise) if noise else data
                factor = factor.without(without) if without else factor
                for i, solution in zip(which, factor.solve([pairs[i][1] for i in which])):
                    out[i][kept, torch.tensor(group)] = torch.from_numpy(solution.coefficients)
        return out


def spread(x: Tensor, length: int, count: int) -> list[tuple[int, int]]:
    """Series and time of windows of a length, spread over the series and over time."""
    T, n = x.shape[:2]
    last = max(T - length, 0)
    return sorted({((j * n) // count % n, (j * last) // max(count - 1, 1)) for j in range(count)})


def windows(values: Tensor, places: list[tuple[int, int]], length: int) -> Tensor:
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
