"""Weights of other implementations as a LEM, and back: the authors' two layouts, and torchrecurrent's.

Written from the keys, shapes and equations of these packages; a test holds each against a float64 transcription of them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .lem import LEM, LEMCell
from .ode import Blocks

__all__ = ["LAYOUTS", "from_authors", "from_torchrecurrent", "to_authors", "to_torchrecurrent"]


class _Layout(NamedTuple):
    """Keys with their shapes, in terms of d, m and n = m + d."""

    what: str
    mark: str  # the key by which it is known, with d rows
    shapes: dict[str, tuple[str, ...]]
    scheme: str = "imex"


_MODULES = _Layout(
    "the authors' PyTorch LEM",
    "transform_z.weight",
    {
        "inp2hid.weight": ("4d", "m"), "inp2hid.bias": ("4d",), "hid2hid.weight": ("3d", "d"), "hid2hid.bias": ("3d",),
        "transform_z.weight": ("d", "d"), "transform_z.bias": ("d",),
    },
)  # fmt: skip
_CUDA = _Layout(
    "the authors' CUDA extension",
    "weights_lin_z",
    {"weights": ("3d", "n"), "weights_lin_z": ("d", "n"), "bias": ("3d",), "bias_lin_z": ("d",)},
)
_TORCHRECURRENT = _Layout(
    "torchrecurrent's LEM",
    "weight_ch",
    {
        "weight_ih": ("4d", "m"), "weight_hh": ("3d", "d"), "weight_ch": ("d", "d"),
        "bias_ih": ("4d",), "bias_hh": ("3d",), "bias_ch": ("d",),
    },
    scheme="explicit",
)  # fmt: skip

LAYOUTS = {"modules": _MODULES, "cuda": _CUDA}
"""The authors' layouts by name: their PyTorch cell of three linear maps, and the module around their CUDA extension."""


def from_authors(
    state_dict: Mapping[str, Any], prefix: str = "", dt: float = 1.0, *, batch_first: bool = False,
    allow_large_dt: bool = False,
) -> LEM:  # fmt: skip
    r"""A LEM with the weights of the authors' PyTorch LEM, or of their CUDA extension; which one is seen by the keys.

    In their cell ``inp2hid`` (m to 4 d) has the rows y-gate, z-gate, y-candidate, z-candidate, ``hid2hid`` (d to 3 d) y-gate, z-gate,
    z-candidate, and ``transform_z`` acts on the new z. Their extension has ``weights (3 d, d + m)``, acting on :math:`(y, u)`, with
    the rows z-gate, z-candidate, y-gate, and ``weights_lin_z (d, d + m)``, acting on :math:`(z, u)`. Two biases that they add are one
    here, the sum.

    Parameters
    ----------
    state_dict : of a model of theirs, or of its cell
    prefix : str, optional
        What the keys of the cell begin with, such as ``'cell.'``. Without it the one cell that is there is found, and a warning names
        the keys beside it, of a classifier, which are left aside.
    dt : float
        The time step of the cell. No state_dict of theirs holds it: give what the model was made with. Theirs is 1 by default, too.
    batch_first, allow_large_dt
        As of `lemode.LEM`.

    Raises
    ------
    TypeError
        For a state_dict that is no mapping of names to tensors.
    ValueError
        For a key that is missing, or not of the layout, a shape or dtype that does not fit, and for weights of torch.nn.LSTM and GRU.

    Warns
    -----
    UserWarning
        With the names of what was left aside, where no prefix was given.

    Examples
    --------
    >>> cell = torch.nn.ModuleDict({
    ...     "inp2hid": torch.nn.Linear(3, 4 * 8), "hid2hid": torch.nn.Linear(8, 3 * 8), "transform_z": torch.nn.Linear(8, 8)})
    >>> rnn = from_authors(cell.state_dict(), dt=0.5)
    >>> rnn
    LEM(
      3, 8
      (cells): ModuleList(
        (0): LEMCell(
          dt=0.5, scheme='imex'
          (ode): MultiscaleODE(3, 8)
        )
      )
    )

    References
    ----------
    github.com/tk-rusch/LEM at 833da6b, ``src/*/network.py`` and ``LEM_cuda/example/network.py``. Their module around the extension hands
    its initial states over in the order (y, z) to a function that takes (z, y): start it from zero when you compare.
    """
    tensors = _tensors(state_dict)
    layout, (start, *more) = _found(tensors, prefix, LAYOUTS.values())
    if more:
        raise ValueError(f"state_dict has {1 + len(more)} cells, {start!r} and {more[0]!r}: give prefix= for one at a time.")
    aside = [key for key in tensors if key.removeprefix(start) not in layout.shapes or not key.startswith(start)]
    if aside and not prefix:
        warnings.warn(
            f"of the state_dict, {', '.join(aside)} {'is' if len(aside) == 1 else 'are'} no part of the LEM and left aside"
            f"{f'; prefix={start!r} says that this is meant' if start else ''}.",
            stacklevel=2,
        )
    read = _read(tensors, start, layout)
    to_blocks = _blocks_of_modules if layout is _MODULES else _blocks_of_cuda
    return _network([to_blocks(read)], layout.scheme, dt, batch_first, allow_large_dt)


