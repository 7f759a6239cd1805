"""Images as sequences, and the files that torchvision writes."""

import gzip
import hashlib
import pickle
import struct

import numpy as np
import pytest

from lemode import tasks
from lemode.tasks import images


def test_orders_of_the_same_digits():
    sequential, permuted, noise = (tasks.digits(order, length=20) for order in images.ORDERS)
    assert np.array_equal(sequential.train.y, permuted.train.y)
    pixels = sequential.train.x[:, :, 0].reshape(-1, 8, 8)
    standard = (pixels - pixels.mean()) / pixels.std()
    assert np.allclose(noise.train.x[:, :8], standard, atol=1e-5)  # float32
    assert np.array_equal(np.unique(noise.test.x[:, :8]), np.unique(noise.train.x[:, :8]))  # of one scale
    assert np.array_equal(np.sort(permuted.train.x[:, :, 0]), np.sort(sequential.train.x[:, :, 0]))
    assert not np.array_equal(permuted.train.x, sequential.train.x)
    # one order for all images of all parts
    place = images.read_along(np.arange(64.0).reshape(1, 8, 8, 1), "permuted")[0, :, 0].astype(int)
    for part, plain in ((permuted.train, sequential.train), (permuted.test, sequential.test)):
        assert np.array_equal(part.x, plain.x[:, place])
    behind = noise.train.x[:, 8:]
    assert abs(behind.mean()) < 0.02  # 100,000 normal numbers: 6 standard errors
    assert abs(behind.std() - 1) < 0.02
    assert not np.array_equal(behind[0], behind[1])
    assert not np.array_equal(noise.test.x[0, 8:], noise.train.x[0, 8:])


def test_digits_of_every_class_in_every_part_and_none_twice():
    task = tasks.digits()
    assert task.licence == "CC BY 4.0"
    assert (task.train.x.min(), task.train.x.max()) == (0, 1)
    for part in (task.train, task.validation, task.test):
        assert set(part.y) == set(range(10))
    rows = np.concatenate([part.x[:, :, 0] for part in (task.train, task.validation, task.test)])
    assert rows.shape == (1797, 64)
    from sklearn.datasets import load_digits

    assert sorted(map(tuple, rows)) == sorted(map(tuple, (load_digits().data / 16).astype(np.float32)))


def test_orders_that_cannot_be():
    with pytest.raises(ValueError, match="order='spiral': choose from 'sequential'"):
        tasks.digits("spiral")
    with pytest.raises(ValueError, match="length=5: the images have 8 rows"):
        tasks.digits("noise", length=5)


@pytest.fixture
def mnist_files(monkeypatch):
    """Twelve images for training, three to test, in MNIST's format."""
    rng, files = np.random.default_rng(0), {}
    for name in images.MNIST:
        n = 12 if name.startswith("train") else 3
        if "idx3" in name:
            files[name] = struct.pack(">IIII", 2051, n, 28, 28) + rng.integers(0, 256, (n, 28, 28), np.uint8).tobytes()
        else:
            files[name] = struct.pack(">II", 2049, n) + (np.arange(n) % 10).astype(np.uint8).tobytes()
    monkeypatch.setattr(images, "MNIST", {name: hashlib.md5(data).hexdigest() for name, data in files.items()})
    return files


@pytest.mark.parametrize("layout", ["MNIST/raw", "raw", "."])
@pytest.mark.parametrize("zipped", [False, True])
def test_mnist(tmp_path, mnist_files, layout, zipped):
    (tmp_path / layout).mkdir(parents=True, exist_ok=True)
    for name, data in mnist_files.items():
        (tmp_path / layout / f"{name}{'.gz' if zipped else ''}").write_bytes(gzip.compress(data) if zipped else data)
    task = tasks.mnist(tmp_path)
    assert [part.x.shape for part in (task.train, task.validation, task.test)] == [(10, 784, 1), (2, 784, 1), (3, 784, 1)]
    assert task.train.y.tolist() == list(range(10))
    assert task.validation.y.tolist() == [0, 1]
    pixels = np.frombuffer(mnist_files["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(3, 784)
    assert np.array_equal(np.round(task.test.x[..., 0] * 255), pixels)


def test_a_file_of_another_set_is_refused(tmp_path, mnist_files):
    for name, data in mnist_files.items():
        (tmp_path / name).write_bytes(data[:-1] + b"\0" if name.startswith("t10k-i") else data)
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte has the MD5 sum"):
        tasks.mnist(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match=r"no MNIST/raw/train-labels-idx1-ubyte or .*of MNIST: give the folder"):
        tasks.mnist(tmp_path)


def write_cifar(folder, monkeypatch, change=None):
    folder.mkdir()
    sums = {}
    for k, name in enumerate(images.CIFAR10):
        pixels = np.full((2, 3, 1024), k, np.uint8)
        pixels[:, 1, 32] = 200  # green, first of the second row
        batch = {"data": pixels.reshape(2, 3072), "labels": [k, 1]}
        data = pickle.dumps(change or batch, protocol=2)
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()
    monkeypatch.setattr(images, "CIFAR10", sums)


def test_cifar(tmp_path, monkeypatch):
    write_cifar(tmp_path / "cifar-10-batches-py", monkeypatch)
    task = tasks.cifar10(tmp_path, length=50)
    assert task.train.x.shape == (8, 50, 96)
    assert task.train.y.tolist() == [0, 1, 1, 1, 2, 1, 3, 1]
    assert np.ptp(task.validation.x[:, 0]) == 0  # of one grey
    assert task.test.x[0, 1].argmax() == 1  # row 1 begins with red, green, blue of a pixel
    assert abs(task.train.x[:, :32].mean()) < 1e-5
    pixels = tasks.cifar10(tmp_path, "sequential", n=1)
    assert pixels.test.x.shape == (1, 1024, 3)
    assert np.allclose(pixels.validation.x[:, 0] * 255, 4)
    assert np.allclose(pixels.test.x[0, 32] * 255, [5, 200, 5])
    with pytest.raises(ValueError, match=r"CIFAR-10 with noise to 10000000 steps takes 46 GB: give a smaller n or length"):
        tasks.cifar10(tmp_path, length=10_000_000)
    with pytest.raises(ValueError, match="n=0: give a positive number of images"):
        tasks.cifar10(tmp_path, n=0)


def test_a_pickle_runs_nothing(tmp_path, monkeypatch):
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    write_cifar(tmp_path / "cifar-10-batches-py", monkeypatch, Evil())
    with pytest.raises(ValueError, match=r"asks for (builtins|__builtin__)\.print, which no file of CIFAR-10 needs"):
        tasks.cifar10(tmp_path)
