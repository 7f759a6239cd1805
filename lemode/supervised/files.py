"""A fitted classifier or regressor as a file: safetensors and JSON, nothing of which is executed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..surrogate import storage
from ..surrogate.parameters import plain
from ..surrogate.schema import check_fields, fits
from .network import CELLS, READOUTS, SequenceNetwork, sketch
from .series import Scales
from .training import History

__all__ = ["FIELDS", "KIND", "read", "write"]

KIND = "lemode sequence model"
"""What stands in the header of such a file."""

FIELDS: dict[str, Any] = {
    "class": str, "params": dict[str, Any], "network": dict[str, Any], "features": int, "outputs": int, "mean": list[float],
    "std": list[float], "history": dict[str, Any], "own": dict[str, Any],
}  # fmt: skip
"""What has to be there, by type."""

SIZES = {"cell": str, "hidden_size": int, "num_layers": int, "dt": float, "readout": str, "dropout": float, "dtype": str}


def write(path: str | os.PathLike[str], model: Any, own: dict[str, Any]) -> None:
    """Write a fitted model, and what its class has learned of its own; TypeError for a core that only its program knows.

    Examples
    --------
    >>> import tempfile
    >>> model = lemode.LEMRegressor(hidden_size=2, steps=1, verbose=0).fit(np.eye(12), np.arange(12))
    >>> model.save(f"{tempfile.mkdtemp()}/model.lem")
    """
    network = model._fitted_with
    if callable(network["cell"]):
        raise TypeError(
            f"cell={getattr(network['cell'], '__name__', network['cell'])}: a file holds numbers and no code, so a model with a core of "
            "your own is not written; keep model.network_.state_dict()."
        )
    params = {name: plain(value) for name, value in model.get_params().items() if not callable(value)}
    if isinstance(params.get("class_weight"), dict):  # JSON knows no keys but strings
        params["class_weight"] = [[label, weight] for label, weight in params["class_weight"].items()]
    metadata = {
        "class": type(model).__name__, "params": params, "network": network, "features": model.n_features_in_,
        "outputs": model.network_.head.out_features, "mean": model.scales_.mean.tolist(), "std": model.scales_.std.tolist(),
        "history": vars(model.history_), "own": own,
    }  # fmt: skip
    storage.write(path, model.network_.state_dict(), metadata, KIND)


def read(path: str | os.PathLike[str], known: dict[str, type]) -> tuple[Any, dict[str, Any]]:
    """The model of such a file, which is one of the `known` classes, and what its class had learned of its own.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        For a file that is foreign, damaged or newer, or holds a model of another class.

    Examples
    --------
    >>> import tempfile
    >>> path = f"{tempfile.mkdtemp()}/model.lem"
    >>> lemode.LEMRegressor(hidden_size=2, steps=1, verbose=0).fit(np.eye(12), np.arange(12)).save(path)
    >>> read(path, {"LEMRegressor": lemode.LEMRegressor})[0]
    LEMRegressor(hidden_size=2, steps=1, verbose=0)
    """
    tensors, metadata = storage.read(path, KIND)
    try:
        for fields, values in ((FIELDS, metadata), (SIZES, metadata.get("network", {}))):
            for name, hint in fields.items():
                if name not in values or not fits(values[name], hint):
                    raise ValueError(f"{name!r} is missing, or no {hint}")
        check_fields(History, metadata["history"], "history")
    except ValueError as e:
        raise ValueError(f"{path}: the metadata of this {KIND} are damaged ({e}).") from e
    if metadata["class"] not in known:
        raise ValueError(f"{path}: the model is a {metadata['class']}: read it with lemode.{metadata['class']}.load.")
    cls = known[metadata["class"]]
    params = dict(metadata["params"])
    if isinstance(params.get("class_weight"), list):
        params["class_weight"] = dict(params["class_weight"])
    try:
        model = cls(**params)
        model._fitted_with = metadata["network"]
        model.network_ = _network(metadata, tensors)
        model.scales_ = Scales(_vector(metadata, "mean"), _vector(metadata, "std"))
        model.history_ = History(**metadata["history"])
        model.history_.validation = [(step, error) for step, error in model.history_.validation]
    except (TypeError, ValueError, KeyError, RuntimeError) as e:  # the last of torch, of sizes beyond all numbers
        raise ValueError(f"{path}: the metadata of this {KIND} are damaged ({e}).") from e
    model.n_features_in_ = metadata["features"]
    return model, metadata["own"]


def _vector(metadata: dict[str, Any], name: str) -> NDArray[np.float64]:
    values = np.array(metadata[name], dtype=np.float64)
    if values.shape != (metadata["features"],) or not np.isfinite(values).all():
        raise ValueError(f"{name!r} are no {metadata['features']} numbers")
    return values


def _network(metadata: dict[str, Any], tensors: dict[str, Tensor]) -> SequenceNetwork:
    """Sketched without memory and compared with the tensors before there is any: a file may claim what it likes."""
    n = metadata["network"]
    if n["cell"] not in CELLS or n["readout"] not in READOUTS or n["dtype"] not in ("float32", "float64"):
        raise ValueError(f"a network of {n}")
    if n["num_layers"] > len(tensors):
        raise ValueError(f"num_layers={n['num_layers']}, and {len(tensors)} tensors")
    network = sketch(
        n["cell"], metadata["features"], n["hidden_size"], metadata["outputs"], num_layers=n["num_layers"], dt=n["dt"],
        readout=n["readout"], dropout=n["dropout"], dtype=getattr(torch, n["dtype"]),
    )  # fmt: skip
    expected = {name: (tuple(t.shape), t.dtype) for name, t in network.state_dict().items()}
    if expected != {name: (tuple(t.shape), t.dtype) for name, t in tensors.items()}:
        raise ValueError(f"its tensors are not those of a network of {n}")
    network.to_empty(device="cpu")
    network.load_state_dict(tensors)
    return network.eval()
