"""Spoken words: Speech Commands, from the files of a user."""

from __future__ import annotations

import hashlib
import io
import math
import os
import tarfile
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import count
from .base import Part, Task

__all__ = ["mel_energies", "speech_commands"]

NAME = "speech_commands_v0.02"
SHA256 = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"  # of the archive, as torchaudio has it
RATE = 16_000  # samples in a second, and in a recording
COMMANDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE, NOISE = "unknown", "silence", "_background_noise_"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
PARTS = ("train", "validation", "test")
# of a noise file the parts have stretches of their own
STRETCHES = {"train": (0.0, 0.8), "validation": (0.8, 0.9), "test": (0.9, 1.0)}

# names of the files, and a function that gives the contents of some of them, in any order
Files = tuple[list[str], Callable[[set[str]], Iterator[tuple[str, bytes]]]]


def mel_energies(x: NDArray[Any], bands: int = 32) -> NDArray[np.float32]:
    r"""Logarithms of the energies of sound in bands of the mel scale, ``(..., T, bands)``, of samples ``(..., S)`` at 16 kHz.

    .. math:: \log\Big(10^{-6} + \sum_f H_k(f)\,|\hat x_n(f)|^2\Big), \qquad m(f) = 2595 \log_{10}(1 + f / 700)

    for windows of 25 ms (Hann's) every 10 ms, padded to 512 samples; the :math:`H_k` are triangles, even in m between 20 Hz and 8 kHz.

    Examples
    --------
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    >>> found = mel_energies(tone)
    >>> found.shape, int(found.mean(0).argmax())  # of 32 bands up to 8 kHz
    ((98, 32), 10)
    """
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(x, np.float32), 400, axis=-1)[..., ::160, :]
    energy = np.abs(np.fft.rfft(windows * np.hanning(400).astype(np.float32), 512)) ** 2
    lowest, highest = (2595 * math.log10(1 + f / 700) for f in (20, RATE / 2))
    edges = 700 * (10 ** (np.linspace(lowest, highest, bands + 2) / 2595) - 1)
    f, (low, middle, high) = np.linspace(0, RATE / 2, 257)[:, None], (edges[k : bands + k] for k in range(3))
    H = np.clip(np.minimum((f - low) / (middle - low), (high - f) / (high - middle)), 0, None)
    found: NDArray[np.float32] = np.log(1e-6 + energy @ H).astype(np.float32)
    return found


def speech_commands(
    root: str | os.PathLike[str], words: int = 12, bands: int | None = 32, n: int | None = None, seed: int = 0
) -> Task:
    """Speech Commands, version 0.02: which word is said in a second of sound.

    With 12 classes, those of the set's authors: ten commands, 'unknown' for the other 25 words, of which as many recordings are drawn as a
    command has on average, and 'silence', as many seconds of the set's background noise, of a loudness drawn from 0 to 1. The parts are
    those of the set's own lists, by speakers.

    Parameters
    ----------
    root : folder
        What ``torchaudio.datasets.SPEECHCOMMANDS(root, download=True)`` was given. Its archive is read if it is there, and its SHA-256 sum
        checked; otherwise the folder of the recordings, for which no sums are published.
    words : {12, 35}
    bands : int or None
        `mel_energies` of so many bands, 98 steps; None for the 16,000 samples themselves.
    n : int, optional
        At most so many recordings of each word in each part; all by default.
    seed : int
        Of what is drawn.

    Raises
    ------
    FileNotFoundError
        Without the archive and the folder, or where a list is missing.
    ValueError
        For an archive with another sum, a recording that is not of one channel, 16 bits and 16 kHz, or other words.

    Examples
    --------
    >>> speech_commands("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: nowhere has no speech_commands_v0.02.tar.gz and no SpeechCommands/speech_commands_v0.02: give the folder ...

    References
    ----------
    Warden, Speech Commands: a dataset for limited-vocabulary speech recognition, arXiv:1804.03209.
    """
    if words not in (12, 35):
        raise ValueError(f"words={words!r}: give 12 or 35.")
    for name, value in (("bands", bands), ("n", n)):
        if value is not None and count(name, value) < 1:
            raise ValueError(f"{name}={value!r}: give a positive number.")
    names, contents = _files(Path(root))
    lists = dict(contents(set(LISTS.values())))
    for file in LISTS.values():
        if file not in lists:
            raise FileNotFoundError(f"{root}: the set has no {file}, which says what is to test: get it again.")
    listed = {line: part for part, file in LISTS.items() for line in lists[file].decode().split()}
    spoken = [name for name in sorted(names) if name.endswith(".wav") and not name.startswith(NOISE)]
    classes = (*COMMANDS, UNKNOWN, SILENCE) if words == 12 else tuple(sorted({name.split("/")[0] for name in spoken}))
    rng = np.random.default_rng(seed)
    chosen = {}
    for part in PARTS:
        chosen[part] = _chosen([name for name in spoken if listed.get(name, "train") == part], classes, n, rng)
        if not chosen[part]:
            raise ValueError(f"{root}: the set has no recordings for {part}: get it again.")
    background = {name for name in names if name.startswith(NOISE) and name.endswith(".wav")}
    noises = [_sound(name, data) for name, data in sorted(contents(background))] if words == 12 else []
    if words == 12 and not noises:
        raise FileNotFoundError(f"{root}: the set has no {NOISE}, of which silence is made: get it again, or give words=35.")
    wanted = {name for rows in chosen.values() for _, name in rows}
    sound = {name: _features(_second(_sound(name, data)), bands) for name, data in contents(wanted)}
    train, validation, test = (
        Part(
            np.stack([sound[name] if name else _features(_silence(noises, part, rng), bands) for _, name in rows]),
            np.array([k for k, _ in rows], dtype=np.int64),
        )
        for part, rows in chosen.items()
    )
    title, source = f"Speech Commands, {words} classes", "Speech Commands v0.02, files of the user"
    return Task(title, "classification", train, validation, test, source, "CC BY 4.0", classes)


