"""The compiled core, `csrc/`, loaded with ctypes. A package built without a compiler lacks it and works without it."""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from importlib import resources
from pathlib import Path

import torch

__all__ = [
    "DTYPES",
    "SCHEME_CODES",
    "LayerStruct",
    "RolloutStruct",
    "SequenceStruct",
    "available",
    "isa",
    "require",
    "select",
    "threads",
    "trim",
    "warn_missing",
]

DTYPES = {torch.float32: "f32", torch.float64: "f64"}
SCHEME_CODES = {"imex": 0, "semi_implicit": 1, "exponential": 2}
VERSION = 5  # of csrc/lemode.h

_int, _int32, _pointer = ctypes.c_int64, ctypes.c_int32, ctypes.c_void_p


def _struct(name: str, *fields: tuple[str, type]) -> type[ctypes.Structure]:
    return type(name, (ctypes.Structure,), {"_fields_": [(n, kind) for names, kind in fields for n in names.split()]})


# csrc/lemode.h, field by field
SequenceStruct = _struct(
    "SequenceStruct",
    ("L N m d", _int), ("scheme threads", _int32),
    ("u", _pointer), ("u_n u_b", _int), ("y0 z0 dt", _pointer), ("dt_n dt_b", _int),
    ("weight_ih weight_hh weight_zy bias ys zs saved grad_ys grad_zs", _pointer), ("gy_n gy_b gz_n gz_b", _int),
    ("grad_u grad_y0 grad_z0 grad_dt grad_weight_ih grad_weight_hh grad_weight_zy grad_bias", _pointer),
)  # fmt: skip
LayerStruct = _struct(
    "LayerStruct",
    ("m d", _int), ("scheme reserved", _int32), ("dt", ctypes.c_double), ("weight_ih weight_hh weight_zy bias y0 z0", _pointer),
)  # fmt: skip
RolloutStruct = _struct(
    "RolloutStruct",
    ("steps N D extra delays", _int), ("layers residual threads whole", _int32),
    ("layer readout readout_bias x0 past exogenous xs lower upper", _pointer),
)  # fmt: skip


def _load() -> ctypes.CDLL | None:
    suffix = ".dll" if sys.platform == "win32" else ".so"  # CMake names a module so on macOS too
    built = os.environ.get("LEMODE_CORE")  # another build, such as the one with the sanitizers
    file = Path(built) if built else resources.files(__package__).joinpath("lemode_core" + suffix)
    if not file.is_file():
        return None
    try:
        core = ctypes.CDLL(str(file))
        if core.lemode_version() != VERSION:
            return None
    except (OSError, AttributeError):
        return None
    for kind, struct in (("forward", SequenceStruct), ("backward", SequenceStruct), ("rollout", RolloutStruct)):
        for suffix in DTYPES.values():
            getattr(core, f"lemode_{kind}_{suffix}").argtypes = [ctypes.POINTER(struct)]
    core.lemode_vector_bytes.restype = _int
    for name in ("tanh", "sigmoid"):
        for suffix in DTYPES.values():
            function = getattr(core, f"lemode_{name}_{suffix}")
            function.argtypes, function.restype = [_pointer, _pointer, _int], None
    core.lemode_trim.argtypes, core.lemode_trim.restype = [], None
    core.lemode_multiply_adds.argtypes = [_int, ctypes.POINTER(ctypes.c_double)]
    core.lemode_multiply_adds.restype = ctypes.c_double
    core.lemode_isa.restype = ctypes.c_char_p
    core.lemode_select.argtypes = [ctypes.c_char_p]
    return core


# loaded on import, in a fraction of a millisecond: torch.compile cannot trace through the loading
_library = _load()


def available() -> bool:
    """Whether the compiled core is there."""
    return _library is not None


def require() -> ctypes.CDLL:
    """The core; RuntimeError where it is missing."""
    if _library is None:
        raise RuntimeError(f"backend='native' needs the compiled core. {_MISSING}")
    return _library


def isa() -> str:
    """The instruction set in use, 'avx512', 'avx2' or 'baseline'; 'none' without the core."""
    return "none" if _library is None else _library.lemode_isa().decode()


def select(name: str) -> bool:
    """Use that instruction set from now on; False if this machine lacks it. No sequence may be waiting for its backward."""
    return _library is not None and _library.lemode_select(name.encode()) == 0


def trim() -> None:
    """Free the core's idle working memory."""
    if _library is not None:
        _library.lemode_trim()


def threads(work: float) -> int:
    """Threads worth starting for `work` multiplications, at most torch.get_num_threads()."""
    return max(1, min(torch.get_num_threads(), int(work / 2e7)))


_MISSING = (
    "lemode was installed without a C++ compiler: install one (`apt install g++`, `xcode-select --install`) and then lemode again, "
    "`pip install --force-reinstall --no-deps --no-cache-dir lemode`; or use backend='torch'."
)


_warned = False


def warn_missing() -> None:
    """Say once that the core is missing and what to do."""
    global _warned
    if not (_warned or torch.compiler.is_compiling()):
        _warned = True
        warnings.warn(f"Running without the compiled core, many times slower. {_MISSING}", RuntimeWarning, stacklevel=4)
