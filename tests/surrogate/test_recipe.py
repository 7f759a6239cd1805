"""The training defaults have one home; the history and the progress of a fit say what happened."""

import inspect
import io
import json
import sys
from dataclasses import asdict, fields

import numpy as np
import pytest
import torch

import lemode
from lemode import FieldSurrogate, Surrogate, baselines
from lemode.surrogate import flow_network, progress
from lemode.surrogate.fitters import FITTERS, Gradient, Readout, choose_fitter
from lemode.surrogate.network import IncrementNetwork
from lemode.surrogate.recipe import BUDGETS, FIELD_RECIPE, Recipe, checked_recipe
from lemode.surrogate.run import History, Stopped
from lemode.surrogate.series import Grid

WAVE = np.sin(np.linspace(0, 60, 601))[:, None]


@pytest.mark.parametrize(
    ("cls", "recipe"),
    [(Surrogate, Recipe()), (baselines.LSTM, Recipe()), (baselines.GRU, Recipe()), (FieldSurrogate, FIELD_RECIPE)],
)
def test_defaults_of_a_constructor_are_those_of_its_recipe(cls, recipe):
    signature = inspect.signature(cls.__init__).parameters
    shared = [f.name for f in fields(Recipe) if f.name in signature and f.name != "steps"]
    assert len(shared) >= 9
    for name in shared:
        assert signature[name].default == getattr(recipe, name), name
    assert signature["steps"].default is None  # the budget's
    assert BUDGETS[signature["budget"].default][0] == recipe.steps
    # and so what is made of them
    numbers = {name: p.default for name, p in signature.items() if name in {"budget", *(f.name for f in fields(Recipe))}}
    made = asdict(checked_recipe(("x",), recipe, **numbers))
    assert {k: v for k, v in made.items() if k != "max_time"} == {k: v for k, v in asdict(recipe).items() if k != "max_time"}


def test_get_params_is_written_once():
    for cls in (Surrogate, FieldSurrogate, *(getattr(baselines, name) for name in baselines.__all__)):
        assert cls.get_params is lemode.surrogate.parameters.Parameters.get_params, cls


class TestFitters:
    def test_each_has_the_protocol(self):
        for make in FITTERS.values():
            assert list(inspect.signature(make(None, 5).fit).parameters) == [
                "network", "series", "judge", "recipe", "seed", "verbose", "checkpoint",
            ]  # fmt: skip

    def test_choice(self):
        assert type(choose_fitter("all")) is Gradient
        assert type(choose_fitter("readout")) is Readout
        for train, continuous, message in (("half", False, "train='half': give 'all'"), ("readout", True, "choose one")):
            with pytest.raises(ValueError, match=message):
                choose_fitter(train, continuous)


class TestStopped:
    def test_is_its_text(self):
        history = History(stopped="diverged")
        assert history.stopped is Stopped.DIVERGED
        assert history.stopped == "diverged"
        assert json.loads(json.dumps(asdict(history)))["stopped"] == "diverged"
        assert f"{history.stopped}" == str(history.stopped) == "diverged"

    def test_of_an_older_lemode(self):
        assert History(stopped="max_time=45 s reached").stopped is Stopped.MAX_TIME
        with pytest.raises(ValueError, match="tired"):
            History(stopped="tired")

    def test_survives_a_file(self, tmp_path):
        model = Surrogate(hidden_size=2, steps=2, verbose=0, train="all").fit(WAVE)
        model.save(tmp_path / "m.lem")
        again = Surrogate.load(tmp_path / "m.lem").history_
        assert again == model.history_
        assert again.stopped is Stopped.ALL_DONE


class TestProgress:
    def fit(self, monkeypatch, file, **settings):
        monkeypatch.setattr(sys, "stderr", file)
        Surrogate(**{"train": "all", "hidden_size": 2, "steps": 100, "window": 50, "washout": 5, **settings}).fit(WAVE)
        return file.getvalue()

    def test_a_file_gets_plain_lines(self, monkeypatch):
        said = self.fit(monkeypatch, io.StringIO())
        assert said.startswith("fit: 100 steps, validation ")
        assert said.count("\n") == 1
        assert said[:-1].isprintable()
        monkeypatch.setattr(progress, "SECONDS", -1.0)
        assert self.fit(monkeypatch, io.StringIO()).count("\n") == 2  # one for each validation

    def test_a_terminal_gets_a_bar(self, monkeypatch):
        terminal = io.StringIO()
        terminal.isatty = lambda: True
        assert "100/100" in self.fit(monkeypatch, terminal).rsplit("\r", 1)[-1]

    def test_quiet(self, monkeypatch):
        assert self.fit(monkeypatch, io.StringIO(), verbose=0) == ""


@pytest.mark.parametrize("kind", ["delays", "inputs", "continuous", "field"])
def test_core_input_is_what_the_core_reads(kind):
    if kind == "field":
        network = FieldSurrogate(hidden_size=2, kernel_size=3)._build(8, 0, torch.float64)
    else:
        settings = {"delays": {"delays": 2}, "inputs": {}, "continuous": {"continuous": True}}[kind]
        network = Surrogate(hidden_size=2, train="all", **settings)._build(2, 1 if kind == "inputs" else 0, torch.float64)
    rng = np.random.default_rng(0)
    series = network.series(Grid(rng.normal(size=(3, 10, {"field": 8, "inputs": 3}.get(kind, 2)))))
    seen = []
    network.core.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    if isinstance(network, flow_network.FlowNetwork):
        network.discrete = True  # else it asks for the field, and not for the core
    with torch.no_grad():
        network(series.x, series.e)
    assert torch.equal(network.core_input(series.x, series.e), seen[0])
    assert isinstance(network, IncrementNetwork)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("estimator.Surrogate", "surrogate.Surrogate"),
        ("data.fill", "forecast.fill"),
        ("flow_network.ContinuousNetwork", "flow_network.FlowNetwork"),
        ("continuous.FlowNetwork", "flow_network.FlowNetwork"),
    ],
)
def test_old_names(old, new):
    import importlib

    def get(path):
        module, name = f"lemode.surrogate.{path}".rsplit(".", 1)
        return getattr(importlib.import_module(module), name)

    with pytest.warns(DeprecationWarning, match=f"lemode.surrogate.{old} is now lemode.surrogate.{new};"):
        found = get(old)
    assert found is get(new)


def test_what_a_fit_raises_and_warns_of_is_at_the_top():
    assert issubclass(lemode.FitTimeWarning, lemode.FitWarning)
    assert lemode.FitDivergedError is lemode.surrogate.FitDivergedError
