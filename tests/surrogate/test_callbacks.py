"""Callbacks: told of everything in order, they may end a fit and cannot lose one; a log whose lines are whole; what it took."""

import json
import os
import sys
import threading
import types

import numpy as np
import pytest

from lemode import FieldSurrogate, Surrogate
from lemode.surrogate import Callback, FitWarning, JSONLog, LivePlot, TensorBoard, callbacks
from lemode.surrogate.readout_network import ReadoutNetwork
from lemode.surrogate.recipe import Recipe

WAVES = np.stack([np.sin(0.2 * np.arange(60) + p) for p in range(6)])[..., None]
FIELD = np.stack([np.sin(np.arange(8) * np.pi / 4 - 0.1 * np.arange(60)[:, None] + p) for p in range(6)])
SMALL = {"hidden_size": 3, "steps": 12, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0, "train": "all"}
pytestmark = pytest.mark.filterwarnings("ignore:free runs")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """A validation after ten steps and not fifty: fits are short here."""
    monkeypatch.setattr(Surrogate, "_default_recipe", Recipe(validate_every=10))


class Notes(Callback):
    def __init__(self):
        self.heard = []

    def on_step(self, report):
        self.heard.append(("step", report))

    def on_validation(self, report):
        self.heard.append(("validation", report))

    def on_end(self, report):
        self.heard.append(("end", report))


class Fails(Callback):
    def __init__(self, method, at=0):
        self.method, self.at = method, at

    def on_step(self, report):
        if self.method == "on_step" and report["step"] == self.at:
            raise ZeroDivisionError("what the user got wrong")

    def on_validation(self, report):
        if self.method == "on_validation" and report.get("step", 0) >= self.at:
            raise ZeroDivisionError("what the user got wrong")

    def on_end(self, report):
        if self.method == "on_end":
            raise ZeroDivisionError("what the user got wrong")


