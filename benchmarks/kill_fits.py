"""Fits that are killed, by signal 9 and at random moments, and go on: they end, to the last bit, as one of a piece does.

    python benchmarks/kill_fits.py [--kinds all auto ...] [--kills 20]

A child fits with a checkpoint; after each kill the checkpoint has to be whole, or not there; then the next child goes on. One that comes
to its end is compared with a fit that nobody stopped, weights and history, and all begins anew, until the kills are done. A readout has no
checkpoint: it is one regression, and begins again; its model file has to be whole, or not there. The committed output is
`benchmarks/kill_fits.txt`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from lemode import FieldSurrogate, Surrogate
from lemode.surrogate import storage

WAVES = np.stack([np.sin(0.2 * np.arange(120) + p) + 0.3 * np.sin(0.07 * np.arange(120)) for p in range(6)])[..., None]
FIELD = np.stack([np.sin(np.arange(8) * np.pi / 4 - 0.1 * np.arange(80)[:, None] + p) for p in range(6)])
COMMON = {"window": 20, "washout": 5, "batch_size": 4, "verbose": 0}
KINDS = {
    "all": (lambda: Surrogate(4, train="all", steps=300, stages=("one-step", "closed-loop"), horizon=4, **COMMON), WAVES),
    "auto": (lambda: Surrogate(4, train="auto", width=30, delays=0, steps=300, **COMMON), WAVES),
    "readout": (lambda: Surrogate(100, train="readout", **COMMON), WAVES),
    "continuous": (lambda: Surrogate(4, train="all", continuous=True, steps=150, **COMMON), WAVES),
    "field": (lambda: FieldSurrogate(4, kernel_size=3, steps=300, verbose=0), FIELD),
}
EVERY = 0.02  # seconds between checkpoints


def fit(kind: str, folder: Path | None) -> Surrogate:
    """As a user does it, in a script that is started again."""
    make, data = KINDS[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "readout" or folder is None:
            model = make().fit(data)
        else:
            model = make().fit(data, checkpoint=folder / "fit.ckpt", checkpoint_every=EVERY)
    if folder is not None:
        model.save(folder / "model.lem")
    return model


def digest(model: Surrogate) -> str:
    """Of every bit of the weights, and of the history but for its clocks."""
    h, total = model.history_, hashlib.sha256()
    for name, tensor in sorted(model.network_.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.numpy().tobytes())
    total.update(repr((h.loss, h.validation, h.best_step, str(h.stopped), h.stages, h.chosen, h.kept, h.tried)).encode())
    return total.hexdigest()


def child(kind: str, folder: Path) -> int:
    """The number of a process that fits; forked, so that it need not import anything and the kill meets the fit."""
    number = os.fork()
    if number == 0:
        try:
            fit(kind, folder)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return number


def whole(kind: str, folder: Path) -> bool:
    """Whether there is a checkpoint to go on from; an exception for a file that is there and cannot be read."""
    for path in folder.glob("fit.ckpt*"):
        if not path.name.endswith(".lock"):
            storage.read(path, "lemode checkpoint")
    if (folder / "model.lem").exists():
        Surrogate.load(folder / "model.lem")
    return (folder / "fit.ckpt").exists() or (folder / "fit.ckpt.discrete").exists()


def run(kind: str, kills: int, rng: np.random.Generator) -> str:
    """Kill so often, and compare every fit that comes to its end; the row of the table."""
    fit(kind, None)  # whatever is imported late is there
    began = time.monotonic()
    expected = digest(fit(kind, None))
    takes = time.monotonic() - began
    struck = resumable = torn = ended = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        while struck < kills or not (folder / "model.lem").exists():
            number = child(kind, folder)
            if struck < kills:
                time.sleep(rng.uniform(0, takes))
                os.kill(number, signal.SIGKILL)  # of a process that has ended, nothing happens: nobody has waited for it yet
            _, status = os.waitpid(number, 0)
            if os.WIFSIGNALED(status):
                struck += 1
                resumable += whole(kind, folder)
                torn += any(path.suffix == ".tmp" for path in folder.iterdir())
            elif os.WEXITSTATUS(status):
                raise SystemExit(f"{kind}: a fit failed after {struck} kills")
            if (folder / "model.lem").exists() and not os.WIFSIGNALED(status):
                found = digest(Surrogate.load(folder / "model.lem"))
                assert found == expected, f"{kind}: after {struck} kills another model"
                left = sorted(path.name for path in folder.iterdir() if path.name not in ("fit.ckpt", "model.lem"))
                assert not left, f"{kind}: {left} is left"
                ended += 1
                if struck < kills:
                    for path in folder.iterdir():
                        path.unlink()
    return f"{kind:12}{struck:>6}{resumable:>24}{torn:>22}{f'{ended} of {ended}':>30}{takes:>14.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)
    heads = (
        ("kills", 6),
        ("a checkpoint was there", 24),
        ("in the midst of one", 22),
        ("ended with the same bits", 30),
        ("one fit, s", 14),
    )
    print("kind".ljust(12) + "".join(head.rjust(width) for head, width in heads))
    for kind in arguments.kinds:
        print(run(kind, arguments.kills, rng), flush=True)


if __name__ == "__main__":
    sys.exit(main())