def to_authors(lem: LEM | LEMCell, layout: str = "modules", prefix: str = "") -> dict[str, Tensor]:
    """The weights of a LEM in a layout of the authors, copied: what their model reads with ``load_state_dict``.

    Their layouts have no dt: make their model with ``lem.dt``. Nor has their model layers: of a deep network convert the cells one by one.

    Parameters
    ----------
    lem : LEM of one layer and direction, or LEMCell, with the scheme 'imex'
    layout : {'modules', 'cuda'}
    prefix : str
        What the keys begin with.

    Raises
    ------
    TypeError
        For what is no LEM.
    ValueError
        For several layers or directions, another scheme, or a layout that is not there.

    Examples
    --------
    >>> {key: tuple(tensor.shape) for key, tensor in to_authors(lemode.LEM(3, 8), "cuda").items()}
    {'weights': (24, 11), 'weights_lin_z': (8, 11), 'bias': (24,), 'bias_lin_z': (8,)}
    """
    if layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r}: choose from {', '.join(map(repr, LAYOUTS))}.")
    cells = _cells(lem, "imex", LAYOUTS[layout].what)
    if len(cells) > 1:
        raise ValueError(
            f"the network has {len(cells)} cells, {LAYOUTS[layout].what} has one: convert cells[0], cells[1], ... one by one."
        )
    p = _blocks(cells[0])
    if layout == "modules":
        written = {
            "inp2hid.weight": torch.cat([p.V2, p.V1, p.Vy, p.Vz]),
            "inp2hid.bias": torch.cat([p.b2, p.b1, p.by, p.bz]),
            "hid2hid.weight": torch.cat([p.W2, p.W1, p.Wz]),
            "hid2hid.bias": torch.zeros_like(torch.cat([p.b2, p.b1, p.bz])),
            "transform_z.weight": p.Wy.clone(),
            "transform_z.bias": torch.zeros_like(p.by),
        }
    else:
        on_y = (torch.cat([W, V], 1) for W, V in ((p.W1, p.V1), (p.Wz, p.Vz), (p.W2, p.V2)))
        written = {
            "weights": torch.cat([*on_y]),
            "weights_lin_z": torch.cat([p.Wy, p.Vy], 1),
            "bias": torch.cat([p.b1, p.bz, p.b2]),
            "bias_lin_z": p.by.clone(),
        }
    return {prefix + key: tensor for key, tensor in written.items()}


