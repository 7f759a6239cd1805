"""Speech Commands in the layouts that torchaudio writes, made up: the archive and its folder, the lists, the sums."""

import hashlib
import io
import re
import tarfile
import wave

import numpy as np
import pytest

from lemode import tasks
from lemode.tasks import speech

WORDS = ("yes", "no", "cat", "dog", "on")
SIZES = {"train": 6, "validation": 2, "test": 3}


def recording(x, rate=16_000, channels=1):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(np.round(x * 32768).astype("<i2").tobytes())
    return file.getvalue()


def made(rng):
    """Files by name: each word is a tone of its own, 0.9 seconds long; noise of 20 seconds."""
    files, lists = {}, {"validation": [], "test": []}
    for k, word in enumerate(WORDS):
        for part, n in SIZES.items():
            for i in range(n):
                name = f"{word}/{part}{i}_nohash_0.wav"
                files[name] = recording(
                    0.5 * np.sin(2 * np.pi * 400 * (k + 1) * np.arange(14_400) / 16_000) * rng.uniform(0.5, 1)
                )
                lists.setdefault(part, []).append(name)
    files["validation_list.txt"] = "\n".join(lists["validation"]).encode()
    files["testing_list.txt"] = ("\n".join(lists["test"]) + "\n").encode()
    files["_background_noise_/hum.wav"] = recording(np.linspace(0, 0.5, 320_000))
    files["_background_noise_/README.md"] = b"noise"
    return files


