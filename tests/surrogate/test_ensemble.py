"""Ensembles: scikit-learn's manners, files, bands that cover, and what they refuse."""

import copy
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lemode
from lemode import Ensemble, FieldSurrogate, Surrogate, Trajectories
from lemode.cli import main
from lemode.surrogate import storage
from lemode.surrogate.run import History, Stopped
from lemode.surrogate.trust_horizon import TrustRule

pytestmark = pytest.mark.filterwarnings("ignore::lemode.surrogate.FitWarning", "ignore::lemode.surrogate.DataWarning")

SMALL = {"hidden_size": 2, "train": "all", "steps": 5, "window": 30, "washout": 10, "verbose": 0}


def process(n, T, seed):
    """x[k] = 1.5 x[k - 1] - 0.8 x[k - 2] + noise of one, and a second variable that is a tenth of it, seen with an error."""
    rng = np.random.default_rng(seed)
    noise, x = rng.standard_normal((n, T + 50)), np.zeros((n, T + 50))
    for k in range(2, T + 50):
        x[:, k] = 1.5 * x[:, k - 1] - 0.8 * x[:, k - 2] + noise[:, k]
    return np.stack([x, 0.1 * x + 0.2 * rng.standard_normal(x.shape)], -1)[:, 50:]


TRAINING, FRESH, TEST = process(6, 80, 0), process(300, 22, 1), process(400, 22, 2)


