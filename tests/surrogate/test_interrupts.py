"""Ctrl-C and SIGTERM: the step is done, the best model is kept, the checkpoint is of that step, and the handlers are those of before."""

import os
import signal
import threading

import numpy as np
import pytest

from lemode import Surrogate
from lemode.surrogate import Callback, FitWarning, interrupts, storage
from lemode.surrogate.recipe import Recipe
from lemode.surrogate.run import Run

WAVES = np.stack([np.sin(0.2 * np.arange(60) + p) for p in range(6)])[..., None]
SMALL = {"hidden_size": 3, "steps": 14, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0, "train": "all"}
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A validation after ten steps and not fifty: fits are short here."""
    monkeypatch.setattr(Surrogate, "_default_recipe", Recipe(validate_every=10))


class Sent(Callback):
    """A signal in the middle of these steps, as the system sends it."""

    def __init__(self, number, *steps):
        self.number, self.steps = number, steps

    def on_step(self, report):
        if report["step"] in self.steps:
            os.kill(os.getpid(), self.number)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(interrupts, "_interrupted", -np.inf)
    # as a program in a terminal has it: a job in the background is started with SIGINT ignored
    started = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    after = [signal.getsignal(number) for number in SIGNALS]
    signal.signal(signal.SIGINT, started)
    assert after == before


@pytest.mark.parametrize("number", SIGNALS)
def test_ends_the_step_and_keeps_the_best_model(number, tmp_path):
    whole = Surrogate(**SMALL).fit(WAVES)
    with pytest.warns(FitWarning, match=r"was interrupted at step 12; the weights of step 10 .* were restored"):
        model = Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c", callbacks=Sent(number, 12))
    assert model.history_.stopped == "interrupted"
    assert model.history_.loss == whole.history_.loss[:12]
    assert storage.read(tmp_path / "c", "lemode checkpoint")[1]["step"] == 12
    resumed = Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c")
    assert resumed.history_.loss == whole.history_.loss
    np.testing.assert_array_equal(resumed.predict(WAVES), whole.predict(WAVES))


@pytest.mark.parametrize("number", SIGNALS)
def test_before_anything_was_learned_it_is_passed_on_and_the_checkpoint_is_there(number, tmp_path):
    model = Surrogate(**SMALL)
    with pytest.raises(KeyboardInterrupt, match=number.name):
        model.fit(WAVES, checkpoint=tmp_path / "c", callbacks=Sent(number, 7))
    assert not hasattr(model, "network_")
    assert storage.read(tmp_path / "c", "lemode checkpoint")[1]["step"] == 7
    whole = Surrogate(**SMALL).fit(WAVES)
    assert model.fit(WAVES, checkpoint=tmp_path / "c").history_.loss == whole.history_.loss


@pytest.mark.filterwarnings("ignore:the fit explains")
def test_of_two_networks_the_readout_is_there():
    auto = {**SMALL, "train": "auto", "width": 8, "delays": 0}
    with pytest.warns(FitWarning, match="the training was interrupted before it found any weights; the readout is kept"):
        model = Surrogate(**auto).fit(WAVES[:, :40], callbacks=Sent(signal.SIGTERM, 3))
    assert model.history_.kept == "readout: the training was interrupted"


def test_what_comes_after_the_last_step_is_not_lost(monkeypatch, tmp_path):
    """Between the last step and the end of the fit nobody looks any more, and a loop around it would go on."""
    real = Run.restore

    def restore(self, weights):
        os.kill(os.getpid(), signal.SIGINT)
        real(self, weights)

    with monkeypatch.context() as m:
        m.setattr(Run, "restore", restore)
        with pytest.warns(FitWarning, match="was interrupted at step 14"):
            model = Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c")
    again = Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c")
    assert again.history_.stopped == "all steps done"
    np.testing.assert_array_equal(again.predict(WAVES), model.predict(WAVES))


def test_a_second_one_ends_the_loop_around_it():
    done = []

    def loop():
        for _ in range(3):
            done.append(Surrogate(**SMALL).fit(WAVES, callbacks=Sent(signal.SIGINT, 12)).history_.stopped)

    with pytest.warns(FitWarning, match="Ctrl-C again within 2 s"), pytest.raises(KeyboardInterrupt):
        loop()
    assert done == ["interrupted"]


def test_a_second_one_does_not_wait_for_the_end_of_the_step():
    with interrupts.Interrupts() as waiting:
        signal.raise_signal(signal.SIGINT)
        assert waiting.came is signal.SIGINT
        with pytest.raises(KeyboardInterrupt) as caught:
            signal.raise_signal(signal.SIGINT)
    assert not isinstance(caught.value, interrupts.Interrupted)


def test_a_handler_of_the_program_stays():
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        model = Surrogate(**SMALL).fit(WAVES, callbacks=Sent(signal.SIGTERM, 12))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came == [signal.SIGTERM]
    assert model.history_.stopped == "all steps done"


def test_in_another_thread_nothing_is_touched():
    found = []

    def fit():
        here = At60()
        Surrogate(**SMALL).fit(WAVES, callbacks=here)
        found.extend(here.handlers)

    class At60(Callback):
        handlers = ()

        def on_validation(self, report):
            self.handlers = [signal.getsignal(number) for number in SIGNALS]

    thread = threading.Thread(target=fit)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler, signal.SIG_DFL]