def _chosen(names: list[str], classes: tuple[str, ...], n: int | None, rng: np.random.Generator) -> list[tuple[int, str]]:
    """The recordings of a part, each after the number of its class; without a name where silence is to be made."""
    by_class: dict[str, list[str]] = {word: [] for word in classes}
    for name in names:
        word = name.split("/")[0]
        by_class[word if word in by_class else UNKNOWN].append(name)
    if UNKNOWN in by_class:
        sizes = [len(by_class[word]) for word in COMMANDS if by_class[word]]
        most = round(sum(sizes) / max(1, len(sizes)))
        others = by_class[UNKNOWN]
        by_class[UNKNOWN] = [others[k] for k in sorted(rng.permutation(len(others))[:most])]
        by_class[SILENCE] = [""] * most
    return [(k, name) for k, word in enumerate(classes) for name in by_class[word][:n]]


def _files(root: Path) -> Files:
    archive = root / f"{NAME}.tar.gz"
    folder = next((f for f in (root / "SpeechCommands" / NAME, root / NAME) if f.is_dir()), None)
    if archive.is_file():
        return _of_archive(archive)
    if folder is None:
        raise FileNotFoundError(
            f"{root} has no {archive.name} and no SpeechCommands/{NAME}: give the folder in which torchaudio put them."
        )
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]

    def contents(wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        return ((name, (folder / name).read_bytes()) for name in names if name in wanted)

    return names, contents


def _of_archive(path: Path) -> Files:
    """In two passes over the archive, one for the names: nothing is unpacked."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise ValueError(
            f"{path} has the SHA-256 sum {found}, the data set's is {SHA256}: the file is damaged or another; get it again."
        )

    def members() -> Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]:
        with tarfile.open(path, "r|gz") as tar:
            for member in tar:
                if member.isfile():
                    yield member.name.removeprefix("./"), tar, member

    def contents(wanted: set[str]) -> Iterator[tuple[str, bytes]]:
        for name, tar, member in members():
            file = tar.extractfile(member) if name in wanted else None
            if file is not None:
                yield name, file.read()

    return [name for name, _, _ in members()], contents


def _sound(name: str, data: bytes) -> NDArray[np.float32]:
    """Samples from -1 to 1."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            kind = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            samples = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as e:
        raise ValueError(f"{name} is no recording ({e}): get the set again.") from e
    if kind != (1, 2, RATE) or not samples:
        raise ValueError(
            f"{name} has {kind[0]} channels of {8 * kind[1]} bits at {kind[2]} Hz: the set's are one of 16 bits at {RATE}."
        )
    return np.frombuffer(samples, "<i2").astype(np.float32) / np.float32(32768)


def _second(x: NDArray[np.float32]) -> NDArray[np.float32]:
    found = np.zeros(RATE, np.float32)
    found[: len(x)] = x[:RATE]
    return found


def _silence(noises: list[NDArray[np.float32]], part: str, rng: np.random.Generator) -> NDArray[np.float32]:
    x = noises[rng.integers(len(noises))]
    low, high = (int(share * len(x)) for share in STRETCHES[part])
    start = rng.integers(low, max(low + 1, high - RATE + 1))
    return _second((rng.random() * x[start:high]).astype(np.float32))


def _features(x: NDArray[np.float32], bands: int | None) -> NDArray[np.float32]:
    return x[:, None] if bands is None else mel_energies(x, bands)
