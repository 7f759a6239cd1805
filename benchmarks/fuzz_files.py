"""Files that nobody of lemode wrote: mutations of models, ensembles and checkpoints of every format, read in a process that is watched.

    python benchmarks/fuzz_files.py [--files 10000] [--seed 0]

Each file has to be refused by an error of lemode's own, in a sentence, or to be the model that it was. One without a checksum, of formats 1
and 2, or with one that was written anew, may be a model with other weights. Nothing in it may be executed: Python's audit hooks see what is
compiled, and that has to be what is compiled for a whole file, too. Memory may not grow by more than four times the size of the file and
`ALLOWANCE` of `lemode.surrogate.plain_json`. A crash would end the process, and with it this program. The committed output is
`benchmarks/fuzz_files.txt`.
"""

from __future__ import annotations

import argparse
import collections
import copy
import ctypes
import hashlib
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import lemode
from lemode.surrogate import storage
from lemode.surrogate.errors import FitDivergedError
from lemode.surrogate.plain_json import ALLOWANCE

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "data"))
import write as golden  # noqa: E402

FILES = [*sorted((ROOT / "tests" / "data").glob("*-*.[lc]*[mt]")), *sorted((ROOT / "tests" / "golden").glob("*.lem"))]
# what reading a file has no need of
FORBIDDEN = (
    "os.system",
    "os.exec",
    "os.spawn",
    "subprocess.Popen",
    "socket.connect",
    "shutil.rmtree",
    "pickle.find_class",
    "marshal.loads",
)
VALUES: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 10**30, 10**400, -0.5, 1e308, float("nan"), float("inf"), "", "x", "../../etc/passwd", "\u0000",
    "\U0001f600", "__import__('os').system('true')", [], {}, [[]], [1, 2, 3], {"a": 1}, [None] * 50, {"__class__": "os"},
]  # fmt: skip


class Watch:
    """What the interpreter is asked to do while a file is read; what it compiles for a whole file is learned first."""

    def __init__(self) -> None:
        self.on, self.learning, self.known, self.seen = False, False, set(), []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "compile" and self.learning:
            self.known.add(str(arguments[0]))
        if self.on and (event in FORBIDDEN or (event == "compile" and str(arguments[0]) not in self.known)):
            self.seen.append((event, str(arguments)))


def parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a file of safetensors."""
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, data: bytes, sign: bool = True) -> bytes:
    """The file again, with the checksum that belongs to it."""
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    content = len(text).to_bytes(8, "little") + text + data
    entries = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    if sign and isinstance(entries, dict) and isinstance(entries.get("checksum"), str):
        old = f'"checksum":"{entries["checksum"]}"'.encode()
        blank = content.replace(old, f'"checksum":"{storage.NONE_YET}"'.encode(), 1)
        digest = hashlib.sha256(blank).hexdigest()
        content = blank.replace(f'"checksum":"{storage.NONE_YET}"'.encode(), f'"checksum":"{digest}"'.encode(), 1)
    return content


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a nested value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:5]) if isinstance(value, list) else ()
    return [at, *(path for key, v in inside for path in paths(v, (*at, key)))]


def drawn(rng: np.random.Generator) -> Any:
    """One of the values, a new one: it may be changed in its turn."""
    return copy.deepcopy(VALUES[rng.integers(len(VALUES))])


def changed(value: Any, rng: np.random.Generator) -> Any:
    """Something in it replaced, removed, renamed or repeated."""
    found = paths(value)[1:]
    if not found:
        return drawn(rng)
    *way, last = found[rng.integers(len(found))]
    inside = value
    for key in way:
        inside = inside[key]
    kind = rng.integers(4)
    if kind == 0:
        del inside[last]
    elif kind == 1 and isinstance(inside, dict):
        inside[str(drawn(rng))] = inside.pop(last)
    elif kind == 2 and isinstance(inside[last], (int, float)) and not isinstance(inside[last], bool):
        inside[last] = (
            inside[last] * float(rng.choice([-1, 0, 1e-3, 10, 1e6, 1e15, 1e300]))
            if rng.random() < 0.5
            else int(rng.integers(10**9))
        )
    else:
        inside[last] = drawn(rng)
    return value


def bits(content: bytes, rng: np.random.Generator) -> bytes:
    """Some bits are others."""
    out = bytearray(content)
    for at in rng.integers(len(out), size=rng.integers(1, 9)):
        out[at] ^= 1 << int(rng.integers(8))
    return bytes(out)


def bits_of_the_header(content: bytes, rng: np.random.Generator) -> bytes:
    """Some letters of the header are others, and the checksum is that of the new file."""
    length = int.from_bytes(content[:8], "little")
    out = bytearray(content)
    for at in rng.integers(8, 8 + length, size=rng.integers(1, 4)):
        out[at] = int(rng.integers(32, 127))
    try:
        header, data = parts(bytes(out))
        return joined(header, data)
    except (ValueError, AttributeError):
        return bytes(out)


def cut(content: bytes, rng: np.random.Generator) -> bytes:
    """The end, the beginning or the middle is missing."""
    a, b = sorted(rng.integers(len(content), size=2))
    return [content[:a], content[a:], content[:a] + content[b:]][rng.integers(3)]


def swapped(content: bytes, rng: np.random.Generator) -> bytes:
    """Two pieces have changed places."""
    a, b, c, d = sorted(rng.integers(len(content), size=4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def longer(content: bytes, rng: np.random.Generator) -> bytes:
    """A piece comes several times, or noise behind the end."""
    a, b = sorted(rng.integers(len(content), size=2))
    return content[:b] + content[a:b] * int(rng.integers(1, 20)) + content[b:] if rng.random() < 0.5 else content + rng.bytes(b)


def sizes(content: bytes, rng: np.random.Generator) -> bytes:
    """The header claims other sizes: its own, or those of a tensor."""
    if rng.random() < 0.3:
        return int(rng.choice([0, 1, 2, 7, 10**5, 10**8, 2**31, 2**62, 2**63])).to_bytes(8, "little") + content[8:]
    header, data = parts(content)
    names = [name for name in header if name != "__metadata__"]
    entry = header[names[rng.integers(len(names))]]
    what = rng.choice(["shape", "data_offsets", "dtype"])
    if what == "dtype":
        entry["dtype"] = str(rng.choice(["F64", "F32", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "X", ""]))
    elif entry[what]:
        entry[what][rng.integers(len(entry[what]))] = int(rng.choice([-1, 0, 1, 7, 10**6, 2**31, 2**62, 2**63 - 1]))
    return joined(header, data)


def entries(content: bytes, rng: np.random.Generator) -> bytes:
    """Something of the header is another: a format, a name, a tensor; the checksum is right."""
    header, data = parts(content)
    return joined(changed(header, rng), data)


def metadata(content: bytes, rng: np.random.Generator) -> bytes:
    """Something of what the model says of itself is another; the checksum is right."""
    header, data = parts(content)
    entries_ = header["__metadata__"]
    value = json.loads(entries_["metadata"])
    for _ in range(rng.integers(1, 4)):
        value = changed(value, rng)
    entries_["metadata"] = json.dumps(value)
    return joined(header, data)


def values(content: bytes, rng: np.random.Generator) -> bytes:
    """Numbers of the tensors are others; the checksum is right."""
    header, data = parts(content)
    out = bytearray(data)
    for at in rng.integers(len(out), size=rng.integers(1, 9)):
        out[at] = int(rng.choice([0, 255, 127, rng.integers(256)]))
    return joined(header, bytes(out))


def tensors(content: bytes, rng: np.random.Generator) -> bytes:
    """A tensor has another shape of as many numbers, another name, or is missing; the checksum is right."""
    header, data = parts(content)
    names = [name for name in header if name != "__metadata__"]
    name = names[rng.integers(len(names))]
    entry, kind = header[name], rng.integers(3)
    if kind == 0:
        entry["shape"] = [1, int(np.prod(entry["shape"])), 1]
    elif kind == 1:
        header[name + ".x"] = header.pop(name)
    else:
        begin, end = entry["data_offsets"]
        del header[name]
        data = data[:begin] + data[end:]
        for other in header.values():
            if "data_offsets" in other and other["data_offsets"][0] >= end:
                other["data_offsets"] = [at - (end - begin) for at in other["data_offsets"]]
    return joined(header, data)


def bombs(content: bytes, rng: np.random.Generator) -> bytes:
    """Text that is small and its parts are not, deep, or one string; or tensors that are many and empty."""
    header, data = parts(content)
    big = int(rng.choice(BIG, p=[0.5, 0.48, 0.02]))
    texts = [
        ("", "[", ""), ("", '{"a":', ""), ('{"a":[', "[],", "[]]}"), ('{"a":[', "{},", "{}]}"), ('{"a":"', "x", '\\ud83d\\ude00"}'),
        ('{"a":[', '"\\u1234",', "1]}"), ("", "9", ""), ('{"a":', "9", "}"), ('{"a":[', "1e1,", "1]}"),
        ('{"history":{"loss":[', "1,", "1]}}"),
    ]  # fmt: skip
    begin, middle, end = texts[rng.integers(len(texts))]
    text = begin + middle * big + end
    kind = rng.integers(3)
    if kind == 0:
        header["__metadata__"]["metadata"] = text
    elif kind == 1:
        header |= {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [len(data), len(data)]} for i in range(big // 20)}
    else:
        return joined(text.encode(), data, sign=False)
    return joined(header, data)


# how often a bomb repeats itself; the last one rarely
BIG = (10**3, 10**5, 10**7)

MUTATIONS: list[Callable[[bytes, np.random.Generator], bytes]] = [
    bits, bits_of_the_header, cut, swapped, longer, sizes, entries, metadata, metadata, values, tensors, bombs,
]  # fmt: skip


def read(path: Path, expected: dict[str, Any]) -> str:
    """What becomes of a file: 'refused', 'the same' or 'another'; any other exception than lemode's passes through."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if path.suffix == ".ckpt":
                model = lemode.Surrogate(**golden.settings()).fit(golden.data(), checkpoint=path)
                return "the same" if model.history_.loss == expected["loss"] else "another"
            model = kind(path).load(path)
        except (ValueError, FitDivergedError) as e:
            if not str(e).startswith(str(path)) and not isinstance(e, FitDivergedError):
                raise
            return "refused"
        same = digest(model) == expected["digest"]
        try:
            model.predict(np.zeros((1, 60, model.n_features_in_)))
            if isinstance(model, lemode.Ensemble):
                model.forecast(np.zeros((60, model.n_features_in_)), 5)
        except ValueError:  # in a sentence: the file may say that it needs more samples
            return "another"
        return "the same" if same else "another"