@pytest.fixture(scope="module", autouse=True)
def few_windows():
    """They would take longer than a fit of five steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lemode.surrogate.origins.LEAST", 60)
        yield


@pytest.fixture(scope="module")
def fitted(few_windows):
    return Ensemble(3, SMALL, horizon=12, seed=5).fit(TRAINING, calibration=FRESH)


def test_bands_cover_at_every_lead_and_for_every_variable(fitted):
    """However bad the members are, after five steps: 300 and 400 windows, so that a share of 90 % has a standard deviation of 2.3 %."""
    for level in (0.5, 0.9):
        found = fitted.forecast(TEST[:, :10], 12, level=level)
        inside = ((found.lower <= TEST[:, 10:]) & (TEST[:, 10:] <= found.upper)).mean(0)
        sd = np.sqrt(level * (1 - level) * (1 / 300 + 1 / 400))
        assert np.abs(inside - level).max() < 3.5 * sd  # the largest of 24
    judged = fitted.reliability(TEST)
    np.testing.assert_allclose(judged.coverage[1], inside, atol=1e-12)
    np.testing.assert_array_equal(judged.stated, found.trust)
    assert judged.hit_rate > 0.9 - 3.5 * np.sqrt(0.09 * (1 / 300 + 1 / 400))
    assert abs(fitted.reliability_.coverage[1].mean() - 0.9) < 0.03


def test_a_forecast_is_the_mean_of_its_members(fitted):
    found = fitted.forecast(TEST[0, :10], 5, level=0.8)
    each = np.stack([member.forecast(TEST[0, :10], 5) for member in fitted.members_])
    np.testing.assert_allclose(found.members, each, rtol=1e-6)
    np.testing.assert_allclose(found.values, each.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.upper + found.lower, 2 * found.values, atol=1e-12)
    np.testing.assert_array_equal(np.asarray(found), found.values)
    assert isinstance(found.trust, int)
    np.testing.assert_allclose(fitted.predict(TEST[:2]), np.mean([m.predict(TEST[:2]) for m in fitted.members_], 0))
    assert np.isfinite(fitted.score(TEST))
    wider = fitted.forecast(TEST[0, :10], 5, level=0.95)
    assert (wider.lower <= found.lower).all()


def test_members_differ_and_a_seed_is_an_ensemble(fitted):
    again = Ensemble(3, Surrogate(**SMALL, seed=99), horizon=12, seed=5).fit(TRAINING, calibration=FRESH)
    other = Ensemble(3, SMALL, horizon=12, seed=6).fit(TRAINING, calibration=FRESH)
    a, b, c = (model.forecast(TEST[0, :10], 5) for model in (fitted, again, other))
    np.testing.assert_array_equal(a.lower, b.lower)
    every = np.concatenate([a.members, c.members])
    assert len(np.unique(every[:, -1, 0])) == 6  # neighbouring seeds share no member
    assert (a.spread > 0).all()


def test_beyond_the_longest_lead_nothing_is_invented(fitted):
    found = fitted.forecast(TEST[:3, :10], 20)
    assert found.calibrated == 12
    for bound in (found.lower, found.upper):
        assert np.isfinite(bound[:, :12]).all()
        assert np.isnan(bound[:, 12:]).all()
    assert np.isfinite(found.values).all()
    assert found.trust.max() <= 12
    assert fitted.forecast(TEST[0, :10]).values.shape == (12, 2)
    for steps in (1, 5, 12):  # what is said of a time does not depend on how far one looks
        short = fitted.forecast(TEST[:3, :10], steps)
        np.testing.assert_array_equal(short.trust, np.minimum(found.trust, steps))
        np.testing.assert_array_equal(short.lower, found.lower[:, :steps])
        assert short.members.shape == (3, 3, steps, 2)
    with pytest.raises(ValueError, match=r"level=0\.999: needs at least 999 calibration windows, and there are 300"):
        fitted.forecast(TEST[0, :10], 5, level=0.999)


def test_what_is_stated_does_not_depend_on_how_far_one_looks(fitted):
    """Half as far as the members agree, which they do at all twelve leads: five, whether three values are asked for or twenty."""
    model = copy.copy(fitted)
    model.calibration_ = replace(fitted.calibration_, rule=TrustRule(spread=1e9, factor=0.5))
    assert [model.forecast(TEST[0, :10], steps).trust for steps in (1, 3, 5, 8, 12, 20)] == [1, 3, 5, 5, 5, 5]


def test_survives_a_file(fitted, tmp_path):
    fitted.save(tmp_path / "m.lem")
    for cls in (Ensemble, Surrogate):
        again = cls.load(tmp_path / "m.lem")
        a, b = (model.forecast(TEST[:3, :10], 5, level=0.8) for model in (fitted, again))
        for name in ("values", "lower", "upper", "spread", "trust", "members"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert str(again.reliability_) == str(fitted.reliability_)
        assert repr(again.get_params()["surrogate__hidden_size"]) == "2"
        np.testing.assert_array_equal(again.predict(TEST), fitted.predict(TEST))
    with pytest.raises(ValueError, match=r"read it with Ensemble\.load"):
        FieldSurrogate.load(tmp_path / "m.lem")


def _changed(path, change):
    tensors, metadata = storage.read(path)
    change(tensors, metadata)
    storage.write(path, tensors, metadata)


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, metadata: tensors.pop("calibration.scores"),
        lambda tensors, metadata: tensors.pop("1.head.weight"),
        lambda tensors, metadata: tensors.update({"calibration.power": torch.zeros(5)}),
        lambda tensors, metadata: tensors.update({"reliability.valid": torch.zeros(0)}),
        lambda tensors, metadata: tensors.update(
            {"reliability.stated": torch.full_like(tensors["reliability.stated"], torch.nan)}
        ),
        lambda tensors, metadata: tensors.update({"reliability.coverage": torch.zeros(2, 3)}),
        lambda tensors, metadata: tensors.update({"calibration.later": torch.zeros(5, 3, 2)}),
        lambda tensors, metadata: metadata.update(members=[]),
        lambda tensors, metadata: metadata.update(members={}),
        lambda tensors, metadata: metadata["members"][1].update(names=["a", "b"]),
        lambda tensors, metadata: metadata["members"][1].update({"class": "Ensemble"}),
        lambda tensors, metadata: metadata["params"].update(surrogate={"class": "Ensemble", "params": {}}),
        lambda tensors, metadata: metadata["params"].update(surrogate=None),
        lambda tensors, metadata: metadata["params"].update(unknown=1),
        lambda tensors, metadata: metadata.pop("threshold"),
    ],
)
def test_files_that_do_not_fit_together_are_refused_in_a_sentence(fitted, tmp_path, change):
    fitted.save(tmp_path / "m.lem")
    _changed(tmp_path / "m.lem", change)
    with pytest.raises(ValueError, match=r"m\.lem: the contents of this lemode"):
        Ensemble.load(tmp_path / "m.lem")


def test_hyper_parameters_of_the_ensemble_and_of_the_surrogate():
    from sklearn.base import clone
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    model = Ensemble(4, Surrogate(hidden_size=3), horizon=7)
    assert model.get_params()["surrogate__hidden_size"] == 3
    assert "surrogate__hidden_size" not in model.get_params(deep=False)
    twin = clone(model)
    twin.set_params(surrogate__hidden_size=5, n=6)
    assert (twin.n, twin.surrogate.hidden_size, model.surrogate.hidden_size) == (6, 5, 3)
    for bad in ({"surrogate__width_": 1, "n": 9}, {"m": 1, "surrogate__hidden_size": 9}):
        with pytest.raises(ValueError, match="is no hyper-parameter of"):
            twin.set_params(**bad)
        assert (twin.n, twin.surrogate.hidden_size) == (6, 5)
    with pytest.raises(ValueError, match=r"surrogate__hidden_size: the surrogate is None; give surrogate="):
        Ensemble().set_params(surrogate__hidden_size=2)
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    assert repr(Ensemble(4, Surrogate(hidden_size=3))) == "Ensemble(n=4, surrogate=Surrogate(hidden_size=3))"


def test_a_fit_that_fails_leaves_no_trace():
    model = Ensemble(3, SMALL, horizon=12).fit(TRAINING, calibration=FRESH)
    before = model.forecast(TEST[0, :10], 5)
    for X, calibration, sentence in (
        (TRAINING, FRESH[:5], "give 5 free runs"),
        (TRAINING, FRESH[:, :15], "longest series has 15 samples"),
    ):
        with pytest.raises(ValueError, match=sentence):
            model.fit(X, calibration=calibration)
        np.testing.assert_array_equal(model.forecast(TEST[0, :10], 5).lower, before.lower)


def test_who_interrupts_one_member_means_them_all(monkeypatch):
    fits = []

    def fit(self, X, **known):
        fits.append(self)
        self.history_ = History(stopped=Stopped.INTERRUPTED)
        return self

    monkeypatch.setattr(Surrogate, "fit", fit)
    with pytest.raises(KeyboardInterrupt):
        Ensemble(3, SMALL).fit(TRAINING, calibration=FRESH)
    assert len(fits) == 1


def test_what_is_held_out_calibrates():
    """A fifth of the series; of one long series the last fifth of its time, and the members have not seen it."""
    model = Ensemble(3, SMALL, horizon=4).fit(process(20, 30, 3))
    assert len(model.calibration_.scores) == 4 * 17  # origins from 10 to 26
    long = process(1, 200, 4)[0]
    model = Ensemble(3, SMALL, horizon=4).fit(long)
    assert len(model.calibration_.scores) == 200 - 160 - 4 + 1
    early = Ensemble(3, SMALL, horizon=4, seed=0).fit(long[:160], calibration=process(30, 22, 5))
    np.testing.assert_array_equal(model.predict(long), early.predict(long))


def test_bands_follow_one_series(tmp_path):
    """Noise that is three times what it was: the bands of the past hold too little, those that have followed it are wider."""
    long = process(1, 240, 8)[0]
    long[160:] += 6 * np.random.default_rng(0).standard_normal((80, 2))
    model = Ensemble(3, SMALL, horizon=2, seed=0).fit(long[:160])
    now = model.adapted(long, begin=160)
    assert now.calibration_.later.shape == (79, 2, 2)
    narrow, wide = (m.forecast(long, 2) for m in (model, now))
    assert (wide.upper - wide.lower > 1.5 * (narrow.upper - narrow.lower)).all()
    np.testing.assert_array_equal(wide.values, narrow.values)
    assert model.calibration_.later is None
    now.save(tmp_path / "m.lem")
    np.testing.assert_array_equal(Ensemble.load(tmp_path / "m.lem").forecast(long, 2).lower, wide.lower)
    followed = model.reliability(long, 160, rate=0.05)
    assert followed.coverage[1].mean() > 0.75  # those of the past hold 40 %
    assert model.reliability(long, 160).coverage[1].mean() < 0.6
    with pytest.raises(ValueError, match="there are 2 series: bands adapt along one"):
        model.adapted(process(2, 40, 0))
    with pytest.raises(ValueError, match="rate=0: give a positive number"):
        model.reliability(long, 160, rate=0)


def test_frames_are_labelled_and_evaluated():
    index = pd.date_range("2020-01-01", periods=150, freq="D")
    frame = pd.DataFrame(process(1, 150, 0)[0], index, ["v", "w"])
    model = Ensemble(3, SMALL, horizon=5).fit(frame)
    found = model.forecast(frame.iloc[:-5])
    for part in (found.values, found.lower, found.upper, found.spread):
        assert part.index.equals(index[-5:])
        assert list(part.columns) == ["v", "w"]
    assert model.set_output(transform="default").forecast(frame).values.shape == (5, 2)
    judged = lemode.evaluate({"ensemble": model}, frame.to_numpy(), 5, [130, 140])
    assert np.isfinite(judged.total("ensemble"))


def test_in_the_scale_of_each_series():
    size = np.array([1e-3, 1.0, 1e3])[:, None, None]
    model = Ensemble(3, {**SMALL, "scale": "series"}, horizon=3).fit(process(6, 80, 0), calibration=process(30, 80, 1))
    a, b = (model.forecast(s * process(3, 60, 2), 3) for s in (1.0, size))
    np.testing.assert_allclose((b.upper - b.lower) / size, a.upper - a.lower, rtol=1e-6)
    np.testing.assert_array_equal(a.trust, b.trust)


def test_inputs():
    x = np.concatenate([process(40, 30, 0), np.ones((40, 30, 1))], -1)
    x[:, ::3, 2] = 0
    data = Trajectories(np.arange(30.0), x, ("v", "w", "I"))
    model = Ensemble(3, {**SMALL, "inputs": "I"}, horizon=6).fit(data[:10], calibration=data[10:])
    found = model.forecast(data[:2], inputs=np.ones((4, 1)))
    assert found.values.shape == (2, 4, 2)


@pytest.mark.slow
def test_of_fields():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    waves = np.sin(x - 0.1 * np.arange(40)[:, None] + 6 * rng.random((40, 1, 1))) + 0.05 * rng.normal(size=(40, 40, 8))
    model = Ensemble(3, FieldSurrogate(hidden_size=2, kernel_size=3, steps=20, verbose=0), horizon=10).fit(
        waves[:8], calibration=waves[8:24]
    )
    assert abs(model.reliability(waves[24:]).coverage[1].mean() - 0.9) < 0.06


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_joblib_spreads_the_members(fitted, backend):
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config(backend, n_jobs=2):
        spread = Ensemble(3, SMALL, horizon=12, seed=5).fit(TRAINING, calibration=FRESH)
    np.testing.assert_array_equal(spread.forecast(TEST[0, :10]).lower, fitted.forecast(TEST[0, :10]).lower)


def test_several_at_a_time_without_joblib(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"n_jobs=2: .*pip install 'lemode\[scale\]'"):
        Ensemble(3, SMALL, n_jobs=2).fit(TRAINING, calibration=FRESH)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"n": 2}, r"n=2: give an integer, 3 or more: with fewer"),
        ({"surrogate": "readout"}, r"surrogate='readout': give a lemode\.Surrogate"),
        ({"surrogate": lemode.baselines.Persistence()}, "give a lemode.Surrogate"),
        ({"surrogate": Ensemble()}, "give a lemode.Surrogate"),
        ({"surrogate": {"units": 3}}, r"'units' is no hyper-parameter of Surrogate"),
        ({"surrogate": Surrogate(warm_start=True)}, "members of an ensemble begin anew"),
        ({"surrogate": {**SMALL, "angles": "x0"}}, "angles='x0': the mean and the bands of an angle"),
        ({"horizon": 0}, "horizon=0: give a positive integer"),
        ({"threshold": -1}, "threshold=-1: give a positive number"),
        ({"confidence": 90}, "confidence=90: give a share below 1"),
        ({"confidence": 0.999}, "a band of 99.9 % needs at least 999"),
        ({"n_jobs": 0}, "n_jobs=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_that_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Ensemble(**{"n": 3, "surrogate": SMALL, "horizon": 12, **settings}).fit(TRAINING, calibration=FRESH)


def test_what_an_ensemble_does_not_do_is_said(fitted):
    with pytest.raises(ValueError, match=r"dt: .*leads of whole sampling intervals, 1; leave it out, or ask each of members_"):
        fitted.forecast(TEST[0, :10], 5, dt=0.5)
    with pytest.raises(AttributeError, match="no network of its own: each of its members_ has one"):
        _ = fitted.network_
    with pytest.raises(RuntimeError, match=r"this Ensemble is not fitted yet"):
        Ensemble().forecast(TEST[0])
    with pytest.raises(ValueError, match=r"y: a surrogate learns from X alone"):
        Ensemble().fit(TRAINING, TRAINING)


def test_code_of_the_page_runs():
    page = (Path(__file__).parents[2] / "docs" / "uncertainty.md").read_text()
    use, spread = re.findall(r"```python\n(.*?)```", page, re.S)
    scope = {
        "lemode": lemode,
        "joblib": pytest.importorskip("joblib"),
        "training": TRAINING,
        "calibration": FRESH,
        "test": TEST,
    }
    small = re.sub(r"members = .*", "members = SMALL", use).replace("(8,", "(3,").replace("horizon=300", "horizon=12")
    exec(small, scope | {"SMALL": SMALL, "history": TEST[0, :10]})
    exec(spread.replace('"loky", n_jobs=8', '"threading", n_jobs=2'), scope | {"ensemble": Ensemble(3, SMALL, horizon=12)})


def test_commands_take_an_ensemble_or_say_why_not(tmp_path, capsys):
    model, table, saved = tmp_path / "m.lem", tmp_path / "data.csv", [str(tmp_path / "m.lem")]
    frame = pd.DataFrame(process(1, 120, 0)[0], columns=["v", "w"])
    frame.to_csv(table, index=False)
    Ensemble(3, SMALL, horizon=5).fit(frame).save(model)
    assert main(["forecast", *saved, str(table), "--steps", "4", "--out", str(tmp_path / "ahead.csv")]) == 0
    written = pd.read_csv(tmp_path / "ahead.csv")
    ahead = Ensemble.load(model).forecast(frame, 4)
    np.testing.assert_allclose(written["v"], ahead.values["v"], rtol=1e-5)
    np.testing.assert_allclose(written.filter(regex="lower").iloc[:, 0], ahead.lower["v"], rtol=1e-5)
    assert main(["evaluate", *saved, str(table), "--horizon", "3", "--origins", "2"]) == 0
    assert "v" in capsys.readouterr().out
    assert main(["audit", *saved]) == 1
    assert "an Ensemble has no network of its own" in capsys.readouterr().err