def write(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def pack(path, files, monkeypatch):
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    monkeypatch.setattr(speech, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def files():
    return made(np.random.default_rng(0))


def test_the_folder_by_its_lists(tmp_path, files):
    write(tmp_path / "SpeechCommands" / speech.NAME, files)
    task = tasks.speech_commands(tmp_path, words=35, bands=None)
    assert task.classes == ("cat", "dog", "no", "on", "yes")
    for part, n in SIZES.items():
        x, y = getattr(task, part)
        assert x.shape == (5 * n, 16_000, 1)
        assert np.bincount(y).tolist() == [n] * 5
        for sound, k in zip(x[..., 0], y, strict=True):
            assert not sound[14_400:].any()  # 0.9 seconds were said
            tone = np.abs(np.fft.rfft(sound[:14_400])).argmax() / 0.9
            assert abs(tone - 400 * (1 + WORDS.index(task.classes[k]))) < 1
    first = task.train.x[task.train.y == 2][0, :, 0]
    with wave.open(io.BytesIO(files["no/train0_nohash_0.wav"])) as file:
        assert np.array_equal(first[:14_400] * 32768, np.frombuffer(file.readframes(14_400), "<i2"))


def test_twelve_classes(tmp_path, files):
    write(tmp_path / speech.NAME, files)
    task = tasks.speech_commands(tmp_path)
    assert task.classes == (*speech.COMMANDS, "unknown", "silence")
    assert task.train.x.shape[1:] == (98, 32)
    for part, n in SIZES.items():
        counts = np.bincount(getattr(task, part).y, minlength=12)
        assert counts.tolist() == [n, n, 0, 0, 0, 0, n, 0, 0, 0, n, n]  # of ten unknown ones as many as of a command
    again = tasks.speech_commands(tmp_path)
    assert all(np.array_equal(a.x, b.x) for a, b in ((task.train, again.train), (task.test, again.test)))
    assert not np.array_equal(task.train.x, tasks.speech_commands(tmp_path, seed=1).train.x)
    few = tasks.speech_commands(tmp_path, n=1)
    assert [len(part.x) for part in (few.train, few.validation, few.test)] == [5, 5, 5]


def test_silence_of_each_part_is_from_a_stretch_of_its_own(tmp_path, files):
    """The noise rises from 0 to 1/2 over 20 seconds, so how much it rises over its start says where it is, whatever its loudness."""
    write(tmp_path / speech.NAME, files)
    task = tasks.speech_commands(tmp_path, bands=None)
    for part, (low, high) in speech.STRETCHES.items():
        x, y = getattr(task, part)
        for sound in x[y == 11, :, 0].astype(np.float64):
            slope = (sound[-1] - sound[0]) / 15_999
            start = sound[0] / slope / 320_000
            assert low - 1e-3 < start <= high - 0.05 + 1e-3  # a second is a twentieth; 16 bits


def test_the_archive_gives_the_same_and_is_checked(tmp_path, files, monkeypatch):
    write(tmp_path / "folder" / speech.NAME, files)
    expected = tasks.speech_commands(tmp_path / "folder")
    archive = tmp_path / f"{speech.NAME}.tar.gz"
    pack(archive, dict(reversed(files.items())), monkeypatch)
    found = tasks.speech_commands(tmp_path)
    for part in ("train", "validation", "test"):
        for a, b in zip(getattr(expected, part), getattr(found, part), strict=True):
            assert np.array_equal(a, b)
    data = archive.read_bytes()
    archive.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"tar\.gz has the SHA-256 sum .*the file is damaged or another"):
        tasks.speech_commands(tmp_path)


def test_energies_are_those_of_the_formula():
    x = np.random.default_rng(0).standard_normal(16_000)
    found = speech.mel_energies(x, 5)
    assert found.shape == (98, 5)
    n, frame = 37, np.zeros(512)
    frame[:400] = x[37 * 160 : 37 * 160 + 400] * 0.5 * (1 - np.cos(2 * np.pi * np.arange(400) / 399))
    energy = np.array([abs(sum(frame * np.exp(-2j * np.pi * f * np.arange(512) / 512))) ** 2 for f in range(257)])

    def mel(f):
        return 2595 * np.log10(1 + f / 700)

    m = np.linspace(mel(20), mel(8000), 7)
    hertz = 700 * (10 ** (m / 2595) - 1)
    for k in range(5):
        H = np.interp(np.arange(257) * 31.25, hertz[k : k + 3], [0, 1, 0])
        assert abs(found[n, k] - np.log(1e-6 + (H * energy).sum())) < 1e-4  # float32
    assert np.allclose(speech.mel_energies(np.zeros(16_000)), np.log(1e-6))
    assert np.array_equal(speech.mel_energies(np.stack([x, 2 * x]), 5)[0], found)


@pytest.mark.parametrize(
    ("name", "data", "error", "words"),
    [
        ("testing_list.txt", None, FileNotFoundError, r"has no testing_list\.txt"),
        ("_background_noise_/hum.wav", None, FileNotFoundError, "has no _background_noise_"),
        ("yes/train0_nohash_0.wav", b"RIFF", ValueError, r"yes/train0_nohash_0\.wav is no recording"),
        ("yes/train0_nohash_0.wav", recording(np.zeros(100), 8000), ValueError, "1 channels of 16 bits at 8000 Hz"),
        ("yes/train0_nohash_0.wav", recording(np.zeros(100), channels=2), ValueError, "has 2 channels"),
        ("yes/train0_nohash_0.wav", recording(np.zeros(0)), ValueError, "has 1 channels"),
    ],
)
def test_what_is_damaged_is_named(tmp_path, files, name, data, error, words):
    files[name] = data
    write(tmp_path / speech.NAME, {name: data for name, data in files.items() if data is not None})
    with pytest.raises(error, match=words):
        tasks.speech_commands(tmp_path)


def test_refusals(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=re.escape(f"{tmp_path} has no speech_commands_v0.02.tar.gz and no SpeechCommands/")
    ):
        tasks.speech_commands(tmp_path)
    with pytest.raises(ValueError, match="words=10: give 12 or 35"):
        tasks.speech_commands(tmp_path, words=10)
    with pytest.raises(ValueError, match="bands=0: give a positive number"):
        tasks.speech_commands(tmp_path, bands=0)
