"""Saving and loading a surrogate: safetensors with JSON metadata, replaced atomically, never executed."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .._version import __version__
from .plain_json import Damaged, json_object

__all__ = ["FORMAT_VERSION", "check_writable", "failed", "read", "sweep", "write"]

# since 3 with a checksum; since 4 checkpoints between two validations, and models with bounds
FORMAT, FORMAT_VERSION = "lemode model", 4

# stands in the place of the checksum while that is computed
NONE_YET = "0" * 64

# safetensors reads no longer one; 4 million steps
LONGEST_HEADER = 100_000_000
# each takes two thousand bytes, and may be empty in the file; a checkpoint of a hundred layers has 4,000
MOST_TENSORS = 20_000


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
        "checksum": NONE_YET,
        "metadata": json.dumps(metadata),
    }
    try:
        content = save({k: v.detach().contiguous() for k, v in tensors.items()}, header)
    except SafetensorError as e:  # of a header beyond LONGEST_HEADER
        raise OSError(
            f"{path}: could not be written ({e}): the history has too many steps for a file; shorten history_.loss."
        ) from e
    digest = hashlib.sha256(content).hexdigest()
    content = content.replace(f'"checksum":"{NONE_YET}"'.encode(), f'"checksum":"{digest}"'.encode(), 1)
    temporary = target.parent / f"{_prefix(target)}{secrets.token_hex(8)}.tmp"
    try:
        # made by os.open, so that it has the permissions of any other new file: save_file makes a private one
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as f:
            f.write(content)
            f.flush()
            os.fsync(handle)  # or a power cut could leave the name, and nothing in the file
        os.replace(temporary, target)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise failed(e, path) from e
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def failed(e: OSError, path: str | os.PathLike[str]) -> OSError:
    """The error of the same class and number that says what could not be written, and what to do.

    Examples
    --------
    >>> failed(OSError(28, "No space left on device"), "m.lem")
    OSError('m.lem: could not be written (No space left on device), and nothing was changed; make room, or choose another folder.')
    """
    error = type(e)(
        f"{path}: could not be written ({e.strerror or e}), and nothing was changed; make room, or choose another folder."
    )
    error.errno = e.errno
    return error


def sweep(path: str | os.PathLike[str]) -> None:
    """Remove what a process that was killed while it wrote this file has left beside it; for one that nobody else is writing.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = Path(tempfile.mkdtemp())
    >>> sweep(folder / "fit.ckpt")
    """
    target = Path(os.path.realpath(path))
    for left in target.parent.glob(f"{_prefix(target)}*.tmp"):
        left.unlink(missing_ok=True)


def _prefix(target: Path) -> str:
    """Of the temporary files of one file; its own name may be as long as a name can be."""
    return f".lemode-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}-"


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

    Nothing in it is executed. It takes at most four times the size of the file, and `lemode.surrogate.plain_json.ALLOWANCE`, in memory.

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
        content, text = _read(path)
        header = json_object(text).get("__metadata__", {})
        del text
        if not isinstance(header, dict) or not all(isinstance(value, str) for value in header.values()):
            raise Damaged("its entries are no strings")
        if header.get("format") != kind:
            raise ValueError(f"{path}: a safetensors file, but {header.get('format')!r} and not a {kind}.")
        version = header.get("format_version", "")
        if not (version.isascii() and version.isdigit() and len(version) < 10) or int(version) > FORMAT_VERSION:
            raise ValueError(
                f"{path}: written by lemode {header.get('lemode_version')} in format {version}, this lemode reads up to "
                f"{FORMAT_VERSION}: upgrade lemode."
            )
        checksum = header.get("checksum")
        if checksum is not None or int(version) >= 3:
            _check(content, checksum)
        if "metadata" not in header:
            raise Damaged("there are none")
        metadata = json_object(header["metadata"])
    except Damaged as e:
        raise ValueError(f"{path}: the metadata of this {kind} are damaged ({e}).") from e
    except (_Foreign, OSError, MemoryError) as e:
        raise ValueError(f"{path}: not a {kind}, or damaged ({e or 'too large'}).") from e
    try:
        # copies: in the file tensors lie at odd addresses, and rounding may depend on alignment
        return {key: tensor.clone() for key, tensor in load(content).items()}, metadata
    except Exception as e:  # whatever safetensors and torch make of bytes that anybody may have written
        raise ValueError(f"{path}: not a {kind}, or damaged ({e}).") from e


class _Foreign(Exception):
    """Why a file is none of safetensors."""


def _read(path: str | os.PathLike[str]) -> tuple[bytes, str]:
    """The bytes of a file of safetensors, and its header; of what is none no more than the beginning is read."""
    with open(path, "rb") as f:
        size, length = os.fstat(f.fileno()).st_size, int.from_bytes(f.read(8), "little")
        if not 2 <= length <= min(size - 8, LONGEST_HEADER):
            raise _Foreign(f"the header would have {length} of {size} bytes")
        f.seek(0)
        content = f.read()
    try:
        text = str(memoryview(content)[8 : 8 + length], "ascii")  # so `write` has it, and no letter takes four bytes
    except UnicodeDecodeError as e:
        raise _Foreign(f"the header is no ASCII, {e}") from None
    if text.count('"data_offsets"') > MOST_TENSORS:
        raise _Foreign(f"{text.count('data_offsets')} tensors")
    return content, text


def _check(content: bytes, checksum: str | None) -> None:
    """Every byte counts: that of a tensor, of a name, and the blanks at the end of the header."""
    found = hashlib.sha256()
    for part in _blanked(content, str(checksum)):
        found.update(part)
    if found.hexdigest() != checksum:
        raise Damaged("the checksum is another: bytes were changed since it was written; use a copy of the file")


def _blanked(content: bytes, checksum: str) -> list[bytes | memoryview]:
    """The content in parts, with `NONE_YET` in the place of the checksum. In strings of the header quotes are escaped: there is one."""
    at = content.find(f'"checksum":"{checksum}"'.encode("utf-8", "replace"))
    if at < 0 or len(checksum) != len(NONE_YET):
        return [content]
    begin, view = at + len('"checksum":"'), memoryview(content)
    return [view[:begin], NONE_YET.encode(), view[begin + len(checksum) :]]