def from_torchrecurrent(
    state_dict: Mapping[str, Any], prefix: str = "", dt: float = 1.0, *, batch_first: bool = False,
    allow_large_dt: bool = False,
) -> LEM:  # fmt: skip
    r"""A LEM with the scheme 'explicit' and the weights of torchrecurrent's, of any number of layers.

    Their y is made of the *old* z: that is forward Euler for both variables, `lemode.schemes` 'explicit', and not LEM. With it the outputs
    are theirs; to go on with LEM itself, load the weights into ``lemode.LEM(...)`` and train.

    .. math:: y_n = y_{n-1} + \Delta t\,\hat\sigma(W_2 y_{n-1} + V_2 u_n + b_2) \odot (\tanh(W_y z_{n-1} + V_y u_n + b_y) - y_{n-1})

    Parameters
    ----------
    state_dict : of ``torchrecurrent.LEM`` or ``LEMCell``, or of a model with one
    prefix, dt, batch_first, allow_large_dt
        As of `from_authors`; the state is (h, c) = (y, z).

    Raises
    ------
    TypeError, ValueError
        As `from_authors`.

    Examples
    --------
    >>> d, m = 8, 3
    >>> shapes = {"weight_ih": (4 * d, m), "weight_hh": (3 * d, d), "weight_ch": (d, d)}
    >>> biases = {"bias_ih": (4 * d,), "bias_hh": (3 * d,), "bias_ch": (d,)}
    >>> rnn = from_torchrecurrent({f"cells.0.{key}": torch.randn(shape) for key, shape in (shapes | biases).items()})
    >>> rnn.cells[0].scheme.name
    'explicit'

    References
    ----------
    torchrecurrent 0.2.5, ``cells/lem_cell.py``.
    """
    tensors = _tensors(state_dict)
    layout, starts = _found(tensors, prefix, [_TORCHRECURRENT])
    numbered = [re.fullmatch(r"(.*cells\.)(\d+)\.", start) for start in starts]
    layers = [(match[1], int(match[2])) for match in numbered if match]
    if len(starts) > 1 and (len(layers) < len(starts) or len({stem for stem, _ in layers}) > 1):
        raise ValueError(
            f"state_dict has cells under {', '.join(map(repr, starts))}, which are no layers of one network: give prefix= for one."
        )
    starts = [start for _, start in sorted(zip([k for _, k in layers] or [0], starts))]
    return _network(
        [_blocks_of_torchrecurrent(_read(tensors, s, layout)) for s in starts], layout.scheme, dt, batch_first, allow_large_dt
    )


def to_torchrecurrent(lem: LEM | LEMCell, prefix: str = "") -> dict[str, Tensor]:
    """The weights of a network with the scheme 'explicit' as torchrecurrent's LEM reads them; of a LEMCell those of its cell.

    Raises
    ------
    TypeError
        For what is no LEM.
    ValueError
        For another scheme, which is another map, or two directions, which it does not have.

    Examples
    --------
    >>> sorted(to_torchrecurrent(lemode.LEM(3, 8, scheme="explicit")))[:2]
    ['cells.0.bias_ch', 'cells.0.bias_hh']
    """
    written: dict[str, Tensor] = {}
    for k, cell in enumerate(_cells(lem, "explicit", _TORCHRECURRENT.what)):
        p = _blocks(cell)
        start = prefix if isinstance(lem, LEMCell) else f"{prefix}cells.{k}."
        written |= {
            f"{start}weight_ih": torch.cat([p.V2, p.V1, p.Vz, p.Vy]),
            f"{start}weight_hh": torch.cat([p.W2, p.W1, p.Wz]),
            f"{start}weight_ch": p.Wy.clone(),
            f"{start}bias_ih": torch.cat([p.b2, p.b1, p.bz, p.by]),
            f"{start}bias_hh": torch.zeros_like(torch.cat([p.b2, p.b1, p.bz])),
            f"{start}bias_ch": torch.zeros_like(p.by),
        }
    return written


def _blocks_of_modules(s: dict[str, Tensor]) -> Blocks:
    V2, V1, Vy, Vz = s["inp2hid.weight"].chunk(4)
    W2, W1, Wz = s["hid2hid.weight"].chunk(3)
    b2, b1, by, bz = s["inp2hid.bias"].chunk(4)
    c2, c1, cz = s["hid2hid.bias"].chunk(3)
    return Blocks(W1, W2, Wz, s["transform_z.weight"], V1, V2, Vz, Vy, b1 + c1, b2 + c2, bz + cz, by + s["transform_z.bias"])


