r"""Training of the head alone for a field: random LEMs at every point, a filter of the wavenumbers, and a least-squares problem.

As for series, see `lemode.surrogate.readout`, but that rows are many: a part of them is taken, so many for each column. Without noise on
what is read a free run blows up within a few steps, along directions in which the data do not vary.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from .draws import Draw, draw
from .field_network import FieldNetwork
from .field_readout_network import FieldReadoutNetwork
from .forecast import free_run_power
from .head_errors import set_head
from .phases import spend
from .progress import Progress
from .readout import Choice, Judge, choose
from .regression import FLOOR, Regression
from .run import FREE_RUNS, History, Stopped
from .seeds import torch_stream
from .series import Series

__all__ = ["CUTS", "INPUTS", "NOISES", "fit_field_readout"]

# Standard deviations of white noise in the data that the filter is made for; on Kuramoto-Sivashinsky all of 0.001 to 0.01 are good.
CUTS = (0.0, 1e-3, 1e-2, 1e-1)
# of what the units read of a field of variance one; there 0.2 is half as accurate as 0.07, and 0.03 as good
INPUTS = (0.07, 0.3, 1.0)
RADIUS, GATE = 0.1, 2.0
# At how many distances the head reads units beside those of the point, and how many of them make a wavelength. The units are computed
# anyway, for their own points: on Kuramoto-Sivashinsky 100 units with neighbours forecast for 7.5 Lyapunov times, and for 4.4
# without. The three points between them there are a ninth of a wave; with four it was 7.2, with two, and two distances, 6.4.
NEIGHBOURS, OF_A_WAVE = 3, 8
# of the white noise on what is read, in increments
NOISES = (0.0, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1, 3e-1)
RIDGE = 1e-23  # the noise is what holds the head back

# Rows for each column, in pieces of so many steps; the first ones of a piece begin from rest, and have the weight of beginnings
ROWS, PIECE, WASHOUT, WEIGHT = 40, 40, 8, 1e-4
# of the free runs that choose: units and samples where ways to draw a core are compared, and starts and samples of all units
SEARCH_UNITS, SEARCH_HORIZON, STARTS, HORIZON = 40, 50, 6, 200
# Free runs of so many samples may have so many times the power of the validation series, or as many times less, in logarithms: else the
# next noise is looked at
LONG, STEADY = 500, math.log(1.25)


@torch.no_grad()
def fit_field_readout(
    network: FieldNetwork,
    series: Series,
    validation: Series,
    washout: int,
    seed: int,
    parity: int | None = None,
    verbose: int = 0,
    units: int | None = None,
) -> tuple[FieldReadoutNetwork, History]:
    """Random LEMs that read what surrounds each point, and a head that is solved for.

    The filter and the size of what the units read are chosen with few units, the noise with all, by free runs along the
    validation series; they are in the history, as ``chosen`` and ``tried``, with the distance of the
    farthest neighbours that the head reads, in points.

    Parameters
    ----------
    network : its core says how far the units read, and with which dt and scheme; its scales are taken over. A `FieldReadoutNetwork`, as
        of a warm start, keeps its core and its filter, and has its head solved for again.
    series, validation : normalised by it
    washout : samples of truth before a free run
    seed : of the weights, the rows and the noise
    parity : sign of the field in a mirror, -1 or 1, where the equation knows no left and right
    units : as many as the network has, by default

    Raises
    ------
    ValueError
        For series with uneven intervals or missing values, or another core.

    Examples
    --------
    >>> x = 2 * torch.pi * torch.arange(16, dtype=torch.float64) / 16
    >>> waves = torch.sin(x - 0.1 * torch.arange(60.0, dtype=torch.float64)[:, None, None] + torch.arange(4)[:, None])
    >>> network = FieldNetwork(lemode.ConvLEM(1, 20, 5, dtype=torch.float64), 20, (16,), torch.float64)
    >>> network.set_scales(waves)
    >>> series = Series(network.normalise(waves))
    >>> readout, history = fit_field_readout(network, series, series, washout=10, seed=0)
    >>> history.chosen["one_step_error"] < 1e-3
    True
    """
    if any(part is not None for part in (series.r, series.mask, validation.r, validation.mask)):
        raise ValueError("train='readout' takes evenly sampled series of one length without missing values: use train='all'.")
    start, history = time.monotonic(), History(stopped=Stopped.SOLVED)
    series, validation = series.map(Tensor.double), validation.map(Tensor.double)
    judge = Judge.along(validation, washout, seed)
    judge = judge._replace(horizon=min(judge.horizon, HORIZON))
    progress = Progress(len(CUTS) + len(INPUTS), 0, verbose, unit="core")
    with threadpool_limits(1, "blas"):
        if isinstance(network, FieldReadoutNetwork):
            out = network
            found = _solve(out, series, judge, NOISES)
        else:
            width = network.head.in_features if units is None else units
            cut, scale, found = _search(network, series, judge, parity, min(width, SEARCH_UNITS), history, progress)
            out = _drawn(network, series, cut, scale, parity, width, seed)
            near = NOISES if math.isnan(found.noise) else [n for n in NOISES if found.noise / 30 <= n]
            found = _solve(out, series, judge, near)
            history.chosen |= {"cut": cut, "input": scale, "farthest": max(out.shifts)}
    progress.step()
    progress.close()
    set_head(out, found.coefficients)
    history.validation.append((0, found.one_step / float(out.increment.square().mean().sqrt())))
    history.chosen |= {
        "units": out.units, "noise": found.noise, "free_error": found.free,
        "one_step_error": found.one_step, "linear_free_error": found.reference_free,
        "linear_one_step_error": found.reference_one_step,
    }  # fmt: skip
    history.seconds = time.monotonic() - start
    spend(history.phases, "readout", history.seconds)
    return out, history


def _search(
    network: FieldNetwork,
    series: Series,
    judge: Judge,
    parity: int | None,
    units: int,
    history: History,
    progress: Progress,
) -> tuple[float, float, Choice]:
    """The cut of the filter, then the scale of what the units read, with few units."""
    tried: dict[tuple[float, float], Choice] = {}
    short = judge._replace(horizon=min(judge.horizon, SEARCH_HORIZON))

    def look(cut: float, scale: float) -> None:
        out = _drawn(network, series, cut, scale, parity, units, judge.seed)
        found = tried[cut, scale] = _solve(out, series, short, NOISES, few=True)
        history.tried.append({"cut": cut, "input": scale, "free_error": found.free, "one_step_error": found.one_step})
        progress.step()
        progress.validated(found.score, min(choice.score for choice in tried.values()))

    def best() -> tuple[float, float]:
        return min(tried, key=lambda how: tried[how].score)

    for cut in CUTS:
        look(cut, INPUTS[0])
    for scale in INPUTS[1:]:
        look(best()[0], scale)
    return *best(), tried[best()]


def _drawn(
    network: FieldNetwork, series: Series, cut: float, scale: float, parity: int | None, units: int, seed: int
) -> FieldReadoutNetwork:
    few = series.x[:: max(len(series.x) // 100, 1)]
    out = FieldReadoutNetwork.like(network, units, parity, _shifts(network, few))
    features = out.channels * math.prod(out.kernel)
    draw(out.core, Draw(0, scale / math.sqrt(features), RADIUS, GATE), torch_stream(seed, "weights"))
    out.set_filter(out.spectrum(few), cut**2 / math.prod(out.grid))
    return out


def _shifts(network: FieldNetwork, x: Tensor) -> list[int]:
    r"""Distances at which the head reads units, in points: multiples of a part of the wavelength :math:`2 \pi / \arccos \rho`.

    The correlation of neighbours of a wave is :math:`\rho = \cos k`. They are no farther apart than the units' own windows reach, and all
    that is read together does not go around the ring: what is read twice makes columns alike.
    """
    u = x.reshape(-1, network.channels, *network.grid).double()
    u = u - u.mean((0, *range(2, u.dim())), keepdim=True)
    correlation = float(
        sum((u * u.roll(1, axis)).mean() for axis in range(2, u.dim())) / (u.dim() - 2) / u.square().mean().clamp_min(1e-300)
    )
    wave = 2 * math.pi / math.acos(min(max(correlation, -1.0), 1.0 - 1e-9))
    spacing = max(min(round(wave / OF_A_WAVE), network.widest() // 2), 1)
    return [q * spacing for q in range(NEIGHBOURS + 1) if 2 * (q * spacing + network.widest() // 2) < min(network.grid)]


def _solve(network: FieldReadoutNetwork, series: Series, judge: Judge, noises: Sequence[float], few: bool = False) -> Choice:
    """The best head, but for a quick look one whose long free runs keep the power of the data: they say what short ones do not."""
    part, known = _rows(network, series, torch_stream(judge.seed, "batches"))
    pairs = [(noise, RIDGE) for noise in noises]
    noisy = max(part.x.shape[1] // 2, 4)
    heads = Regression(network, part, known, torch_stream(judge.seed, "noise"), noisy).heads([*pairs, (0.0, FLOOR)])
    starts, seen = 4 if few else STARTS, []
    while True:
        found = choose(network, heads[:-1], pairs, heads[-1], judge.validation, judge.warmup, judge.horizon, 0, starts)
        if few:
            return found
        set_head(network, found.coefficients)
        seen.append((abs(math.log(_power(network, judge))), found))
        more = [i for i, (noise, _) in enumerate(pairs) if noise > found.noise]
        if seen[-1][0] < STEADY or not more:
            return min(seen, key=lambda pair: pair[0])[1]
        pairs, heads = [pairs[i] for i in more], heads[[*more, len(pairs)]]


def _power(network: FieldReadoutNetwork, judge: Judge) -> float:
    """Of free runs, over that of the validation series; between tiny and huge."""
    few = judge.validation.map(lambda s: s[:, :FREE_RUNS])
    return min(max(free_run_power(network, few, judge.warmup, LONG), 1e-300), 1e300)


def _rows(network: FieldReadoutNetwork, series: Series, generator: torch.Generator) -> tuple[Series, Tensor]:
    """Pieces of the series with enough rows, and the weights of their steps; everything where there is no more than that."""
    T, n, _ = series.x.shape
    points, wanted = math.prod(network.grid), ROWS * network.head.in_features
    count = -(-wanted // (points * (PIECE - WASHOUT)))
    if count * PIECE >= (T - 1) * n or T <= PIECE + 1:
        part = series.x
    else:
        where = torch.randint(0, (T - PIECE) * n, (count,), generator=generator)
        part = torch.stack([series.x[int(w) // n : int(w) // n + PIECE + 1, int(w) % n] for w in where], 1)
    known = torch.ones(len(part) - 1, 1, 1, dtype=part.dtype)
    known[: min(WASHOUT, len(known) // 2)] = WEIGHT
    return Series(part), known.expand(-1, *part.shape[1:])
