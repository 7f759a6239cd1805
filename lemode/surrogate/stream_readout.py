"""A readout of series that are larger than memory: chosen on a part of them, and solved for on all."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch import Tensor

from .bands import residuals
from .containment import LATE, check_contain, contain
from .data import lay_out_series
from .errors import FitWarning
from .forecast import fill
from .head_errors import set_head
from .least_squares import StreamingQR
from .network import both_ends
from .readout import Judge
from .readout_network import ReadoutNetwork
from .regression import BEGINNING, BEGINNING_WEIGHT, Regression
from .seeds import torch_stream
from .series import Grid, Series
from .settling import measure_settling
from .stream import Piece, Stream
from .tsqr import over_workers
from .worth import what_it_is_worth

if TYPE_CHECKING:
    from .base import Estimator

__all__ = ["StreamedRegression", "check_streamed", "extremes", "solve_streamed"]

SIDE_BY_SIDE = 64  # series


class StreamedRegression(Regression):
    """The problem of `lemode.surrogate.regression.Regression` for pieces of a stream; the response to noise is that of a sample in memory.

    Parameters
    ----------
    network, generator : as there
    sample : a part of the pieces, normalised
    stream, pieces : whose rows are taken in
    columns : those that the network reads, what it predicts first

    Examples
    --------
    >>> from lemode.surrogate.regression import FLOOR
    >>> waves = np.sin(0.1 * np.arange(300) + np.arange(4)[:, None])[..., None]
    >>> network = ReadoutNetwork(lemode.LEM(1, 20, dtype=torch.float64), 1)
    >>> network.set_scales(torch.from_numpy(waves).swapaxes(0, 1))
    >>> sample = Series(network.normalise(torch.from_numpy(waves).swapaxes(0, 1)))
    >>> pieces = [Piece(i, 0, 300) for i in range(4)]
    >>> problem = StreamedRegression(network, sample, torch.Generator().manual_seed(0), Stream(waves), pieces, [0])
    >>> problem.heads([(0.0, 1e-20), (0.0, FLOOR)]).shape
    torch.Size([2, 42, 1])
    """

    def __init__(
        self,
        network: ReadoutNetwork,
        sample: Series,
        generator: torch.Generator,
        stream: Stream,
        pieces: Sequence[Piece],
        columns: list[int],
    ) -> None:
        self.stream, self.pieces, self.read = stream, list(pieces), columns
        super().__init__(network, sample, None, generator)

    def _rows(self, series: Series, known: Tensor | None) -> list[StreamingQR]:
        rows = sum(p.end - p.begin for p in self.pieces)
        data = over_workers(self._of_pieces, lambda i: (i,), len(self.pieces), 2.0 * rows * self.columns**2)
        few = series.part(0, BEGINNING)
        there = BEGINNING_WEIGHT * torch.ones_like(few.x[1:])
        for factor, beginnings in zip(data, self._taken_in(few, there), strict=True):
            factor.merge(beginnings)
        return data

    @torch.no_grad()
    def _of_pieces(self, index: Tensor) -> list[StreamingQR]:
        alone = self._empty()
        pieces = sorted((self.pieces[i] for i in index.tolist()), key=lambda p: p.end - p.begin)
        while pieces:
            length = pieces[0].end - pieces[0].begin
            some = [p for p in pieces if p.end - p.begin == length][:SIDE_BY_SIDE]
            pieces, state = pieces[len(some) :], None
            for _, block in self.stream.blocks(some, overlap=1):
                x = torch.from_numpy(block[..., self.read]).double().swapaxes(0, 1)
                m = len(self.network.input_mean)
                e = both_ends(self.network.normalise_inputs(x[..., -m:])) if m else None
                state = alone._add(Series(self.network.normalise(x[..., : x.shape[-1] - m]), e), None, state)
        return alone.data


def check_streamed(model: Estimator) -> None:
    """ValueError for what would need all data in memory.

    Examples
    --------
    >>> check_streamed(lemode.Surrogate(train="readout"))
    >>> check_streamed(lemode.Surrogate())
    Traceback (most recent call last):
    ValueError: train='auto': a Stream is read a block at a time, which train='readout' does; or fit to a part of it in memory.
    """
    p: dict[str, Any] = model.get_params()
    if p["train"] != "readout":
        raise ValueError(
            f"train={p['train']!r}: a Stream is read a block at a time, which train='readout' does; or fit to a part of it in memory."
        )
    for name, plain in (("scale", ("global",)), ("angles", ((), [], None)), ("season", (None,)), ("weights", (None,))):
        if p.get(name, plain[0]) not in plain:
            raise ValueError(f"{name}={p[name]!r}: a Stream has {name}={plain[0]!r}; or fit to a part of it in memory.")


def extremes(stream: Stream, pieces: Sequence[Piece]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and largest value of each variable ``(2, D)``, in what comes early in the pieces, and in what comes late.

    Raises
    ------
    ValueError
        For a value that is not finite.

    Examples
    --------
    >>> early, late = extremes(Stream(np.arange(10.0)[:, None]), [Piece(0, 0, 10)])
    >>> early.ravel(), late.ravel()
    (array([0., 7.]), array([8., 9.]))
    """
    D = len(stream.names)
    found = np.stack([np.full((2, D), np.inf), np.full((2, D), -np.inf)], 1)
    for piece in pieces:
        cut = piece.begin + round((1 - LATE) * (piece.end - piece.begin))
        for k, part in enumerate((piece._replace(end=cut), piece._replace(begin=cut))):
            for _, block in stream.blocks([part], overlap=0) if part.end > part.begin else ():
                found[k, 0] = np.minimum(found[k, 0], block.min((0, 1)))
                found[k, 1] = np.maximum(found[k, 1], block.max((0, 1)))
    return found[0], found[1]


