"""Checkpoints: a fit that was cut off at any step goes on to the last bit; what cannot be written costs nothing; one fit, one file."""

import os
import re
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import lemode
from lemode import FieldSurrogate, Surrogate, Trajectories
from lemode.surrogate import Callback, FitWarning, storage
from lemode.surrogate.checkpoint import Checkpoint
from lemode.surrogate.jobs import spread_over
from lemode.surrogate.recipe import FIELD_RECIPE, Recipe

T = 0.2 * np.arange(60)
WAVES = np.stack([np.sin(T + p) for p in range(6)])[..., None]
FIELD = np.stack([np.sin(np.arange(8) * np.pi / 4 - 0.1 * np.arange(60)[:, None] + p) for p in range(6)])
SMALL = {"hidden_size": 3, "steps": 14, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0, "train": "all"}
pytestmark = pytest.mark.filterwarnings("ignore:free runs leave the attractor", "ignore:free runs have")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Validations after ten steps and not fifty, and checkpoints of every step, which none of them waits to see on the disk."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(Surrogate, "_default_recipe", Recipe(validate_every=10))
    monkeypatch.setattr(FieldSurrogate, "_default_recipe", replace(FIELD_RECIPE, validate_every=4, free_steps=0))


class PowerCut(BaseException):
    """Nothing catches it."""


class At(Callback):
    """Do something at some steps."""

    def __init__(self, steps, what):
        self.steps, self.what = steps, what

    def on_step(self, report):
        if report["step"] in self.steps:
            self.what()


def cut():
    raise PowerCut


def holes():
    x = WAVES.copy()
    x[:, 20:23] = np.nan
    return Trajectories(T, x, ("v",), missing=True)


KINDS = {
    "all": (lambda: Surrogate(**SMALL), WAVES, (3, 10, 12)),
    "missing values": (lambda: Surrogate(**SMALL), holes(), (12,)),
    "stages": (lambda: Surrogate(**{**SMALL, "stages": ("one-step", "noise", "closed-loop"), "horizon": 4, "steps": 40}), WAVES, (30, 37)),
    "forced": (lambda: Surrogate(**{**SMALL, "stages": ("one-step", "forced"), "horizon": 4, "steps": 40}), WAVES, (30, 37)),
    "continuous": (lambda: Surrogate(**{**SMALL, "steps": 10, "continuous": True, "window": 6}), WAVES, (3, 12)),
    "field": (
        lambda: FieldSurrogate(hidden_size=2, kernel_size=3, steps=7, verbose=0), FIELD, (3, 6),
    ),
}  # fmt: skip


def test_the_strength_of_forcing_is_found_anew_as_it_was(tmp_path, monkeypatch):
    """It is of the weights before the stage, which a fit that goes on from its middle has no longer."""
    found = []

    def by_weights(network, series):
        found.append(float(network.head.weight.detach().abs().sum()))
        return found[-1] % 1

    monkeypatch.setattr("lemode.surrogate.training.forcing_strength", by_weights)
    make, data, _ = KINDS["forced"]
    with pytest.raises(PowerCut):
        make().fit(data, checkpoint=tmp_path / "c", checkpoint_every=1e-9, callbacks=At([38], cut))
    make().fit(data, checkpoint=tmp_path / "c")
    assert found[1:] == found[:1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_fit_that_was_cut_off_between_two_validations_goes_on_to_the_last_bit(kind, tmp_path):
    make, data, cuts = KINDS[kind]
    whole = make().fit(data)
    for step in cuts:
        # of a continuous fit the steps of the second part are counted anew
        at = [step - 10] if kind == "continuous" and step > 10 else [step]
        with pytest.raises(PowerCut):
            make().fit(data, checkpoint=tmp_path / "c", checkpoint_every=1e-9, callbacks=At(at, cut))
    told = []
    resumed = make().fit(data, checkpoint=tmp_path / "c", callbacks=At(range(10**6), lambda: told.append(1)))
    assert resumed.history_.loss == whole.history_.loss
    assert resumed.history_.validation == whole.history_.validation
    assert len(told) == len(whole.history_.loss) - cuts[-1]  # and it was no new one
    for (name, one), (_, other) in zip(whole.network_.state_dict().items(), resumed.network_.state_dict().items()):
        assert torch.equal(one, other), name
    assert os.listdir(tmp_path) == ["c"]


def test_steps_without_a_finite_loss_are_counted_on(tmp_path, monkeypatch):
    """Twenty in a row end a fit, also where it was cut off between the tenth and the eleventh."""
    from lemode.surrogate import training

    real, long = training._stage_loss, {**SMALL, "steps": 40}
    monkeypatch.setattr(training, "_stage_loss", lambda name, run: real(name, run) * (float("nan") if run.step >= 5 else 1.0))
    with pytest.raises(PowerCut):
        Surrogate(**long).fit(WAVES, checkpoint=tmp_path / "c", checkpoint_every=1e-9, callbacks=At([15], cut))
    with pytest.warns(FitWarning, match="diverged at step 25"):
        Surrogate(**long).fit(WAVES, checkpoint=tmp_path / "c")


def test_it_is_written_when_it_is_due(tmp_path, monkeypatch):
    """At every validation, or when so many seconds have passed; and always at the end, or the next call would do all again."""
    written, real, clock = [], Checkpoint._write, [time.monotonic()]
    monkeypatch.setattr(Checkpoint, "_write", lambda self, run: (written.append(len(run.history.loss)), real(self, run)))
    Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "a")
    assert written == [10, 14]
    written.clear()
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    Surrogate(**SMALL).fit(
        WAVES, checkpoint=tmp_path / "b", checkpoint_every=4.0,
        callbacks=At(range(15), lambda: clock.__setitem__(0, clock[0] + 1)),
    )  # fmt: skip
    assert written == [5, 9, 13, 14]


