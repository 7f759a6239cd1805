"""nn.LSTM beside lemode's layers: what users do with it, pattern by pattern, and what long and short sequences packed together cost.

Run ``python benchmarks/contracts.py > benchmarks/contracts.md`` (some minutes: torch.compile). A pattern **works** as with nn.LSTM, is
**refused** with a message, or **differs**, with the reason below the table; a dash: the family has no such thing (a cell reads no
packed sequences). The patterns are those of ``tests/contracts/patterns.py``, which ``tests/contracts/test_torch_manners.py`` holds to
this table.
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "contracts"))
from patterns import FAMILIES, PATTERNS, outcome

from lemode import LEM

WORDS = {"works": "works", "differs": "differs", "refuses": "refuses", "wrong": "**WRONG**", "-": "-"}


def table(quick: bool) -> None:
    print("| pattern | " + " | ".join(FAMILIES) + " |\n" + "|---" * (1 + len(FAMILIES)) + "|")
    notes: list[str] = []
    for key, p in PATTERNS.items():
        if quick and p.slow:
            continue
        cells = []
        for name, family in FAMILIES.items():
            kind, why = outcome(key, family)
            cells.append(WORDS[kind])
            if why:
                first = " ".join(why.split("\n")[0].split())
                note = f"{name}, {kind}: {first[:240]}"
                if note not in notes:
                    notes.append(note)
                cells[-1] += f" [{notes.index(note) + 1}]"
        print(f"| {p.what} | " + " | ".join(cells) + " |", flush=True)
    print("\n## Why\n")
    for k, note in enumerate(notes, 1):
        print(f"{k}. {note}")


def peak() -> float:
    """The most memory this process has held, MiB. Not getrusage, whose figure begins with that of the parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def measure(kind: str, lengths: list[int], answers: Any) -> None:
    torch.set_num_threads(1)
    net = nn.LSTM(4, 16) if kind == "nn.LSTM" else LEM(4, 16)
    net(pack_sequence([torch.randn(3, 4)]))[0].data.sum().backward()  # loads what is loaded once
    packed = pack_sequence([torch.randn(n, 4) for n in lengths], enforce_sorted=False)
    before, start = peak(), time.thread_time()
    net(packed)[0].data.sum().backward()
    spent = time.thread_time() - start
    answers.put((spent, peak() - before))


def packed_cost() -> None:
    print("\n## Packed sequences, 4 features, 16 units, forward + backward, one thread\n")
    print("| lengths | network | CPU seconds | MiB above the peak of importing torch |\n|---|---|---|---|")
    cases = {
        "one of 20,000 and 999 of 1": [20_000] + [1] * 999,
        "1, 2, ..., 500": list(range(1, 501)),
        "200 of 300": [300] * 200,
    }
    context = multiprocessing.get_context("spawn")
    for case, lengths in cases.items():
        for kind in ("nn.LSTM", "LEM"):
            answers = context.SimpleQueue()
            child = context.Process(target=measure, args=(kind, lengths, answers))
            child.start()
            seconds, mib = answers.get()
            child.join()
            print(f"| {case} | {kind} | {seconds:.2f} | {mib:.0f} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="without what compiles or starts processes anew")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("# nn.LSTM beside lemode's layers\n")
    print(
        f"torch {torch.__version__}, Python {platform.python_version()}, CPU. "
        "Produced by `benchmarks/contracts.py`, which says what is what.\n"
    )
    table(args.quick)
    packed_cost()
