"""The surrogate of a dynamical system, with scikit-learn's manners."""

from __future__ import annotations

import os
import time
import warnings
from typing import Any

import torch

from ..lem import LEM
from .base import Estimator
from .data import FitData, lay_out_fit
from .errors import FitWarning
from .fitters import Fitter, choose_fitter
from .flow_network import FlowNetwork
from .network import IncrementNetwork, check_core
from .parameters import check_count, names_of
from .phases import spend
from .readout_network import ReadoutNetwork
from .scaling import SCALES
from .stream import Stream, as_stream
from .stream_readout import check_streamed, extremes, solve_streamed

__all__ = ["Surrogate"]


class Surrogate(Estimator):
    r"""A LEM network that has learned the flow map of a system from its sampled trajectories.

    .. math::

        \hat x_{k+1} = \mathrm{clip}\big(x_k + s \odot (C\, y_k + c)\big), \qquad (y_k, z_k) = \mathrm{LEM}(x_k, e_k;\, y_{k-1}, z_{k-1})

    in variables normalised by the training data, with known inputs :math:`e_k` where there are any. The constructor only stores the
    hyper-parameters; what is learned ends in ``_``, and is there when a fit has succeeded, not before.

    Parameters
    ----------
    hidden_size, num_layers, dt, scheme
        The network, see `lemode.LEM`.
    observe : sequence of str, optional
        The variables to learn; all that are no inputs by default. The network's memory stands in for those left out.
    inputs : sequence of str
        Variables that drive the system and are known ahead, such as a current: they are read, not predicted.
    delays : int, optional
        Previous values that are read beside the present one (delay embedding); none by default, and what suits in a readout.
    continuous : bool
        Go on from the map from sample to sample to a differential equation, `lemode.surrogate.flow_network.FlowNetwork`, in 0.4 times as
        many steps: for use at other sampling intervals than that of the training data.
    train : {'auto', 'all', 'readout', 'both'}
        'readout' leaves a random network as it was drawn and solves for its head alone, `lemode.surrogate.readout.fit_readout`: in
        seconds, and for clean data more accurate than training by orders of magnitude. It has `hidden_size` units, of which it wants
        hundreds, and no stage, optimizer or budget, and computes in float64 whatever `dtype` is; of data in float32 their own rounding is
        the limit, 1e-7. It is never worse than a linear autoregression on the validation series. 'all' trains every weight. 'auto' does
        the one and the other, and keeps what is better on the validation series, which ``history_.kept`` tells; with ``continuous=True``
        it is 'all'. 'both' trains every weight and then solves for the head, over the trained units and random ones that read them, and
        keeps that unless it is worse on the validation series: for few trained units, whose time scales mean something, and clean data.
    width : int
        Units of the readout of train='auto', whose trained network has `hidden_size`; random units of 'both'.
    contain : float, optional
        How many times the range of the data predictions may span: what is read and predicted is held there, `lemode.surrogate.containment`,
        and no free run can blow up, whatever it starts from. Inside nothing changes. A variable that drifts out of its range is left
        alone; None sets no bounds.
    budget : {'quick', 'standard', 'thorough'} or float
        5,000, 30,000 or 150,000 gradient steps, ended after 45, 180 or 1,200 s where the machine is slower; or seconds.
    steps, max_time : int, float, optional
        Gradient steps, seconds: either one replaces both of a named budget. A fit that the clock ends depends on the machine:
        `history_` says so, and of a named budget a `lemode.surrogate.FitTimeWarning`.
    batch_size : int
        Trajectories in a gradient step.
    window, washout : int
        Samples in a training window, which starts from a stored state of the network; and the least history a forecast needs, a
        fifth of which does not count at the beginning of a window.
    stages : one or a sequence of 'one-step', 'noise', 'closed-loop', 'forced'
        Training one step ahead comes first. The others fine-tune, on noisy inputs, on free runs, and on runs that are drawn towards the
        data as strongly as gradients need in order not to explode (generalised teacher forcing, `lemode.surrogate.forcing`), and are
        undone unless they improve the free run on the validation series.
    noise, horizon : float, int
        Input noise in units of the one-step error reached, and steps of the free runs, of these stages.
    weights : dict of name to float, optional
        Weights of the variables in the loss; equal by default, each in units of the root mean square of its increments.
    scale : {'global', 'series', 'robust'}
        'global' is one mean and one standard deviation of each variable. 'series': each series has its own, over all its values, so that
        small ones count as large ones do; `predict` reads a series in its scale as a whole, `forecast` in that of the history. 'robust':
        values more than ten times as far from the median as 199 of 200 are taken as missing, in training and ever after.
    angles : sequence of str
        Variables that are angles in radians: read as sine and cosine, however often they wind, and given back between -pi and pi.
    season : float or a sequence of them, optional
        Periods that are known to come back, in units of the times: of dates seconds, or the months that they count, of plain arrays
        samples. Their mean course, `lemode.surrogate.season`, is taken off what is read and added to what is predicted. A plain array
        begins where in the season that of the fit began.
    optimizer : {'auto', 'eigenadam', 'adam'}
        'auto' is `lemode.surrogate.optimizers.EigenAdam`, in blocks for more than 3,000 parameters, while its memory allows.
    lr : float, optional
        Peak learning rate of the cosine schedule, 1e-2 by default.
    dtype : {'float32', 'float64'}, optional
        Precision; that of the data by default.
    seed : int
        Decides initial weights and batches, by a stream of random numbers for each: same seed, same machine, same model, if the steps end
        the fit and not the clock.
    warm_start : bool
        Continue from the weights of the last fit; a copy is trained.
    verbose : int
        0 is quiet.

    Attributes
    ----------
    network_ : IncrementNetwork
        Its ``core`` is a `lemode.LEM`.
    names_, input_names_ : tuple of str
        What is predicted, and what is read only.
    step_ : float
        Sampling interval of the training data (1.0 for plain arrays).
    table_ : lemode.surrogate.reading.Table
        What the training data were like: their columns in order, units, ranges, and what counts their times.
    n_features_in_, feature_names_in_
        How many variables a fit has read, and their names.
    history_ : History
        Losses, validation errors, the best step and why the fit ended.
    warmup_ : int
        Least number of samples that `forecast` accepts.

    Examples
    --------
    >>> t = np.linspace(0, 20, 101)
    >>> waves = np.sin(t + np.arange(8)[:, None])[..., None]
    >>> model = Surrogate(hidden_size=4, steps=20, verbose=0, train="all").fit(lemode.Trajectories(t, waves, ("x",)))
    >>> model.predict(waves).shape, model.forecast(waves[0], steps=7).shape
    ((8, 101, 1), (7, 1))
    """

    report_: dict[str, float]  # only after lemode.fit

    _architecture: tuple[str, ...] = (
        "hidden_size",
        "num_layers",
        "dt",
        "scheme",
        "delays",
        "width",
        "continuous",
        "scale",
        "angles",
        "season",
        "dtype",
    )

    def __init__(
        self,
        hidden_size: int = 16,
        num_layers: int = 1,
        dt: float = 1.0,
        scheme: str = "imex",
        observe: tuple[str, ...] | list[str] | None = None,
        inputs: tuple[str, ...] | list[str] = (),
        delays: int | None = None,
        continuous: bool = False,
        train: str = "auto",
        width: int = 500,
        contain: float | None = 1.2,
        budget: str | float = "quick",
        steps: int | None = None,
        max_time: float | None = None,
        batch_size: int = 32,
        window: int = 250,
        washout: int = 50,
        stages: tuple[str, ...] | list[str] = ("one-step",),
        noise: float = 2.0,
        horizon: int = 20,
        weights: dict[str, float] | None = None,
        scale: str = "global",
        angles: tuple[str, ...] | list[str] = (),
        season: Any = None,
        optimizer: str = "auto",
        lr: float | None = None,
        dtype: str | None = None,
        seed: int = 0,
        warm_start: bool = False,
        verbose: int = 1,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dt = dt
        self.scheme = scheme
        self.observe = observe
        self.inputs = inputs
        self.delays = delays
        self.continuous = continuous
        self.train = train
        self.width = width
        self.contain = contain
        self.budget = budget
        self.steps = steps
        self.max_time = max_time
        self.batch_size = batch_size
        self.window = window
        self.washout = washout
        self.stages = stages
        self.noise = noise
        self.horizon = horizon
        self.weights = weights
        self.scale = scale
        self.angles = angles
        self.season = season
        self.optimizer = optimizer
        self.lr = lr
        self.dtype = dtype
        self.seed = seed
        self.warm_start = warm_start
        self.verbose = verbose

    def _fitter(self) -> Fitter:
        return choose_fitter(self.train, self.continuous, self.delays, check_count("width", self.width))

    def _learn(
        self,
        X: Any,
        validation: Any,
        checkpoint: str | os.PathLike[str] | None,
        every: float | None,
        former: Estimator | None,
    ) -> None:
        """Of data that are on disk and large the choice of the core sees a part, and the head all."""
        stream = X if isinstance(X, Stream) else as_stream(X) if self.train == "readout" else None
        if stream is None:
            return super()._learn(X, validation, checkpoint, every, former)
        check_streamed(self)
        began = time.monotonic()
        pieces, held = stream.hold_out() if validation is None else (stream.whole(), [])
        judge_by = stream.trajectories(held) if validation is None else validation
        ends, sample = extremes(stream, pieces), stream.trajectories(stream.sample(pieces))
        looked = time.monotonic() - began
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)  # of the part; the whole is judged below
            super()._learn(sample, judge_by, checkpoint, every, former)
        solving = time.monotonic()
        solve_streamed(self, stream, pieces, sample, judge_by, ends)
        phases, solved = self.history_.phases, time.monotonic() - solving
        spend(phases, "data", looked)
        spend(phases, "stream", solved)
        self.history_.seconds += looked + solved

    def _check_same_network(self, former: Estimator, data: FitData) -> None:
        if self.train == "readout" and not isinstance(former.network_, ReadoutNetwork):
            raise ValueError(
                "warm_start: train='readout' would draw a core of its own and forget the one there is: warm_start=False, or "
                "train='all' or 'auto', which go on from any."
            )
        super()._check_same_network(former, data)

    def _lay_out(self, X: Any, validation: Any) -> FitData:
        if self.scale not in SCALES:
            raise ValueError(f"scale={self.scale!r}: choose {', '.join(map(repr, SCALES))}.")
        return lay_out_fit(
            X,
            validation,
            self._choose_names,
            self.dtype,
            scale=self.scale,
            angles=names_of("angles", self.angles),
            season=self.season,
        )

    def _choose_names(self, known: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        inputs = names_of("inputs", self.inputs)
        if self.observe is None:
            observe = tuple(name for name in known if name not in inputs)
        else:
            observe = names_of("observe", self.observe)
        both = set(observe) & set(inputs)
        if both or not observe:
            raise ValueError(f"observe={observe}, inputs={inputs}: name at least one variable to observe, and none twice.")
        return observe, inputs

    def _network(self, dimension: int, inputs: int, dtype: torch.dtype) -> IncrementNetwork:
        check_core(self.hidden_size, self.dt, self.scheme, self.num_layers, self.delays)
        delays = self.delays or 0
        core = self._core(dimension * (1 + delays) + 2 * inputs, dtype)
        if self.continuous:
            if not isinstance(core, LEM) or delays:
                raise ValueError("continuous=True: a differential equation needs a LEM as its core, and delays=0.")
            return FlowNetwork(core, self.hidden_size, dimension, dtype, inputs)
        return IncrementNetwork(core, self.hidden_size, dimension, dtype, delays, inputs)

    def _core(self, features: int, dtype: torch.dtype) -> torch.nn.Module:
        """The recurrent layer; `lemode.baselines` puts others here."""
        return LEM(features, self.hidden_size, self.num_layers, dt=self.dt, scheme=self.scheme, dtype=dtype)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Any:
        """As `Estimator.load`; `Surrogate.load` reads the model of every other class, such as `FieldSurrogate`, as what it is."""
        return Estimator.load(path) if cls is Surrogate else super().load(path)