class TestWhatTheyHear:
    def test_every_step_every_validation_and_the_end(self):
        notes = Notes()
        model = Surrogate(**SMALL).fit(WAVES, callbacks=[notes])
        history = model.history_
        assert [event for event, _ in notes.heard] == ["step"] * 10 + ["validation"] + ["step"] * 2 + ["validation", "end"]
        steps = [report for event, report in notes.heard if event == "step"]
        assert [(r["step"], r["loss"]) for r in steps] == list(enumerate(history.loss, 1))
        assert all(r["stage"] == "one-step" and 0 < r["lr"] <= 1e-2 for r in steps)
        assert [(r["step"], r["validation"]) for event, r in notes.heard if event == "validation"] == history.validation
        end = notes.heard[-1][1]
        assert (end["stopped"], end["steps"], end["best_step"]) == ("all steps done", 12, history.best_step)
        assert end["validation"] == min(error for _, error in history.validation)
        assert end["phases"] == history.phases

    def test_the_model_is_that_of_a_fit_without_them(self):
        np.testing.assert_array_equal(
            Surrogate(**SMALL).fit(WAVES, callbacks=Notes()).predict(WAVES), Surrogate(**SMALL).fit(WAVES).predict(WAVES)
        )

    @pytest.mark.parametrize(
        ("make", "data", "stages"),
        [
            (lambda: Surrogate(**{**SMALL, "train": "readout", "delays": 0}), WAVES[:, :40], ["readout"]),
            (lambda: Surrogate(**{**SMALL, "train": "auto", "width": 6, "delays": 0}), WAVES[:, :40], ["readout", "one-step"]),
            (lambda: Surrogate(**{**SMALL, "continuous": True, "window": 6, "steps": 10}), WAVES, ["one-step", "continuous one-step"]),
            (lambda: Surrogate(**{**SMALL, "stages": ("one-step", "noise")}), WAVES, ["one-step", "noise"]),
            (lambda: FieldSurrogate(hidden_size=2, kernel_size=3, steps=4, verbose=0), FIELD, ["one-step"]),
        ],
    )  # fmt: skip
    @pytest.mark.filterwarnings("ignore:the fit explains")
    def test_of_every_kind_of_fit(self, make, data, stages):
        notes = Notes()
        model = make().fit(data, callbacks=notes)
        heard = [report["stage"] for event, report in notes.heard if event == "validation"]
        assert list(dict.fromkeys(heard)) == stages
        assert [event for event, _ in notes.heard].count("end") == 1
        solved = ["held-out part"] * isinstance(model.network_, ReadoutNetwork)
        assert list(model.history_.phases) == ["data", *stages, "judging", *solved]

    def test_a_fit_that_goes_on_counts_on(self, tmp_path):
        class Cut(Callback):
            def on_step(self, report):
                if report["step"] == 4:
                    raise SystemExit

        with pytest.raises(SystemExit):
            Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c", checkpoint_every=1e-9, callbacks=Cut())
        notes = Notes()
        Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c", callbacks=notes)
        assert notes.heard[0][1]["step"] == 5

    def test_of_an_error_they_hear_too(self):
        notes = Notes()
        with pytest.raises(ValueError, match="steps=0"):
            Surrogate(**{**SMALL, "steps": 0}).fit(WAVES, callbacks=notes)
        ((event, report),) = notes.heard
        assert event == "end"
        assert report["error"].startswith("ValueError: steps=0")

    def test_two_threads_hear_of_their_own_fits(self):
        notes = [Notes(), Notes()]
        threads = [
            threading.Thread(target=lambda n=n, k=k: Surrogate(**{**SMALL, "steps": 12 + k}).fit(WAVES, callbacks=n))
            for k, n in enumerate(notes)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [[e for e, _ in n.heard].count("step") for n in notes] == [12, 13]

    @pytest.mark.parametrize("wrong", [print, Notes, [Notes(), 3], object()])
    def test_what_is_none_is_refused_before_the_fit(self, wrong):
        with pytest.raises(ValueError, match=r"callbacks\[[01]\] is .*: give objects with on_step, on_validation and on_end"):
            Surrogate(**SMALL).fit(WAVES, callbacks=wrong)


class TestWhatTheyMayDo:
    @pytest.mark.parametrize("step", [7, 11])
    def test_true_ends_the_fit_with_the_best_weights(self, step, recwarn):
        class Enough(Callback):
            def on_step(self, report):
                return report["step"] == step

        model = Surrogate(**SMALL).fit(WAVES, callbacks=[Enough()])
        assert (model.history_.stopped, len(model.history_.loss)) == ("ended by a callback", step)
        assert model.history_.best_step == (7 if step == 7 else 10)
        assert not [w for w in recwarn if issubclass(w.category, FitWarning)]

    def test_what_is_true_by_accident_does_not(self):
        class Verbose(Callback):
            def on_step(self, report):
                return "done"

        assert Surrogate(**SMALL).fit(WAVES, callbacks=Verbose()).history_.stopped == "all steps done"

    @pytest.mark.parametrize(("method", "at"), [("on_step", 11), ("on_validation", 10)])
    def test_an_exception_ends_the_fit_and_is_shown(self, method, at):
        with pytest.warns(
            FitWarning,
            match=r"(?s)a callback ended the fit at step 1[01]; the weights of step 10 .* were restored.*callback Fails raised.*"
            r"test_callbacks\.py.*ZeroDivisionError: what the user got wrong",
        ):
            model = Surrogate(**SMALL).fit(WAVES, callbacks=Fails(method, at))
        assert model.history_.best_step == 10
        assert model.history_.stopped == "ended by a callback"

    def test_before_anything_was_learned_it_is_raised(self):
        model = Surrogate(**SMALL)
        with pytest.raises(ZeroDivisionError, match="what the user got wrong"):
            model.fit(WAVES, callbacks=Fails("on_step", 3))
        assert not hasattr(model, "network_")

    @pytest.mark.filterwarnings("ignore:the fit explains")
    def test_of_two_networks_the_readout_is_there(self):
        class Late(Callback):
            def on_step(self, report):
                raise ZeroDivisionError("in the first step")

        with pytest.warns(
            FitWarning, match="(?s)a callback ended the training before it found any weights; the readout is kept.*in the first"
        ):
            model = Surrogate(**{**SMALL, "train": "auto", "width": 6, "delays": 0}).fit(WAVES[:, :40], callbacks=Late())
        assert model.history_.kept.startswith("readout")

    def test_at_the_end_it_costs_nothing(self):
        with pytest.warns(FitWarning, match="(?s)at the end of the fit the callback Fails raised.*ZeroDivisionError"):
            model = Surrogate(**SMALL).fit(WAVES, callbacks=Fails("on_end"))
        assert model.history_.stopped == "all steps done"

    def test_the_others_hear_of_the_step_in_which_one_fails(self):
        notes = Notes()
        with pytest.warns(FitWarning, match="callback ended"):
            Surrogate(**SMALL).fit(WAVES, callbacks=[Fails("on_step", 11), notes])
        assert [r["step"] for event, r in notes.heard if event == "step"][-1] == 11

    def test_the_checkpoint_is_of_that_step(self, tmp_path):
        whole = Surrogate(**SMALL).fit(WAVES)
        with pytest.raises(ZeroDivisionError):
            Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c", callbacks=Fails("on_step", 3))
        notes = Notes()
        model = Surrogate(**SMALL).fit(WAVES, checkpoint=tmp_path / "c", callbacks=notes)
        assert notes.heard[0][1]["step"] == 4
        assert model.history_.loss == whole.history_.loss


def lines(path):
    def refused(value):
        raise AssertionError(f"{value} is no JSON")

    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refused) for line in text.splitlines()]


