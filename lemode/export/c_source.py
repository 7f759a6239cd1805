"""A surrogate as C99: a header and a source that need nothing but libm, and an example that forecasts a CSV file."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray

from .._version import __version__
from .plan import LayerNumbers, Plan, plan_of

__all__ = ["c"]

Array = NDArray[np.float64]

TEMPLATES = Environment(
    loader=PackageLoader(__package__),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)

# units are padded with such that do nothing to a multiple of this: compilers then find whole vectors, of eight doubles at most
LANES = 8
# and what a layer reads to a multiple of this, so many of which are added up at a time
ROWS = 4

# what C has taken, and main.c
TAKEN = {
    "main",
    "auto",
    "register",
    "signed",
    "unsigned",
    "struct",
    "union",
    "typedef",
    "extern",
    "static",
    "const",
    "volatile",
}


def c(model: Any, folder: str | os.PathLike[str], name: str = "model") -> list[Path]:
    r"""Write a surrogate as C99: ``name.h``, ``name.c`` and an example, ``main.c``.

    .. math:: \hat x_{k+1} = \mathrm{clip}\big(x_k + s \odot (C f_k + c)\big)

    in float64, see `Plan`. The weights are constants, exact to the last bit, and the functions allocate nothing and share nothing, so
    that threads and microcontrollers can run them. Functions in the header, in the units of the data:

    - ``name_begin``, ``name_see``: the first sample, and each that was measured; a NaN is a value that is missing.
    - ``name_step``: one step ahead.
    - ``name_warm_up``, ``name_forecast``: along a history, and free running.

    Parameters
    ----------
    model : fitted `lemode.Surrogate`
    folder : where to write; it is made if it is not there
    name : of the files and functions

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    ValueError
        For a model that cannot be exported, see `plan_of`, and for a name that is none in C.

    Examples
    --------
    >>> import tempfile
    >>> wave = np.sin(np.linspace(0, 60, 301))[:, None]
    >>> model = lemode.Surrogate(hidden_size=2, steps=2, window=20, washout=5, verbose=0, train="all").fit(wave)
    >>> files = c(model, tempfile.mkdtemp(), "wave")
    >>> [file.name for file in files]
    ['wave.h', 'wave.c', 'main.c']
    >>> "int wave_forecast(wave_state *s, const double *u, long steps, double *x)" in files[1].read_text()
    True
    """
    plan, called = plan_of(model), _name(name)
    content = _content(plan, called)
    files = {f"{called}.h": "model.h", f"{called}.c": "model.c", "main.c": "main.c"}
    texts = {file: TEMPLATES.get_template(template).render(content) for file, template in files.items()}
    Path(folder).mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (Path(folder) / file).write_text(text, encoding="ascii")
    return [Path(folder) / file for file in texts]


def _name(name: str) -> str:
    found = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower()
    if not found or found[0].isdigit() or found in TAKEN or keyword.iskeyword(found):
        raise ValueError(
            f"name={name!r}: give the files and functions in C a name that begins with a letter, other than 'main'."
        )
    return found


def _content(plan: Plan, name: str) -> dict[str, Any]:
    """What the templates ask for."""
    d = plan.units
    padded = -(-d // LANES) * LANES
    contained = bool(np.isfinite(plan.lower).any() or np.isfinite(plan.upper).any())
    big = np.finfo(np.float64).max
    return {
        "name": name,
        "NAME": name.upper(),
        "plan": plan,
        "version": __version__,
        "names": [_text(n) for n in plan.names],
        "inputs": [_text(n) for n in plan.inputs],
        "units": padded,
        "layers": [_layer(layer, d, padded, k > 0) for k, layer in enumerate(plan.layers)],
        "head": _array(_head(plan, padded).ravel()),
        "features": _head(plan, padded).shape[1],
        "contained": contained,
        "robust": bool(np.isfinite(plan.limits[0]).any()),
        "lower": _array(np.maximum(plan.lower, -big)),
        "upper": _array(np.minimum(plan.upper, big)),
        "low": _array(np.maximum(plan.limits[0], -big)),
        "high": _array(np.minimum(plan.limits[1], big)),
        **{key: _array(getattr(plan, key)) for key in ("mean", "std", "increment", "input_mean", "input_std", "head_bias")},
    }


def _layer(layer: LayerNumbers, d: int, padded: int, above: bool) -> dict[str, Any]:
    """A row of outputs for every input, so that a product is a sum of rows."""
    reads = padded if above else -(-layer.weight_ih.shape[1] // ROWS) * ROWS
    of_input = np.pad(_blocks(layer.weight_ih, 4, d, padded), ((0, 0), (0, reads - layer.weight_ih.shape[1])))
    return {
        "dt": layer.dt.hex(),
        "reads": reads,
        "input": _array(of_input.T.ravel()),
        "state": _array(np.pad(_blocks(layer.weight_hh, 3, d, padded), ((0, 0), (0, padded - d))).T.ravel()),
        "zy": _array(np.pad(layer.weight_zy, (0, padded - d)).T.ravel()),
        "bias": _array(_blocks(layer.bias[:, None], 4, d, padded).ravel()),
    }


def _blocks(stacked: Array, k: int, d: int, padded: int) -> Array:
    """Stacked blocks ``(k d, m)`` with zeros behind each: ``(k padded, m)``."""
    m = stacked.shape[1]
    return np.pad(stacked.reshape(k, d, m), ((0, 0), (0, padded - d), (0, 0))).reshape(k * padded, m)


def _head(plan: Plan, padded: int) -> Array:
    """The head on the features as the source lays them out: padded y and z of each layer after what is read of the series."""
    d = plan.units
    if not plan.readout:
        return np.pad(plan.head, ((0, 0), (0, padded - d)))
    linear = plan.head.shape[1] - 2 * d * len(plan.layers)
    a, f = plan.head[:, :linear], plan.head[:, linear:]
    f = np.pad(f.reshape(plan.width, -1, d), ((0, 0), (0, 0), (0, padded - d))).reshape(plan.width, -1)
    return np.concatenate([np.pad(a, ((0, 0), (0, -linear % LANES))), f], 1)


def _array(values: Iterable[float]) -> str:
    """Hexadecimal literals, which are exact."""
    words = [float(v).hex() for v in values]
    return ",\n  ".join(", ".join(words[i : i + 4]) for i in range(0, len(words), 4))


def _text(name: str) -> str:
    """A string literal in ASCII, whatever is in the name."""
    octal = (chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in name.encode())
    return f'"{"".join(octal)}"'
