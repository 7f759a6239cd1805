"""Images read as sequences: pixel by pixel, in a fixed random order, or row by row with noise behind them."""

from __future__ import annotations

import gzip
import io
import os
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import count
from .base import Part, Task, check_md5, file_of, split

__all__ = ["ORDERS", "cifar10", "digits", "mnist", "read_along"]

ORDERS = ("sequential", "permuted", "noise")
"""How an image becomes a sequence, see `read_along`."""

# gigabytes of a task
MOST = 8.0

PERMUTATION = 92916  # the seed of the order of pixels, the same for every set

MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
CIFAR10 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}


def read_along(images: NDArray[Any], order: str, length: int = 1000, seed: int = 0) -> NDArray[np.float32]:
    """Images ``(n, H, W, C)`` as sequences.

    'sequential' goes pixel by pixel, ``(n, H W, C)``; 'permuted' the same in an order drawn once, of the same seed for all; 'noise' row
    by row, ``(n, length, W C)``, standard normal noise for all steps after the last row: the memory has to survive it. Every image has
    noise of its own; in the code of arXiv:2110.04744 one draw serves all.

    Raises
    ------
    ValueError
        For an order that is not there, or a length below the number of rows.

    Examples
    --------
    >>> images = np.zeros((3, 8, 8, 1))
    >>> [read_along(images, order, length=100).shape for order in ORDERS]
    [(3, 64, 1), (3, 64, 1), (3, 100, 8)]
    """
    n, H, W, C = images.shape
    if order not in ORDERS:
        raise ValueError(f"order={order!r}: choose from {', '.join(map(repr, ORDERS))}.")
    if order == "noise":
        if count("length", length) < H:
            raise ValueError(f"length={length}: the images have {H} rows; give at least so many steps.")
        x = np.random.default_rng(seed).standard_normal((n, length, W * C), dtype=np.float32)
        x[:, :H] = images.reshape(n, H, W * C)
        return x
    x = images.reshape(n, H * W, C).astype(np.float32)
    return x if order == "sequential" else x[:, np.random.default_rng(PERMUTATION).permutation(H * W)]


def _task(
    name: str,
    order: str,
    length: int,
    parts: list[tuple[NDArray[Any], NDArray[Any]]],
    source: str,
    licence: str,
    n: int | None = None,
) -> Task:
    if n is not None:
        if count("n", n) < 1:
            raise ValueError(f"n={n}: give a positive number of images.")
        parts = [(images[:n], y[:n]) for images, y in parts]
    _, H, W, C = parts[0][0].shape
    size = 4e-9 * sum(len(y) for _, y in parts) * (length * W * C if order == "noise" else H * W * C)
    if size > MOST:
        raise ValueError(f"{name} with noise to {length} steps takes {size:.0f} GB: give a smaller n or length.")
    if order == "noise":  # pixels as large as the noise behind them
        mean, std = parts[0][0].mean(), parts[0][0].std()
        parts = [((images - mean) / std, y) for images, y in parts]
    train, validation, test = (
        Part(read_along(images, order, length, k), y.astype(np.int64)) for k, (images, y) in enumerate(parts)
    )
    title = f"{name}, {order}" + (f" to {length} steps" if order == "noise" else "")
    return Task(title, "classification", train, validation, test, source, licence, tuple(range(10)))


