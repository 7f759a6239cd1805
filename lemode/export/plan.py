"""What there is to a surrogate when it runs: its numbers, in float64, and what of it can be exported at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..lem import LEM, LEMCell
from ..surrogate import Surrogate
from ..surrogate.field_network import FieldNetwork
from ..surrogate.flow_network import FlowNetwork
from ..surrogate.readout_network import ReadoutNetwork

__all__ = ["LayerNumbers", "Plan", "plan_of"]

Array = NDArray[np.float64]


class LayerNumbers(NamedTuple):
    """A layer: stacked as in `lemode.MultiscaleODE`, ``(4 d, m)``, ``(3 d, d)``, ``(d, d)``, ``(4 d,)``, and its step.

    Examples
    --------
    >>> LayerNumbers(np.zeros((8, 1)), np.zeros((6, 2)), np.zeros((2, 2)), np.zeros(8), 0.5).weight_zy.shape
    (2, 2)
    """

    weight_ih: Array
    weight_hh: Array
    weight_zy: Array
    bias: Array
    dt: float


@dataclass(frozen=True)
class Plan:
    r"""One step of a surrogate, in numbers.

    .. math::

        \hat x_{k+1} = \mathrm{clip}\big(x_k + s \odot (C f_k + c)\big), \qquad u_k = (x_k, \dots, x_{k-p}, e_k, e_{k+1})

    with x and e normalised, angles as cosine and, behind all variables, sine, and :math:`f_k` the y of the last layer; of a readout
    :math:`x_k`, its last differences over s, the inputs, and y and z of every layer.

    Attributes
    ----------
    names, inputs : what is predicted, and what is read only
    interval, clock, warmup : between samples, in what, and the least history
    dtype : 'float32' or 'float64', in which the model itself computes
    delays : p
    angles : places of the names that are angles
    limits : low and high of each name, ``(D,)``; what is beyond is missing
    mean, std, increment, lower, upper : ``(D + angles,)``
    input_mean, input_std : ``(m,)``
    head, head_bias : C ``(D + angles, features)`` and c
    readout : whether the head reads all of the state and the series
    scheme : of the core

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 301))[:, None]
    >>> model = lemode.Surrogate(hidden_size=2, steps=2, window=20, washout=5, verbose=0, train="all").fit(wave)
    >>> plan = plan_of(model)
    >>> plan.names, plan.width, plan.head.shape, plan.layers[0].weight_hh.shape
    (('x0',), 1, (1, 2), (6, 2))
    """

    names: tuple[str, ...]
    inputs: tuple[str, ...]
    interval: float
    clock: str
    warmup: int
    dtype: str
    delays: int
    angles: tuple[int, ...]
    limits: tuple[Array, Array]
    mean: Array
    std: Array
    increment: Array
    lower: Array
    upper: Array
    input_mean: Array
    input_std: Array
    layers: tuple[LayerNumbers, ...]
    scheme: str
    head: Array
    head_bias: Array
    readout: bool

    @property
    def width(self) -> int:
        """Coordinates of what is predicted."""
        return len(self.mean)

    @property
    def units(self) -> int:
        """Units of each layer."""
        return len(self.layers[0].weight_zy)


def plan_of(model: Any) -> Plan:
    """The numbers of a fitted surrogate; ValueError for one that needs more than these, in a sentence that says what can be exported.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 301))[:, None]
    >>> settings = {"hidden_size": 2, "steps": 2, "window": 20, "washout": 5, "verbose": 0}
    >>> try:
    ...     plan_of(lemode.baselines.GRU(**settings).fit(wave))
    ... except ValueError as error:
    ...     print(error)
    a GRU is not exported, whose core is no LEM: of lemode.Surrogate, train='all', 'readout', 'auto' and 'both' are.
    """
    _refuse(model)
    network, table, core = model.network_, model.table_, model.network_.core
    names = model.names_
    ends = [table.limits.get(name, (-np.inf, np.inf)) for name in names]
    return Plan(
        names=names,
        inputs=model.input_names_,
        interval=model.step_,
        clock=table.clock,
        warmup=model.warmup_,
        dtype=str(network.mean.dtype).removeprefix("torch."),
        delays=network.delays,
        angles=tuple(names.index(name) for name in table.angles),
        limits=(np.array([low for low, _ in ends]), np.array([high for _, high in ends])),
        **{
            name: _numbers(getattr(network, name))
            for name in ("mean", "std", "increment", "lower", "upper", "input_mean", "input_std")
        },
        layers=tuple(_layer(cell) for cell in core.layers()),
        scheme=core.layers()[0].scheme.name,
        head=_numbers(network.head.weight),
        head_bias=_numbers(network.head.bias),
        readout=isinstance(network, ReadoutNetwork),
    )


def _refuse(model: Any) -> None:
    can = "of lemode.Surrogate, train='all', 'readout', 'auto' and 'both' are"
    if not hasattr(model, "network_"):
        if hasattr(model, "members_"):
            raise ValueError(f"{type(model).__name__}: export its members, one by one, model.members_[k].")
        if isinstance(model, Surrogate):
            raise ValueError("this Surrogate is not fitted yet: call fit(trajectories) first, or Surrogate.load(path).")
        raise ValueError(f"{type(model).__name__} is not exported: {can}.")
    network, table = model.network_, model.table_
    if isinstance(network, FlowNetwork):
        raise ValueError(f"a model with continuous=True is not exported, which needs a solver: {can}, without continuous.")
    if isinstance(network, FieldNetwork) or not isinstance(model, Surrogate):
        raise ValueError(f"a {type(model).__name__} is not exported, which reads what is around each point: {can}.")
    if not isinstance(network.core, LEM):
        raise ValueError(f"a {type(network.core).__name__} is not exported, whose core is no LEM: {can}.")
    if table.periods:
        raise ValueError(
            f"season={table.periods} is not exported, which needs a calendar: take the season off the data, and fit without season=."
        )
    if table.scale == "series":
        raise ValueError(
            "scale='series' is not exported, which needs the whole history at once: fit with scale='global' or 'robust'."
        )


def _layer(cell: LEMCell) -> LayerNumbers:
    ode = cell.ode
    bias = _numbers(ode.stacked_bias())
    return LayerNumbers(_numbers(ode.weight_ih), _numbers(ode.weight_hh), _numbers(ode.weight_zy), bias, float(cell.dt))


def _numbers(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().double().numpy())