@torch.no_grad()
def solve_streamed(
    model: Estimator, stream: Stream, pieces: Sequence[Piece], sample: Any, validation: Any, ends: tuple[Any, Any]
) -> None:
    """Bounds, ranges and the head of a readout that was fitted to a sample anew, for all pieces of a stream.

    Examples
    --------
    It is what a fit does at its end:

    >>> stream = Stream(np.sin(0.1 * np.arange(3000) + np.arange(6)[:, None])[..., None])
    >>> model = lemode.Surrogate(hidden_size=10, train="readout", delays=0, verbose=0).fit(stream)
    >>> model.history_.chosen["samples"]  # of five of them
    15000
    """
    network, table = model.network_, model.table_
    assert isinstance(network, ReadoutNetwork)
    columns = [stream.names.index(name) for name in table.read]
    early, late = (end[:, columns] for end in ends)
    low, high = (f(early[k], late[k]) for k, f in ((0, np.minimum), (1, np.maximum)))
    ranges = {name: (float(a), float(b)) for name, a, b in zip(table.read, low, high)}
    model.training_table_ = dataclasses.replace(table, ranges=ranges)
    data = lay_out_series(validation, model.table_)
    # a series that has the extremes where the data have them: of ten samples the last two are its late ones
    contain(network, Grid(np.concatenate([np.tile(early, (4, 1)), late])[None]), data.grid, check_contain(model.contain))
    judged, known = network.series(data.grid), network.series(lay_out_series(sample, model.table_).grid)
    judge, history = Judge.along(judged, model.warmup_, model.seed), model.history_
    with threadpool_limits(1, "blas"):
        problem = StreamedRegression(network, known, torch_stream(model.seed, "noise"), stream, pieces, columns)
        found = judge.best(problem)
    set_head(network, found.coefficients)
    history.chosen |= {
        "noise": found.noise, "ridge": found.ridge, "free_error": found.free, "one_step_error": found.one_step,
        "linear_free_error": found.reference_free, "linear_one_step_error": found.reference_one_step,
        "samples": sum(p.end - p.begin for p in pieces),
    }  # fmt: skip
    history.validation = [(0, found.one_step / float(network.increment.square().mean().sqrt()))]
    along = fill(network, judged)
    model.residuals_ = residuals(network, judged, model.warmup_, along)
    history.settling = measure_settling(network, judged, model.warmup_)
    sentence = what_it_is_worth(network, known, judged, model.warmup_, model.names_, history, along)
    if sentence is not None:
        warnings.warn(sentence, FitWarning, stacklevel=5)