def kind(path: Path) -> Any:
    """What reads a file is said by its name, not by what is in it."""
    return lemode.Ensemble if "ensemble" in path.name else lemode.Surrogate


def digest(model: Any) -> str:
    """Of the weights, and of what is said of them."""
    if isinstance(model, lemode.Ensemble):
        said = (model.get_params(deep=False), vars(model.calibration_), vars(model.reliability_ or model))
        with np.printoptions(threshold=sys.maxsize, floatmode="unique"):
            return hashlib.sha256(repr((said, [digest(member) for member in model.members_])).encode()).hexdigest()
    total = hashlib.sha256(repr((model.get_params(), model.names_, model.step_, model.warmup_)).encode())
    for name, tensor in sorted(model.network_.state_dict().items()):
        total.update(name.encode() + tensor.numpy().tobytes())
    return total.hexdigest()


def memory(what: str) -> int:
    """Bytes that the process has in memory now, VmRSS, or has had at most, VmHWM."""
    return 1024 * int(Path("/proc/self/status").read_text().split(f"{what}:")[1].split()[0])


def fuzz(files: int, seed: int, folder: Path, watch: Watch) -> tuple[dict[str, collections.Counter[str]], float, float]:
    """Counts by source and by mutation; the largest growth of memory, in sizes of the file beyond the allowance, and in bytes."""
    rng, counts = np.random.default_rng(seed), collections.defaultdict(collections.Counter)
    contents = {source: source.read_bytes() for source in FILES}
    expected: dict[Path, dict[str, Any]] = {}
    watch.learning = True
    for source in FILES:
        target = folder / f"whole-{source.name}"
        target.write_bytes(contents[source])
        if source.suffix == ".ckpt":
            expected[source] = json.loads(source.with_suffix(".json").read_text())
        else:
            expected[source] = {"digest": digest(kind(target).load(target))}
        assert read(target, expected[source]) == "the same", source
    watch.learning, most, grown, peak = False, 0.0, 0.0, 0
    for k in range(files):
        source, mutation = FILES[k % len(FILES)], MUTATIONS[(k // len(FILES)) % len(MUTATIONS)]
        content = mutation(contents[source], rng)
        path = folder / f"file-{source.name}"
        path.write_bytes(content)
        if memory("VmHWM") > peak:
            del_peak()
            peak = memory("VmHWM")
        before, size = memory("VmRSS"), max(len(content), 1)
        watch.on = True
        try:
            found = read(path, expected[source])
        except BaseException:
            watch.on = False
            (ROOT / "fuzzed").write_bytes(content)
            print(f"file {k}: {source.name}, {mutation.__name__}; the file is in {ROOT / 'fuzzed'}", flush=True)
            raise
        watch.on = False
        assert not watch.seen, watch.seen
        if found == "another" and mutation in (bits, cut, swapped, longer):
            assert source.name[:8] in ("format-1", "format-2") or "golden" in str(source), (source, mutation)
        growth = max(memory("VmHWM") - before, 0)
        del content
        assert growth <= 4 * size + ALLOWANCE, (source, mutation, growth, size)
        most, grown = max(most, (growth - ALLOWANCE) / size), max(grown, growth)
        counts[source.name][found] += 1
        counts[mutation.__name__][found] += 1
    return counts, most, grown


def del_peak() -> None:
    """The system counts the peak of memory from now on, and what was freed before is not counted as there."""
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts, most, grown = fuzz(arguments.files, arguments.seed, Path(folder), Watch())
    print(f"{'':20}{'refused':>10}{'the same':>10}{'another':>10}")
    for name, found in counts.items():
        print(f"{name:20}{found['refused']:>10}{found['the same']:>10}{found['another']:>10}")
    print(
        f"{arguments.files} of {arguments.files} files read without a crash or an error of somebody else's; nothing of them was executed"
    )
    print(f"memory grew by at most {grown / 2**20:.0f} MB; {ALLOWANCE / 2**20:.0f} MB are allowed to every file, and")
    print(f"beyond these it grew by {max(most, 0):.2f} times the size of the file, of 4 that are allowed")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
