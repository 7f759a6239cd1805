"""Saving and loading a surrogate: safetensors with JSON metadata, replaced atomically, never executed."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from .._version import __version__

__all__ = ["FORMAT_VERSION", "check_writable", "read", "write"]

FORMAT, FORMAT_VERSION = "lemode model", 2


def write(path: str | os.PathLike[str], tensors: dict[str, Tensor], metadata: dict[str, Any], kind: str = FORMAT) -> None:
    """Write tensors and JSON-able metadata to `path`; what was there stays whole until the new file is complete.

    Where `path` is a link, the file that it leads to is replaced.

    Raises
    ------
    OSError
        If `path` cannot be written, see `check_writable`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> write(folder / "numbers", {"x": torch.arange(3)}, {"names": ["v", "w"]})
    >>> [path.name for path in folder.iterdir()]
    ['numbers']
    """
    target = check_writable(path)
    header = {
        "format": kind,
        "format_version": str(FORMAT_VERSION),
        "lemode_version": __version__,
        "metadata": json.dumps(metadata),
    }
    temporary = target.parent / f".lemode-{secrets.token_hex(8)}.tmp"
    # made by os.open, so that it has the permissions of any other new file: save_file makes a private one
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(save({k: v.detach().contiguous() for k, v in tensors.items()}, header))
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(path: str | os.PathLike[str]) -> Path:
    """The file that `write` would replace or make, links followed; OSError in a sentence where it could not.

    Examples
    --------
    >>> import tempfile
    >>> try:
    ...     check_writable(f"{tempfile.gettempdir()}/no/such/folder/model.lem")
    ... except FileNotFoundError as error:
    ...     print(str(error).split("model.lem: ")[1].split(" /")[0])
    there is no folder
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; give the name of a file in it.")
    if target.exists() and not target.is_file():
        raise OSError(f"{path}: is a device, a pipe or a socket and no regular file; it is not replaced. Give another name.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}; make it first.")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: the folder {target.parent} may not be written; choose another.")
    return target


def read(path: str | os.PathLike[str], kind: str = FORMAT) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and metadata of a file that `write` wrote; ValueError for a foreign, damaged or newer one.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> path = Path(tempfile.mkdtemp()) / "numbers"
    >>> write(path, {"x": torch.arange(3)}, {"names": ["v", "w"]})
    >>> read(path)
    ({'x': tensor([0, 1, 2])}, {'names': ['v', 'w']})
    >>> try:
    ...     read(path, "lemode checkpoint")
    ... except ValueError as error:
    ...     print(str(error).split("numbers: ")[1])
    a safetensors file, but 'lemode model' and not a lemode checkpoint.
    """
    if not Path(path).exists():
        raise FileNotFoundError(f"{path}: there is no such file.")
    if not Path(path).is_file():
        raise ValueError(f"{path}: no regular file, so not a {kind}.")
    try:
        with safe_open(path, framework="pt") as f:
            header = f.metadata() or {}
            # copies: in the file tensors lie at odd addresses, and rounding may depend on alignment
            tensors = {key: f.get_tensor(key).clone() for key in f.keys()}  # noqa: SIM118, safe_open is no mapping
    except (SafetensorError, OSError) as e:
        raise ValueError(f"{path}: not a {kind}, or damaged ({e}).") from e
    if header.get("format") != kind:
        raise ValueError(f"{path}: a safetensors file, but {header.get('format')!r} and not a {kind}.")
    version = header.get("format_version", "")
    if not version.isdigit() or int(version) > FORMAT_VERSION:
        raise ValueError(
            f"{path}: written by lemode {header.get('lemode_version')} in format {version}, this lemode reads up to {FORMAT_VERSION}: "
            "upgrade lemode."
        )
    try:
        return tensors, json.loads(header["metadata"])
    except (KeyError, json.JSONDecodeError) as e:
        raise ValueError(f"{path}: the metadata of this lemode model are damaged ({e}).") from e
