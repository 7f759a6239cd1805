"""A surrogate as ONNX: a step, and a forecast that scans a history with it and goes on from its own predictions."""

from __future__ import annotations

import importlib
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._version import __version__
from .plan import Plan, plan_of

__all__ = ["onnx"]

Array = NDArray[Any]

# of 2022: runtimes of then and since read it, and it has all that is needed here
OPSET, IR_VERSION = 17, 8


def onnx(model: Any, folder: str | os.PathLike[str]) -> list[Path]:
    r"""Write a surrogate as ONNX, in its own precision: ``step.onnx`` and ``forecast.onnx``, for any number N of series at a time.

    .. math:: \hat x_{k+1} = \mathrm{clip}\big(x_k + s \odot (C f_k + c)\big)

    Values are in the units of the data; NaN among the variables is a value that is missing, for which the model's own prediction stands in.

    - ``step.onnx``: ``x (N, D)`` and ``state (N, S)``, of a model with inputs also ``u (N, m)`` and ``u_next (N, m)``, those at the times
      of x and of the prediction; to ``next (N, D)`` and ``next_state (N, S)``. A state of NaN is a beginning.
    - ``forecast.onnx``: ``history (T, N, D)`` and ``steps ()``, of a model with inputs also ``history_inputs (T, N, m)`` and
      ``inputs (steps, N, m)``, to ``forecast (steps, N, D)``. It is a Scan over the step.

    The names and the interval are in the metadata.

    Parameters
    ----------
    model : fitted `lemode.Surrogate`
    folder : where to write; it is made if it is not there

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    ValueError
        For a model that cannot be exported, see `plan_of`, or has angles, which ONNX cannot give back.
    ImportError
        Without onnx.

    Examples
    --------
    >>> wave = np.sin(np.linspace(0, 60, 301))[:, None]
    >>> model = lemode.Surrogate(hidden_size=2, steps=2, window=20, washout=5, angles="x0", verbose=0, train="all").fit(wave)
    >>> try:
    ...     onnx(model, "out")
    ... except ValueError as error:
    ...     print(error)
    angles=('x0',) are not exported to ONNX, which has no atan2: export to C, or fit to their cosine and sine.
    """
    plan = plan_of(model)
    if plan.angles:
        names = tuple(plan.names[place] for place in plan.angles)
        raise ValueError(
            f"angles={names} are not exported to ONNX, which has no atan2: export to C, or fit to their cosine and sine."
        )
    try:
        library = importlib.import_module("onnx")
    except ImportError as e:
        raise ImportError("the export to ONNX needs onnx: pip install 'lemode[onnx]'.") from e
    made = {"step.onnx": _step_model(library, plan), "forecast.onnx": _forecast_model(library, plan)}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file, graph in made.items():
        (Path(folder) / file).write_bytes(graph.SerializeToString())
    return [Path(folder) / file for file in made]