def _blocks_of_cuda(s: dict[str, Tensor]) -> Blocks:
    d = len(s["bias_lin_z"])
    (W1, V1), (Wz, Vz), (W2, V2) = ((rows[:, :d], rows[:, d:]) for rows in s["weights"].chunk(3))
    Wy, Vy = s["weights_lin_z"][:, :d], s["weights_lin_z"][:, d:]
    b1, bz, b2 = s["bias"].chunk(3)
    return Blocks(W1, W2, Wz, Wy, V1, V2, Vz, Vy, b1, b2, bz, s["bias_lin_z"])


def _blocks_of_torchrecurrent(s: dict[str, Tensor]) -> Blocks:
    V2, V1, Vz, Vy = s["weight_ih"].chunk(4)
    W2, W1, Wz = s["weight_hh"].chunk(3)
    b2, b1, bz, by = s["bias_ih"].chunk(4)
    c2, c1, cz = s["bias_hh"].chunk(3)
    return Blocks(W1, W2, Wz, s["weight_ch"], V1, V2, Vz, Vy, b1 + c1, b2 + c2, bz + cz, by + s["bias_ch"])


def _network(layers: list[Blocks], scheme: str, dt: float, batch_first: bool, allow_large_dt: bool) -> LEM:
    d, m = layers[0].V1.shape
    for k, p in enumerate(layers[1:], 1):
        if p.V1.shape != (d, d):
            raise ValueError(
                f"layer {k} reads {p.V1.shape[1]} features and has {len(p.V1)} units: layer 0 has {d}, as LEM needs."
            )
    like = layers[0].W1
    with torch.device("meta"):
        lem = LEM(
            m, d, len(layers), batch_first=batch_first, dt=dt, scheme=scheme, allow_large_dt=allow_large_dt, dtype=like.dtype
        )
    lem.to_empty(device=like.device)
    with torch.no_grad():
        for cell, p in zip(lem.layers(), layers):
            for here, there in zip(cell.ode.blocks(), p):
                here.copy_(there)
    return lem


def _cells(lem: Any, scheme: str, whose: str) -> list[LEMCell]:
    """The cells that are to be written, all with that scheme."""
    if not isinstance(lem, LEM | LEMCell):
        raise TypeError(f"lem is {type(lem).__name__}: give a lemode.LEM or a lemode.LEMCell.")
    cells = [lem] if isinstance(lem, LEMCell) else lem.layers()
    if isinstance(lem, LEM) and lem.bidirectional:
        raise ValueError(f"the network is bidirectional, {whose} is not: convert its cells one by one.")
    for cell in cells:
        if cell.scheme.name != scheme:
            raise ValueError(
                f"scheme={cell.scheme.name!r}: {whose} is the scheme {scheme!r}, with which the same weights are another map; "
                f"make the network with that, or write {'to_authors' if cell.scheme.name == 'imex' else 'to_torchrecurrent'}."
                if cell.scheme.name in ("imex", "explicit")
                else f"scheme={cell.scheme.name!r}: {whose} is the scheme {scheme!r}, and the same weights are another map; "
                "make the network with that."
            )
    return cells


def _blocks(cell: LEMCell) -> Blocks:
    return Blocks(*(block.detach() for block in cell.ode.blocks()))


def _tensors(state_dict: Any) -> dict[str, Tensor]:
    if isinstance(state_dict, torch.nn.Module):
        raise TypeError(f"state_dict is a {type(state_dict).__name__}: give its state_dict().")
    if not isinstance(state_dict, Mapping) or not all(isinstance(key, str) for key in state_dict):
        raise TypeError(f"state_dict is {type(state_dict).__name__}: give a dict of names and tensors.")
    for key, value in state_dict.items():
        if isinstance(value, Mapping):
            raise TypeError(f"state_dict[{key!r}] is a dict itself: give that one, if it is the model's.")
    return {key: value for key, value in state_dict.items() if isinstance(value, Tensor)}