def digits(order: str = "sequential", length: int = 1000) -> Task:
    """The 1,797 handwritten digits of 8 x 8 pixels that scikit-learn ships: 60 per cent to train, 20 to choose by, 20 to test.

    Parameters
    ----------
    order : {'sequential', 'permuted', 'noise'}
        See `read_along`. Pixels are in [0, 1]; before noise they have mean 0 and standard deviation 1 over the training images.
    length : int
        Steps of a sequence, of 'noise'.

    Raises
    ------
    ImportError
        Without scikit-learn.
    ValueError
        As `read_along`.

    Examples
    --------
    >>> digits("permuted")
    Task digits, permuted: classification into 10 classes, 1078/360/359 sequences of 64 steps, 1 feature

    References
    ----------
    Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository 1998, doi:10.24432/C50P49.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as e:
        raise ImportError("digits needs scikit-learn, which ships them: pip install 'lemode[sklearn]'.") from e
    data = load_digits()
    images, y = data.images[..., None] / 16, data.target
    parts = [(images[rows], y[rows]) for rows in split(y, (0.6, 0.2, 0.2))]
    source = "scikit-learn's load_digits: UCI Optical Recognition of Handwritten Digits (its test part)"
    return _task("digits", order, length, parts, source, "CC BY 4.0")


def mnist(root: str | os.PathLike[str], order: str = "sequential", length: int = 1000, n: int | None = None) -> Task:
    """MNIST from the files that torchvision writes below root, ``MNIST/raw``; the last 10,000 of the training images are to choose by.

    Parameters
    ----------
    root : folder
        What ``torchvision.datasets.MNIST(root, download=True)`` was given, or where the four files are, as they are or gzipped.
    order, length
        As of `digits`.
    n : int, optional
        The first so many images of each part; all by default.

    Raises
    ------
    FileNotFoundError
        For a file that is not there.
    ValueError
        For one whose MD5 sum is not MNIST's, or sequences that would take more than 8 GB.

    Examples
    --------
    >>> mnist("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: nowhere has no MNIST/raw/train-images-idx3-ubyte or ...

    References
    ----------
    LeCun, Cortes and Burges, The MNIST database of handwritten digits.
    """
    read = {}
    for name, md5 in MNIST.items():
        folders = ("MNIST/raw/", "raw/", "")
        path = file_of(root, *(f"{folder}{name}{end}" for folder in folders for end in ("", ".gz")), what="of MNIST")
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        check_md5(path, md5, data)
        images = "idx3" in name
        values = np.frombuffer(data, np.uint8, offset=16 if images else 8)
        read[name[:5], images] = values.reshape(-1, 28, 28, 1) / np.float32(255) if images else values
    x, y = read["train", True], read["train", False]
    held = len(y) // 6
    parts = [(x[:-held], y[:-held]), (x[-held:], y[-held:]), (read["t10k-", True], read["t10k-", False])]
    return _task("MNIST", order, length, parts, "the MNIST database, files of the user", "CC BY-SA 3.0, as commonly stated", n)


def cifar10(root: str | os.PathLike[str], order: str = "noise", length: int = 1000, n: int | None = None) -> Task:
    """CIFAR-10 from the files that torchvision writes below root, ``cifar-10-batches-py``; the last of five batches is to choose by.

    Its files are pickles: they are opened only if their MD5 sums are those of the data set, and nothing but arrays is made of them.

    Parameters
    ----------
    root, order, length, n
        As of `mnist`; in the order 'noise' a step has the 96 values of a row.

    Raises
    ------
    FileNotFoundError, ValueError
        As `mnist`.

    Examples
    --------
    >>> cifar10("nowhere")
    Traceback (most recent call last):
    FileNotFoundError: nowhere has no cifar-10-batches-py/data_batch_1 or data_batch_1, of CIFAR-10: give the folder in which it is.

    References
    ----------
    Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    batches = []
    for name, md5 in CIFAR10.items():
        path = file_of(root, f"cifar-10-batches-py/{name}", name, what="of CIFAR-10")
        data = path.read_bytes()
        check_md5(path, md5, data)
        batch = _Arrays(io.BytesIO(data), encoding="latin1").load()
        images = np.asarray(batch["data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / np.float32(255)
        batches.append((images, np.array(batch["labels"])))
    train = tuple(np.concatenate(arrays) for arrays in zip(*batches[:4]))
    parts: Any = [train, batches[4], batches[5]]
    return _task("CIFAR-10", order, length, parts, "CIFAR-10, files of the user", "none stated by its authors; cite them", n)


class _Arrays(pickle.Unpickler):
    """Arrays of NumPy, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if name in ("_reconstruct", "ndarray", "dtype") and module.split(".")[0] == "numpy":
            # numpy.core of the file is numpy._core now
            return np._core.multiarray._reconstruct if name == "_reconstruct" else getattr(np, name)  # type: ignore[attr-defined]
        if (module, name) == ("_codecs", "encode"):  # how a bytes object is written
            return super().find_class(module, name)
        raise ValueError(f"the file asks for {module}.{name}, which no file of CIFAR-10 needs: get it again.")