class _Nodes:
    """A graph that is being written: each call adds a node, and gives the name of what comes out of it."""

    def __init__(self, library: Any, dtype: str, name: str) -> None:
        # a name is one even where a graph is inside of another
        self.library, self.dtype, self.name = library, dtype, name
        self.kind = getattr(library.TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}[dtype])
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.several(op, 1, *inputs, **attributes)[0]

    def several(self, op: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        names = [f"{self.name}_{op}_{len(self.nodes)}_{k}" for k in range(outputs)]
        self.nodes.append(self.library.helper.make_node(op, inputs, names, **attributes))
        return names

    def named(self, name: str, value: str) -> None:
        """Give an output its name."""
        self.nodes.append(self.library.helper.make_node("Identity", [value], [name]))

    def numbers(self, array: Any) -> str:
        return self._constant(np.asarray(array, dtype=self.dtype))

    def integers(self, *values: int) -> str:
        return self._constant(np.array(values, dtype=np.int64))

    def _constant(self, array: Array) -> str:
        name = f"{self.name}_constant_{len(self.constants)}"
        self.constants.append(self.library.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def value(self, name: str, *shape: Any, kind: int | None = None) -> Any:
        """What goes in or out; a shape has sizes, and names of those that are free."""
        return self.library.helper.make_tensor_value_info(name, self.kind if kind is None else kind, shape)

    def graph(self, inputs: list[Any], outputs: list[Any]) -> Any:
        return self.library.helper.make_graph(self.nodes, self.name, inputs, outputs, self.constants)


def _sizes(plan: Plan) -> list[int]:
    """Columns of the state: y and z of each layer, the values before, the newest first, and the last prediction."""
    return [plan.units] * (2 * len(plan.layers)) + [plan.width] * (plan.delays + 1)


def _step(g: _Nodes, plan: Plan, x: str, u: str | None, u_next: str | None, state: str) -> tuple[str, str]:
    """The next values in the units of the data, and the next state."""
    if np.isfinite(plan.limits[0]).any():  # outliers are missing
        beyond = g("Or", g("Less", x, g.numbers(plan.limits[0])), g("Greater", x, g.numbers(plan.limits[1])))
        x = g("Where", beyond, g.numbers(np.nan), x)
    sizes = _sizes(plan)
    layers = 2 * len(plan.layers)
    # NaN is a beginning: units at rest, the mean in the place of a prediction, and no other value before than x
    parts = g.several("Split", len(sizes), state, g.integers(*sizes), axis=1)
    at_rest = [g("Where", g("IsNaN", part), g.numbers(0.0), part) for part in (*parts[:layers], parts[-1])]
    given = g("Div", g("Sub", x, g.numbers(plan.mean)), g.numbers(plan.std))
    x = _held(g, plan, g("Where", g("IsNaN", given), at_rest[-1], given))
    past = [g("Where", g("IsNaN", part), x, part) for part in parts[layers:-1]]
    read = [x, *past]
    for e in (u, u_next):
        if e is not None:
            read.append(g("Div", g("Sub", e, g.numbers(plan.input_mean)), g.numbers(plan.input_std)))
    above, states = g("Concat", *read, axis=1) if len(read) > 1 else x, []
    for k, layer in enumerate(plan.layers):
        y, z = _layer(g, plan.scheme, layer, above, at_rest[2 * k], at_rest[2 * k + 1])
        states += [y, z]
        above = y
    features = above
    if plan.readout:
        s = g.numbers(plan.increment)
        lags = read[: plan.delays + 1]
        differences = [g("Div", g("Sub", later, earlier), s) for later, earlier in pairwise(lags)]
        features = g("Concat", x, *differences, *read[plan.delays + 1 :], *states, axis=1)
    head = g("Gemm", features, g.numbers(plan.head.T), g.numbers(plan.head_bias))
    after = _held(g, plan, g("Add", x, g("Mul", g.numbers(plan.increment), head)))
    out = g("Add", g("Mul", after, g.numbers(plan.std)), g.numbers(plan.mean))
    return out, g("Concat", *states, *read[: plan.delays], after, axis=1)


def _held(g: _Nodes, plan: Plan, x: str) -> str:
    if not (np.isfinite(plan.lower).any() or np.isfinite(plan.upper).any()):
        return x
    # and not Max and Min, which runtimes disagree about where there is a NaN
    lower, upper = g.numbers(plan.lower), g.numbers(plan.upper)
    x = g("Where", g("Less", x, lower), lower, x)
    return g("Where", g("Greater", x, upper), upper, x)


def _layer(g: _Nodes, scheme: str, layer: Any, u: str, y: str, z: str) -> tuple[str, str]:
    """One step of the ODE, by any scheme; see `lemode.schemes`."""
    d = len(layer.weight_zy)
    of_u = g.several(
        "Split", 4, g("Gemm", u, g.numbers(layer.weight_ih.T), g.numbers(layer.bias)), g.integers(d, d, d, d), axis=1
    )
    weights_y, weights_z = g.numbers(layer.weight_hh.T), g.numbers(layer.weight_zy.T)

    def of_y(y: str) -> list[str]:
        parts = g.several("Split", 3, g("MatMul", y, weights_y), g.integers(d, d, d), axis=1)
        return [g("Add", part, other) for part, other in zip(parts, of_u[:3])]

    def target_of_y(z: str) -> str:
        return g("Tanh", g("Add", g("MatMul", z, weights_z), of_u[3]))

    def leak(a: str, dt: float) -> str:
        gate = g("Mul", g.numbers(dt), g("Sigmoid", a))
        one = g.numbers(1.0)
        if scheme == "semi_implicit":
            return g("Div", gate, g("Add", one, gate))
        return g("Sub", one, g("Exp", g("Neg", gate))) if scheme in ("exponential", "strang") else gate

    def relaxed(x: str, rate: str, target: str) -> str:
        return g("Add", x, g("Mul", rate, g("Sub", target, x)))

    a1, a2, az = of_y(y)
    if scheme == "strang":
        z = relaxed(z, leak(a1, layer.dt / 2), g("Tanh", az))
        target = target_of_y(z)
        middle = relaxed(y, leak(a2, layer.dt / 2), target)
        y = relaxed(y, leak(of_y(middle)[1], layer.dt), target)
        a1, _, az = of_y(y)
        return y, relaxed(z, leak(a1, layer.dt / 2), g("Tanh", az))
    before = z
    z = relaxed(z, leak(a1, layer.dt), g("Tanh", az))
    return relaxed(y, leak(a2, layer.dt), target_of_y(before if scheme == "explicit" else z)), z


def _io(g: _Nodes, plan: Plan) -> tuple[list[Any], list[Any], list[str]]:
    """Of a step: what goes in and out, and the names of the inputs."""
    D, m, S = len(plan.names), len(plan.inputs), sum(_sizes(plan))
    known = ["u", "u_next"] if m else []
    into = [g.value("state", "N", S), g.value("x", "N", D), *(g.value(name, "N", m) for name in known)]
    return into, [g.value("next_state", "N", S), g.value("next", "N", D)], known


def _step_graph(library: Any, plan: Plan) -> Any:
    g = _Nodes(library, plan.dtype, "step")
    into, out, known = _io(g, plan)
    u, u_next = known or (None, None)
    after, state = _step(g, plan, "x", u, u_next, "state")
    g.named("next_state", state)
    g.named("next", after)
    return g.graph(into, out)


def _step_model(library: Any, plan: Plan) -> Any:
    return _model(library, plan, _step_graph(library, plan))


def _forecast_model(library: Any, plan: Plan) -> Any:
    """A value to come is one that is missing: a Scan over history and NaN."""
    g = _Nodes(library, plan.dtype, "forecast")
    D, m, S = len(plan.names), len(plan.inputs), sum(_sizes(plan))
    length = g("Shape", "history")
    T, N = (g("Slice", length, g.integers(k), g.integers(k + 1)) for k in (0, 1))
    count = g("Reshape", "steps", g.integers(1))
    ahead = g("Sub", count, g.integers(1))
    tensor = library.numpy_helper.from_array(np.full(1, np.nan, dtype=plan.dtype))
    nothing = g("ConstantOfShape", g("Concat", ahead, N, g.integers(D), axis=0), value=tensor)
    state = g("ConstantOfShape", g("Concat", N, g.integers(S), axis=0), value=tensor)
    along = [g("Concat", "history", nothing, axis=0)]
    into = [g.value("history", "T", "N", D), g.value("steps", kind=library.TensorProto.INT64)]
    if m:
        into += [g.value("history_inputs", "T", "N", m), g.value("inputs", "K", "N", m)]
        given = g("Slice", "inputs", g.integers(0), count, g.integers(0))
        u = g("Concat", "history_inputs", given, axis=0)
        last = g("Add", T, ahead)
        along += [
            g("Slice", u, g.integers(0), last, g.integers(0)),
            g("Slice", u, g.integers(1), g("Add", last, g.integers(1)), g.integers(0)),
        ]
    _, found = g.several("Scan", 2, state, *along, body=_step_graph(library, plan), num_scan_inputs=len(along))
    g.named("forecast", g("Slice", found, g("Sub", T, g.integers(1)), g.integers(np.iinfo(np.int64).max), g.integers(0)))
    return _model(library, plan, g.graph(into, [g.value("forecast", "K", "N", D)]))


def _model(library: Any, plan: Plan, graph: Any) -> Any:
    helper = library.helper
    made = helper.make_model(
        graph, producer_name="lemode", producer_version=__version__, opset_imports=[helper.make_opsetid("", OPSET)]
    )
    made.ir_version = IR_VERSION
    said = {"names": plan.names, "inputs": plan.inputs, "interval": plan.interval, "clock": plan.clock, "warmup": plan.warmup}
    helper.set_model_props(made, {key: json.dumps(value) for key, value in said.items()})
    library.checker.check_model(made, full_check=True)
    return made
