"""One fit over several processes: shares of a batch add up, all end with the same step, and torchrun's loss curve is that of one process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from lemode import LEM, Surrogate
from lemode.surrogate.callbacks import Ended
from lemode.surrogate.interrupts import Interrupted, Interrupts
from lemode.surrogate.losses import one_step_loss, trust
from lemode.surrogate.network import IncrementNetwork
from lemode.surrogate.processes import Processes, processes
from lemode.surrogate.series import Series
from lemode.surrogate.training import _share


def one_of(rank, size):
    """A process of several that hears nothing of the others."""
    group = Processes(environment=False)
    group.rank, group.size = rank, size
    return group


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("gaps", [False, True])
def test_shares_of_a_batch_add_up_to_its_loss_and_gradient(size, gaps):
    """Five series, so that they cannot be dealt evenly; with gaps each counts as much as was seen of it."""
    random = torch.Generator().manual_seed(3)
    x, noise = (torch.randn(T, 5, 2, generator=random, dtype=torch.float64) for T in (12, 11))
    mask = torch.rand(12, 5, 2, generator=random) > 0.4 if gaps else None
    window, state = Series(x, mask=mask), ((torch.rand(1, 5, 3, generator=random).double(),) * 2, x[:0])
    network = IncrementNetwork(LEM(2, 3, dtype=torch.float64), 3, 2, torch.float64)
    network.set_scales(x)
    counts = None if mask is None else trust(mask)[4:]
    whole = one_step_loss(network, window, 4, None, state, noise)
    wanted = torch.autograd.grad(whole, list(network.parameters()))
    total, found = 0.0, [torch.zeros_like(g) for g in wanted]
    for rank in range(size):
        mine, its, its_noise, share = _share(window, state, noise, one_of(rank, size), counts)
        loss = share * one_step_loss(network, mine, 4, None, its, its_noise)
        total += loss.item()
        for f, g in zip(found, torch.autograd.grad(loss, list(network.parameters())), strict=True):
            f += g
    assert total == pytest.approx(whole.item(), rel=1e-13)  # sums of a hundred numbers
    for f, g in zip(found, wanted, strict=True):
        torch.testing.assert_close(f, g, rtol=1e-12, atol=1e-14)


def test_a_batch_of_which_nothing_was_seen_is_no_division_by_zero():
    window = Series(torch.zeros(4, 2, 1), mask=torch.zeros(4, 2, 1, dtype=torch.bool))
    assert _share(window, None, None, one_of(1, 2), trust(window.mask))[3] == 0.0


class Told(Processes):
    """A process to which the others say that signals came, or that callbacks have ended the fit."""

    def __init__(self, *others):
        super().__init__(environment=False)
        self.size, self.others = 2, others

    def sum(self, *numbers):
        return [a + b for a, b in zip(numbers, self.others, strict=True)]


@pytest.mark.parametrize("others", [(1.0, 0.0), (0.0, 1.0)])
def test_what_ends_another_process_ends_this_one(others):
    with pytest.raises(Interrupted if others[0] else Ended), Told(*others).ending_together(Interrupts()):
        pass


def test_what_ends_this_one_is_said_before_it_is_raised():
    heard = []

    class Loud(Told):
        def sum(self, *numbers):
            heard.append(numbers)
            return super().sum(*numbers)

    mine = Ended(self_ := object())
    with pytest.raises(Ended) as caught, Loud(0.0, 0.0).ending_together(Interrupts()):
        raise mine
    assert caught.value is mine, self_
    assert heard == [(0.0, 1.0)]
    with Interrupts() as interrupts:
        interrupts.came = signal.SIGTERM
        with pytest.raises(Interrupted, match="SIGTERM"), Loud(0.0, 0.0).ending_together(interrupts):
            pass
    assert heard[1] == (1.0, 0.0)


def test_other_data_in_another_process_are_refused(monkeypatch):
    group = one_of(0, 2)

    def gather(found, mine):
        found[:] = [mine, {**mine, "training data": "another"}]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    with pytest.raises(ValueError, match=r"process 1 has other training data than process 0: .*the same files"):
        group.check_alike({"seed": 0, "training data": "abc"})


def test_alone_outside_of_the_block_and_where_nobody_started_others():
    assert processes().size == 1
    with Processes() as group:
        assert processes() is group
    assert processes() is not group


def environment(**more):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    return {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **more}


OPTIONS = {
    "group": "site", "time": "t", "hidden-size": "4", "train": "all", "steps": "30", "stages": "one-step noise closed-loop forced",
    "window": "40", "washout": "10", "horizon": "5", "batch-size": "5", "optimizer": "adam",
}  # fmt: skip
FIT = [word for name, value in OPTIONS.items() for word in (f"--{name}", *value.split())]


@pytest.mark.slow
def test_torchrun_has_the_loss_curve_of_one_process(tmp_path, capsys):
    """With missing values, a batch that two do not share evenly, and all stages. Sums in another order differ by rounding, 1e-16; Adam and
    closed loops amplify it over 30 steps, and 1e-5 is what the issue asks for."""
    from lemode.cli import main

    t, random = 0.2 * np.arange(120), np.random.default_rng(0)
    lines = ["site,t,v,w"]
    for site in range(7):
        for k in range(120):
            v = "" if random.random() < 0.05 else f"{np.sin(t[k] + site) * (1 + 0.3 * np.sin(0.3 * t[k])):.6f}"
            lines.append(f"{site},{t[k]:.1f},{v},{np.cos(t[k] + site):.6f}")
    data = tmp_path / "data.csv"
    data.write_text("\n".join(lines))
    assert main(["fit", str(data), *FIT, "-q", "-o", str(tmp_path / "one.lem")]) == 0
    capsys.readouterr()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lemode", "fit"]
    done = subprocess.run(
        [*torchrun, str(data), *FIT, "--json", "-o", str(tmp_path / "two.lem"), "--checkpoint", str(tmp_path / "c")],
        env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 30  # one JSON: the first process alone speaks
    one, two = (Surrogate.load(tmp_path / f"{name}.lem") for name in ("one", "two"))
    assert len(one.history_.loss) == 30
    np.testing.assert_allclose(two.history_.loss, one.history_.loss, rtol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "data.csv", "one.lem", "two.lem"]


SCRIPT = """
import os, signal, sys, warnings
import numpy as np, lemode
from lemode.surrogate.processes import Processes
warnings.simplefilter("ignore")
rank = int(os.environ["RANK"])
waves = np.stack([np.sin(0.2 * np.arange(60) + p) for p in range(6)])[..., None]

class At(lemode.surrogate.Callback):
    def __init__(self, step, act):
        self.step, self.act = step, act
    def on_step(self, report):
        if rank == 1 and report["step"] == self.step:
            self.act()

with Processes():
    model = lemode.Surrogate(hidden_size=3, steps=100, window=20, washout=5, batch_size=4, verbose=0, train="all")
    model.fit(waves, callbacks=At(60, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    print(model.history_.stopped, len(model.history_.loss), flush=True)
    model.fit(waves, callbacks=At(7, lambda: os._exit(9)))
"""


@pytest.mark.slow
def test_a_signal_ends_all_with_the_same_step_and_a_death_with_a_sentence(tmp_path):
    shared = environment(WORLD_SIZE="2")
    both = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT], env={**shared, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]  # fmt: skip
    begun = time.monotonic()
    said = [process.communicate(timeout=100) for process in both]
    assert [out for out, _ in said] == ["interrupted 60\n"] * 2, said
    assert [process.returncode for process in both] == [1, 9]
    assert "RuntimeError: another process of this fit has died or does not answer" in said[0][1]
    assert time.monotonic() - begun < 100  # and not after half an hour, as gloo would wait for one that hangs