class TestLog:
    def test_has_every_fit_one_after_the_other(self, tmp_path):
        path = tmp_path / "fit.jsonl"
        log = JSONLog(path, steps=True)
        model = Surrogate(**SMALL).fit(WAVES, callbacks=log)
        with pytest.raises(ValueError, match="steps=0"):
            Surrogate(**{**SMALL, "steps": 0}).fit(WAVES, callbacks=log)
        found = lines(path)
        assert [line["event"] for line in found] == ["step"] * 10 + ["validation"] + ["step"] * 2 + [
            "validation",
            "end",
            "end",
        ]
        assert [line["loss"] for line in found if line["event"] == "step"] == model.history_.loss
        assert len({line["fit"] for line in found}) == 2
        assert found[-1]["error"].startswith("ValueError")
        assert all(line["time"].endswith("+00:00") for line in found)

    def test_knows_no_nan(self, tmp_path):
        log = JSONLog(tmp_path / "l")
        log.on_validation(
            {"validation": float("nan"), "best": float("inf"), "phases": {"a": [1.0, -np.inf, np.float64("nan")]}}
        )
        (line,) = lines(tmp_path / "l")
        assert (line["validation"], line["best"], line["phases"]) == (None, None, {"a": [1.0, None, None]})

    def test_behind_a_line_that_a_power_cut_tore(self, tmp_path):
        (tmp_path / "l").write_text('{"event": "sta')
        JSONLog(tmp_path / "l").on_end({"stopped": "x"})
        torn, whole = (tmp_path / "l").read_text().splitlines()
        assert torn == '{"event": "sta'
        assert json.loads(whole)["stopped"] == "x"

    def test_lines_of_many_threads_do_not_mix(self, tmp_path):
        def write():
            log = JSONLog(tmp_path / "l")
            for _ in range(200):
                log.on_validation({"text": "x" * 3000})

        threads = [threading.Thread(target=write) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(lines(tmp_path / "l")) == 1200

    def test_on_a_full_disk_the_fit_goes_on_and_no_line_is_torn(self, tmp_path, monkeypatch):
        real, room = os.write, [700]

        def write(handle, content):
            part = content[: room[0]]
            room[0] -= len(part)
            if not part:
                raise OSError(28, "No space left on device")
            return real(handle, part)

        log = JSONLog(tmp_path / "l", steps=True)
        monkeypatch.setattr(callbacks.os, "write", write)
        with pytest.warns(
            FitWarning, match=r"l: the log cannot be written \(No space left on device\); the fit goes on without it"
        ) as caught:
            model = Surrogate(**SMALL).fit(WAVES, callbacks=log)
        assert len(caught) == 1
        assert model.history_.stopped == "all steps done"
        assert 0 < len(lines(tmp_path / "l")) < 10

    @pytest.mark.parametrize("path", ["no/l", "."])
    def test_where_it_cannot_be_is_said_at_once(self, tmp_path, path):
        with pytest.raises(OSError, match=r"there is no folder|is a folder"):
            JSONLog(tmp_path / path)


class TestOthersTools:
    def test_tensorboard_gets_curves(self, monkeypatch):
        points = []

        class SummaryWriter:
            def __init__(self, folder):
                points.append(folder)

            def add_scalar(self, name, value, step):
                points.append((name, step))

            def close(self):
                points.append("closed")

        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", types.SimpleNamespace(SummaryWriter=SummaryWriter))
        Surrogate(**{**SMALL, "steps": 2}).fit(WAVES, callbacks=TensorBoard("runs/a"))
        assert points == ["runs/a", ("loss", 1), ("lr", 1), ("loss", 2), ("lr", 2), ("validation", 2), "closed"]

    def test_a_plot_grows_in_a_notebook(self, monkeypatch):
        drawn = []

        def display(figure, display_id):
            drawn.append(figure)
            return types.SimpleNamespace(update=drawn.append)

        monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
        Surrogate(**SMALL).fit(WAVES, callbacks=LivePlot(seconds=0.0))
        assert len(drawn) == 3  # at 10, at 12, and at the end
        counts = [[len(line.get_xdata()) for line in figure.axes[0].lines[:2]] for figure in drawn]
        assert counts == [[10, 1], [12, 2], [12, 2]]

    @pytest.mark.parametrize(
        ("cls", "module", "message"),
        [
            (TensorBoard, "torch.utils.tensorboard", "pip install tensorboard"),
            (LivePlot, "IPython.display", "pip install ipython"),
        ],
    )
    def test_without_them_it_is_said_what_to_install(self, monkeypatch, cls, module, message):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=message):
            cls()


def test_what_a_fit_took_is_in_its_history_and_in_the_file(tmp_path):
    model = Surrogate(**SMALL).fit(WAVES)
    phases = model.history_.phases
    assert list(phases) == ["data", "one-step", "judging"]
    assert all(phase["seconds"] > 0 and phase["peak_memory"] > 1e7 for phase in phases.values())
    # what lies between the steps and outside of them: the clock of the fit runs over both
    assert phases["one-step"]["seconds"] <= model.history_.seconds
    model.save(tmp_path / "m.lem")
    assert Surrogate.load(tmp_path / "m.lem").history_.phases == phases