@pytest.mark.parametrize("value", [0, -1.0, "1", np.nan, True])
def test_seconds_are_a_positive_number_and_want_a_file(value, tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint_every=.*: give a positive number of seconds"):
        Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c", checkpoint_every=value)
    with pytest.raises(ValueError, match=r"checkpoint_every=3: there is no checkpoint; give its file as well\."):
        Surrogate(**SMALL).fit(WAVES, checkpoint_every=3)


class TestWhatCannotBeWritten:
    @pytest.fixture
    def small_files(self):
        """No file may grow beyond so many bytes: the system refuses what is left of a write, as on a disk that is full."""
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_a_model_on_a_full_disk(self, small_files, tmp_path):
        model = Surrogate(**{**SMALL, "steps": 2}).fit(WAVES)
        model.save(tmp_path / "m.lem")
        before = (tmp_path / "m.lem").read_bytes()
        small_files(1000)
        with pytest.raises(
            OSError, match=r"^.*m\.lem: could not be written \(File too large\), and nothing was changed; make room"
        ):
            model.save(tmp_path / "m.lem")
        assert (tmp_path / "m.lem").read_bytes() == before
        assert os.listdir(tmp_path) == ["m.lem"]

    def test_a_checkpoint_on_a_full_disk(self, small_files, tmp_path):
        """The fit is what it would have been, the checkpoint that of before, and one warning says so."""
        whole, path = Surrogate(**SMALL).fit(WAVES), tmp_path / "c"
        with pytest.warns(
            FitWarning, match=r"c: could not be written .* The fit goes on.*; the one before it is whole"
        ) as caught:
            model = Surrogate(**SMALL).fit(
                WAVES, checkpoint=path, checkpoint_every=1e-9, callbacks=At([11], lambda: small_files(1000))
            )
        assert len(caught) == 1
        np.testing.assert_array_equal(model.predict(WAVES), whole.predict(WAVES))
        assert storage.read(path, "lemode checkpoint")[1]["step"] == 11
        assert os.listdir(tmp_path) == ["c"]
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        np.testing.assert_array_equal(Surrogate(**SMALL).fit(WAVES, checkpoint=path).predict(WAVES), whole.predict(WAVES))

    def test_a_disk_that_has_room_again(self, small_files, tmp_path):
        steps = {11: 1000, 12: resource.RLIM_INFINITY}
        with pytest.warns(FitWarning, match="could not be written"):
            Surrogate(**SMALL).fit(
                WAVES, checkpoint=tmp_path / "c", checkpoint_every=1e-9,
                callbacks=[At([step], lambda size=size: small_files(size)) for step, size in steps.items()],
            )  # fmt: skip
        assert storage.read(tmp_path / "c", "lemode checkpoint")[1]["step"] == 14

    def test_a_folder_that_goes_away(self, tmp_path):
        (tmp_path / "there").mkdir()
        with pytest.warns(FitWarning, match=r"there is no folder .*there; make it first\. The fit goes on"):
            model = Surrogate(**SMALL).fit(
                WAVES,
                checkpoint=tmp_path / "there" / "c",
                callbacks=At([10], lambda: os.rename(tmp_path / "there", tmp_path / "else")),
            )
        assert model.history_.stopped == "all steps done"

    @pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="a folder that even root may not write")
    def test_a_folder_that_may_not_be_written_whatever_access_says(self):
        model = Surrogate(**{**SMALL, "steps": 2}).fit(WAVES)
        for write in (model.save, lambda path: Surrogate(**SMALL).fit(WAVES, checkpoint=path)):
            with pytest.raises(
                OSError,
                match=r"/sys/kernel/m\.lem: (could not be written|the folder /sys/kernel may not be written).*choose another",
            ):
                write("/sys/kernel/m.lem")


