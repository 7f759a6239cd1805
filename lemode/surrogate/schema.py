"""What a file of a model has to hold: checked by type and size before a network is built of what it claims."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

from torch import Tensor, nn

__all__ = ["check_fields", "check_model", "check_sizes", "check_types", "fits"]

# what has to be there, in every format
MODEL: dict[str, Any] = {
    "params": dict[str, Any], "names": list[str], "input_names": list[str], "step": float, "warmup": int, "history": dict[str, Any],
}  # fmt: skip
# what is there since a later format, or not in every model
LATER: dict[str, Any] = {
    "class": str, "fitted_with": dict[str, Any], "core_dt": float | None, "readout": dict[str, Any] | None, "table": dict[str, Any],
    "report": dict[str, float] | None,
}  # fmt: skip


def fits(value: object, hint: Any) -> bool:
    """Whether a value as JSON gives it is of a type: a list does for a tuple, an integer for a float, and True for neither.

    Examples
    --------
    >>> fits([1, 2.0], tuple[float, float]), fits([1.0], tuple[float, float]), fits({"v": [0, 1]}, dict[str, list[int]])
    (True, False, True)
    >>> fits(True, float), fits(None, float | None), fits("v", list[str])
    (False, True, False)
    """
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind is Any:
        return True
    if kind in (Union, types.UnionType):
        return any(fits(value, arg) for arg in args)
    if isinstance(value, bool) or value is None:
        return kind is type(value)
    if not isinstance(kind, type):
        return False
    if issubclass(kind, Enum):  # of words
        return isinstance(value, str)
    if kind is float:
        return isinstance(value, (int, float))
    if issubclass(kind, Mapping):
        keys, values = args or (Any, Any)
        return isinstance(value, dict) and all(fits(k, keys) and fits(v, values) for k, v in value.items())
    if issubclass(kind, Sequence) and kind is not str:
        if not isinstance(value, (list, tuple)):
            return False
        each = [args[0]] * len(value) if len(args) == 1 or args[1:] == (...,) else list(args)
        return not args or (len(each) == len(value) and all(fits(v, hint) for v, hint in zip(value, each, strict=True)))
    return isinstance(value, kind)


def check_fields(cls: type, values: dict[str, Any], where: str) -> None:
    """ValueError for a field of a dataclass, as JSON gives it, that is not of its type.

    Examples
    --------
    >>> from lemode.surrogate.run import History
    >>> check_fields(History, {"loss": [0.5, 0.25], "validation": [[2, 0.3]]}, "history")
    >>> try:
    ...     check_fields(History, {"loss": "abc"}, "history")
    ... except ValueError as error:
    ...     print(error)
    history.loss='abc' is no list[float]
    """
    hints = get_type_hints(cls)
    for name, value in values.items():
        if name in hints:
            _check(f"{where}.{name}", value, hints[name])


def check_types(metadata: dict[str, Any], needed: dict[str, Any], optional: dict[str, Any]) -> None:
    """ValueError for an entry that is missing, or of another type than these say.

    Examples
    --------
    >>> check_types({"step": 3}, {"step": int}, {"best": float})
    >>> try:
    ...     check_types({"step": 3, "best": "x"}, {"step": int}, {"best": float})
    ... except ValueError as error:
    ...     print(error)
    best='x' is no float
    """
    for name, hint in {**needed, **optional}.items():
        if name in metadata:
            _check(name, metadata[name], hint)
        elif name in needed:
            raise ValueError(f"{name} is missing")


def check_model(metadata: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """ValueError for a part of a model's metadata that is missing, of a wrong type or out of range, or for a size without tensors.

    Examples
    --------
    >>> good = {"params": {}, "names": ["v"], "input_names": [], "step": 0.4, "warmup": 1, "history": {}}
    >>> check_model(good, {})
    >>> for bad in ({"step": 0}, {"names": "v"}, {"input_names": ["v"]}, {"readout": {"units": 10000, "delays": 1}}):
    ...     try:
    ...         check_model({**good, **bad}, {"head.weight": torch.ones(1, 4)})
    ...     except ValueError as error:
    ...         print(error)
    step=0 is no positive number
    names='v' is no list[str]
    names=['v'], input_names=['v']: no names, or some of them twice
    readout.units=10000: there are no weights of so many units
    """
    check_types(metadata, MODEL, LATER)
    names, inputs = metadata["names"], metadata["input_names"]
    if not names or len({*names, *inputs}) < len(names) + len(inputs):
        raise ValueError(f"names={_short(names)}, input_names={_short(inputs)}: no names, or some of them twice")
    if not (metadata["step"] > 0 and math.isfinite(metadata["step"])):
        raise ValueError(f"step={metadata['step']} is no positive number")
    if metadata["warmup"] < 1:
        raise ValueError(f"warmup={metadata['warmup']} is no positive integer")
    layers = metadata.get("fitted_with", metadata["params"]).get("num_layers", 1)
    if fits(layers, int) and layers > max(len(tensors), 1):  # a layer has several
        raise ValueError(f"num_layers={layers}: there are {len(tensors)} tensors")
    readout = metadata.get("readout")
    if readout is not None:
        units = readout.get("units")
        if not isinstance(units, int) or units > sum(
            tensor.shape[-1] for name, tensor in tensors.items() if "weight_zy" in name
        ):
            raise ValueError(f"readout.units={units}: there are no weights of so many units")


def check_sizes(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """ValueError unless a network, which may be on the device 'meta', has tensors of these names, shapes and types.

    Examples
    --------
    >>> check_sizes(torch.nn.Linear(2, 3, device="meta"), {"weight": torch.ones(3, 2), "bias": torch.ones(3)})
    >>> try:
    ...     check_sizes(torch.nn.Linear(10**5, 10**5, device="meta"), {"weight": torch.ones(3, 2), "bias": torch.ones(3)})
    ... except ValueError as error:
    ...     print(error)
    weight has shape (3, 2), and the hyper-parameters are those of (100000, 100000)
    """
    claimed = network.state_dict()
    if claimed.keys() != tensors.keys():
        raise ValueError(f"the tensors are {_short(sorted(tensors))}, and the network has {_short(sorted(claimed))}")
    for name, like in claimed.items():
        given = tensors[name]
        if given.shape != like.shape:
            raise ValueError(
                f"{name} has shape {tuple(given.shape)}, and the hyper-parameters are those of {tuple(like.shape)}"
            )
        if given.dtype != like.dtype:
            raise ValueError(f"{name} is {given.dtype}, and the hyper-parameters are those of {like.dtype}")


def _check(name: str, value: object, hint: Any) -> None:
    if not fits(value, hint):
        raise ValueError(f"{name}={_short(value)} is no {hint.__name__ if type(hint) is type else hint}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 80 else f"{text[:76]} ..."