def _refuse_strangers(tensors: dict[str, Tensor], wanted: Collection[_Layout]) -> None:
    """ValueError for the weights of something else that one may take for a LEM."""
    for key, tensor in tensors.items():
        layer = re.search(r"weight_hh_l\d+$", key)
        if layer and tensor.dim() == 2:
            kind = {4: "LSTM", 3: "GRU", 1: "RNN"}.get(tensor.shape[0] // max(tensor.shape[1], 1), "LSTM")
            raise ValueError(
                f"{key!r} of shape {tuple(tensor.shape)} is of a torch.nn.{kind}, and no LEM computes what that does: LEM moves both its "
                "states towards a tanh by a gated step, so they stay within [-1, 1], and has no other gates. Make a lemode.LEM of "
                "the same sizes and train it on the same data."
            )
        if re.search(r"(^|\.)ode\.weight_zy$", key):
            raise ValueError(f"{key!r} is of lemode's own layer: use lemode.LEM(...).load_state_dict.")
        if key.endswith(_TORCHRECURRENT.mark) and _TORCHRECURRENT not in wanted:
            raise ValueError(
                f"{key!r} is of torchrecurrent's LEM, whose y is made of the old z: read it with lemode.convert.from_torchrecurrent."
            )
        if key.endswith((_MODULES.mark, _CUDA.mark)) and _TORCHRECURRENT in wanted:
            raise ValueError(f"{key!r} is of the authors' LEM: read it with lemode.convert.from_authors.")


def _found(tensors: dict[str, Tensor], prefix: str, layouts: Collection[_Layout]) -> tuple[_Layout, list[str]]:
    """The layout that is there, and what the keys of its cells begin with."""
    for layout in layouts:
        starts = [key.removesuffix(layout.mark) for key in tensors if key.endswith(layout.mark) and key.startswith(prefix)]
        starts = [start for start in starts if start in ("", prefix) or start.endswith(".")]
        if starts:
            return layout, starts
    _refuse_strangers(tensors, layouts)
    keys = ", ".join(list(tensors)[:6]) or "none"
    wanted = " or ".join(f"{layout.mark!r} ({layout.what})" for layout in layouts)
    under = f" under prefix={prefix!r}" if prefix else ""
    raise ValueError(f"state_dict has no {wanted}{under}, its keys are {keys}: give the state_dict of such a model.")


def _read(tensors: dict[str, Tensor], start: str, layout: _Layout) -> dict[str, Tensor]:
    """The tensors of one cell by their names in the layout, their shapes checked against each other."""
    for name in layout.shapes:
        if start + name not in tensors:
            raise ValueError(
                f"state_dict has no {start + name!r}, which {layout.what} has: give the whole state_dict of the cell."
            )
    own = {key.removeprefix(start): tensor for key, tensor in tensors.items() if key.startswith(start)}
    if start:
        strange = [name for name in own if name not in layout.shapes]
        if strange:
            raise ValueError(
                f"state_dict has {start + strange[0]!r}, which {layout.what} does not have: it is another model's, or a changed one."
            )
    read = {name: own[name].detach() for name in layout.shapes}
    d = len(read[layout.mark]) if read[layout.mark].dim() else 0
    wide = next(name for name, shape in layout.shapes.items() if shape[-1] in ("m", "n"))
    columns = read[wide].shape[1] if read[wide].dim() == 2 else 0
    m = columns - d if layout.shapes[wide][-1] == "n" else columns
    sizes = {"d": d, "3d": 3 * d, "4d": 4 * d, "m": m, "n": m + d}
    first = next(iter(layout.shapes))
    for name, tensor in read.items():
        shape = tuple(sizes[size] for size in layout.shapes[name])
        if tuple(tensor.shape) != shape or min(d, m) < 1:
            letters = ", ".join(layout.shapes[name])
            raise ValueError(
                f"{start + name!r} has shape {tuple(tensor.shape)}: {layout.what} of d={d} units, by the rows of "
                f"{layout.mark!r}, has ({letters}) = {shape} there, m inputs, n = d + m; check that the file is of one model."
            )
        if not tensor.is_floating_point() or tensor.dtype != read[first].dtype:
            raise ValueError(
                f"{start + name!r} is {tensor.dtype}, {start + first!r} {read[first].dtype}: convert all to one floating point type."
            )
    return read