class TestOneFitOneFile:
    def test_a_second_fit_is_refused_while_the_first_goes_on(self, tmp_path):
        path, said = tmp_path / "c", []

        def second():
            with pytest.raises(
                BlockingIOError, match=r"c: another fit is writing this checkpoint; wait for its end, or give this one"
            ) as e:
                Surrogate(**SMALL).fit(WAVES, checkpoint=path)
            said.append(e)

        first = Surrogate(**SMALL).fit(WAVES, checkpoint=path, callbacks=At([11], second))
        assert len(said) == 1
        again = Surrogate(**SMALL).fit(WAVES, checkpoint=path)
        np.testing.assert_array_equal(again.predict(WAVES), first.predict(WAVES))
        assert os.listdir(tmp_path) == ["c"]

    def test_by_whatever_name(self, tmp_path):
        (tmp_path / "link").symlink_to("c")
        with Checkpoint(tmp_path / "c", {}).held(), pytest.raises(BlockingIOError), Checkpoint(tmp_path / "link", {}).held():
            pass

    def test_a_fit_that_fails_gives_it_back(self, tmp_path):
        with pytest.raises(PowerCut):
            Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c", callbacks=At([3], cut))
        assert os.listdir(tmp_path) == []

    def test_what_a_kill_left_half_written_is_removed(self, tmp_path, monkeypatch):
        """Of both files of a continuous fit, and of nothing else."""
        with monkeypatch.context() as m:
            m.setattr(os, "replace", lambda *_: cut())
            m.setattr(Path, "unlink", lambda *_, **__: None)
            for name in ("c", "c.discrete"):
                with pytest.raises(PowerCut):
                    storage.write(tmp_path / name, {"x": torch.zeros(1)}, {})
        assert [name[-4:] for name in os.listdir(tmp_path)] == [".tmp", ".tmp"]
        (tmp_path / ".lemode-of-another.tmp").touch()
        make, data, _ = KINDS["continuous"]
        make().fit(data, checkpoint=tmp_path / "c")
        assert sorted(os.listdir(tmp_path)) == [".lemode-of-another.tmp", "c"]


def test_clocks_that_jump_are_never_asked_how_long_something_took():
    """`time.time` follows the clock on the wall, which is set back and forth."""
    for path in Path(lemode.__file__).parent.rglob("*.py"):
        assert not re.search(r"\btime\.time\(|from time import", path.read_text()), path


def fit_that_dies_once(settings, data, folder, k):
    """Of its process, while it fits; at the second time it goes on."""
    import os

    import lemode

    class Dies(lemode.surrogate.Callback):
        def on_step(self, report):
            if k == 1 and report["step"] == 55 and not os.path.exists(f"{folder}/died"):
                open(f"{folder}/died", "x").close()
                os._exit(1)

    model = lemode.Surrogate(**settings).fit(data, checkpoint=f"{folder}/{k}.ckpt", callbacks=Dies())
    return model.history_.loss


@pytest.mark.slow
def test_a_worker_that_dies_loses_nothing_and_it_is_said(tmp_path, monkeypatch):
    pytest.importorskip("joblib")
    monkeypatch.setattr(fit_that_dies_once, "__module__", "__main__")  # so that it is sent by value
    settings = {**SMALL, "steps": 70}
    calls = [(settings, WAVES, str(tmp_path), k) for k in range(2)]
    with pytest.raises(
        RuntimeError, match=r"n_jobs=2: one of the processes has died .*a checkpoint of their own each, to go on from"
    ):
        spread_over(fit_that_dies_once, calls, 2)
    assert storage.read(tmp_path / "1.ckpt", "lemode checkpoint")[1]["step"] == 50
    monkeypatch.undo()  # the workers knew nothing of other recipes
    found = spread_over(fit_that_dies_once, calls, None)
    assert found == [Surrogate(**settings).fit(WAVES).history_.loss] * 2
    assert sorted(os.listdir(tmp_path)) == ["0.ckpt", "1.ckpt", "died"]
