"""Classifier and regressor of series: what they learn, what scikit-learn expects of them, what they refuse."""

import pickle
import re
import warnings

import numpy as np
import pytest
import torch

import lemode
from lemode import DataWarning, LEMClassifier, LEMRegressor
from lemode.supervised import estimators
from lemode.surrogate import FitDivergedError, FitWarning

RNG = np.random.default_rng(0)
T = np.arange(12)
# slow and fast waves, of any phase
Y = np.arange(40) % 2
X = np.sin(T * np.where(Y == 1, 1.5, 0.4)[:, None] + RNG.uniform(0, 6, (40, 1)))[..., None]
LABELS = np.array(["slow", "fast"])[Y]
RAGGED = [x[: 6 + k % 7] for k, x in enumerate(X)]
SMALL = {"hidden_size": 4, "steps": 3, "verbose": 0}


def classifier(**changes):
    return LEMClassifier(**{**SMALL, **changes})


def regressor(**changes):
    return LEMRegressor(**{**SMALL, **changes})


@pytest.mark.parametrize("cell", ["lem", "lstm", "gru"])
def test_waves_are_told_apart_by_every_core(cell):
    model = classifier(cell=cell, hidden_size=8, steps=100, lr=0.03).fit(X, LABELS)
    assert model.classes_.tolist() == ["fast", "slow"]
    assert model.score(X, LABELS) > 0.9
    p = model.predict_proba(X)
    assert np.allclose(p.sum(1), 1)
    assert np.array_equal(model.classes_[p.argmax(1)], model.predict(X))
    assert model.history_.loss[-1] < 0.5 * np.log(2)


def test_a_frequency_is_read_off_in_its_own_units():
    omega = RNG.uniform(0.3, 1.5, 60)
    x, y = np.sin(T * omega[:, None]), 1000 + 50 * omega
    model = regressor(hidden_size=8, steps=150, lr=0.03).fit(x, y)
    assert model.score(x, y) > 0.9
    assert abs(model.predict(x).mean() - y.mean()) < 5
    two = regressor(steps=2).fit(x, np.stack([y, -y], 1))
    assert two.predict(x).shape == (60, 2)


@pytest.mark.parametrize("readout", ["last", "mean"])
@pytest.mark.parametrize("cell", ["lem", "gru"])
def test_a_ragged_list_is_what_its_series_are_alone(cell, readout):
    """Padding behind the end of a series changes nothing."""
    model = classifier(cell=cell, readout=readout).fit(RAGGED, Y)
    together = model.predict_proba(RAGGED)
    alone = np.concatenate([model.predict_proba(x[None]) for x in RAGGED])
    assert np.abs(together - alone).max() < 1e-6  # float32, a loop of twelve steps


def test_the_last_step_is_that_of_the_series_and_the_mean_is_over_its_steps(monkeypatch):
    """Also of one in a batch of longer ones, against the core's own outputs."""
    for readout in ("last", "mean"):
        model = regressor(readout=readout, dtype="float64", validation_fraction=0).fit(RAGGED, Y)
        network = model.network_
        x = torch.from_numpy(model.scales_.normalise(RAGGED[1]))
        y = network.core(x)[0]
        expected = network.head(y[-1] if readout == "last" else y.mean(0)) * Y.std() + Y.mean()
        assert abs(model.predict(RAGGED)[1] - expected.item()) < 1e-12


@pytest.mark.parametrize("make", [classifier, regressor])
def test_layouts_mean_the_same(make):
    model = make().fit(X, Y)
    wanted = model.predict(X)
    for given in (X[..., 0], list(X), [x[:, 0] for x in X], X.tolist(), torch.from_numpy(X), np.array([*X, None], object)[:-1]):
        assert np.array_equal(model.predict(given), wanted)
    assert np.array_equal(make().fit([x[:, 0].tolist() for x in X], Y.tolist()).predict(X), wanted)


def test_frames_of_pandas():
    pd = pytest.importorskip("pandas")
    wanted = classifier().fit(X, LABELS).predict(X)
    wide, each = pd.DataFrame(X[..., 0]), [pd.DataFrame({"v": x[:, 0]}) for x in X]
    for frames in (wide, each):
        assert np.array_equal(classifier().fit(frames, pd.Series(LABELS)).predict(frames), wanted)
    for labels in (pd.array([1, pd.NA, *Y[2:]], dtype="Int64"), np.array(["a", pd.NA, *LABELS[2:]], object)):
        with pytest.raises(ValueError, match=r"y\[1\] is (<NA>|nan): leave out series without a label"):
            classifier().fit(X, labels)


def test_features_are_learned_in_units_of_their_own():
    scaled = np.concatenate([X, X], -1) * [1e6, 1e-6] + [300, 0]
    plain, other = (classifier(dtype="float64").fit(x, Y).predict_proba(x) for x in (np.concatenate([X, X], -1), scaled))
    assert np.allclose(plain, other, atol=1e-9)
    still = classifier().fit(np.concatenate([X, np.full_like(X, 0.1)], -1), Y)
    assert still.scales_.std[1] == 1


class TestScikitLearn:
    def test_clone_params_and_cross_validation(self):
        sklearn = pytest.importorskip("sklearn")
        from sklearn.base import clone, is_classifier, is_regressor
        from sklearn.model_selection import GridSearchCV, cross_val_score

        model = classifier(hidden_size=8, steps=40, lr=0.05)
        assert clone(model).get_params() == model.get_params()
        assert is_classifier(model)
        assert is_regressor(regressor())
        scores = cross_val_score(model, X, LABELS, cv=2, error_score="raise")
        assert scores.shape == (2,)
        assert scores.mean() > 0.7
        assert cross_val_score(regressor(), RAGGED, Y, cv=2, error_score="raise").shape == (2,)
        proba = cross_val_score(classifier(), X, Y, cv=2, scoring="neg_log_loss", error_score="raise")
        assert np.isfinite(proba).all()
        search = GridSearchCV(classifier(), {"cell": ["lem", "gru"]}, cv=2, error_score="raise").fit(X, Y)
        assert search.best_params_["cell"] in ("lem", "gru")
        assert sklearn.utils.validation._is_fitted(search.best_estimator_)

    def test_parameters_are_kept_as_given(self):
        model = classifier(class_weight={0: 2, 1: 1}, steps=np.int64(3))
        before = dict(model.get_params())
        model.fit(X, Y)
        assert model.get_params() == before
        with pytest.raises(ValueError, match="'size' is no hyper-parameter of LEMClassifier"):
            model.set_params(size=3)
        assert repr(classifier()) == "LEMClassifier(hidden_size=4, steps=3, verbose=0)"


def test_the_seed_decides_everything_and_torch_is_left_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    runs = [classifier(seed=seed, dropout=0.2).fit(X, Y).predict_proba(X) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_a_core_of_ones_own_runs_through_the_same_code():
    def core(features, hidden_size, num_layers):
        return torch.nn.RNN(features, hidden_size, num_layers)

    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, again = (classifier(cell=core).fit(X, Y) for _ in range(2))
    assert isinstance(one.network_.core, torch.nn.RNN)
    assert np.array_equal(one.predict_proba(X), again.predict_proba(X))
    assert torch.equal(torch.get_rng_state(), before)


class TestInit:
    def test_time_scales_up_to_the_length_of_the_series(self):
        long = np.repeat(X, 20, 1)
        model = classifier(init="timescales", hidden_size=64, steps=1, lr=1e-9).fit(long, Y)
        core = model.network_.core
        scales = lemode.analysis.timescales(core, torch.zeros(1, 1)).median
        assert scales.min() > 1.99
        assert scales.max() < 241  # 240 steps, in float32
        assert (scales > 60).sum() > 20  # of 128 drawn log-uniformly on 2 to 240, 29 per cent
        longer = classifier(init="timescales", tau_max=5000, hidden_size=64, steps=1, lr=1e-9).fit(long, Y)
        assert lemode.analysis.timescales(longer.network_.core, torch.zeros(1, 1)).median.max() > 1000

    @pytest.mark.parametrize("cell", ["lstm", "gru"])
    def test_chrono(self, cell):
        core = classifier(init="timescales", tau_max=100, cell=cell, hidden_size=50, steps=1, lr=1e-9).fit(X, Y).network_.core
        bias = (core.bias_ih_l0 + core.bias_hh_l0).detach().reshape(-1, 50)
        forget = bias[1]
        assert forget.min() > -1e-6
        assert forget.max() < np.log(99) + 1e-6
        assert forget.mean() > 2.5  # of log U(1, 99): 3.6
        if cell == "lstm":
            assert torch.allclose(bias[0], -forget, atol=1e-6)
        assert bias[2:].abs().max() < 0.3  # the others as they were, U(-1/sqrt(50), ...) twice


class TestHeldOut:
    def test_the_best_weights_are_kept_and_the_fit_ends_when_there_are_none_better(self):
        noise = RNG.permutation(Y)
        model = classifier(hidden_size=16, steps=1000, lr=0.05, patience=2).fit(X, noise)
        history = model.history_
        assert history.stopped == "no better validation"
        assert len(history.loss) < 1000
        errors = dict(history.validation)
        assert errors[history.best_step] == min(errors.values())
        assert max(errors) == history.best_step + 50

    def test_weights_of_the_best_step(self):
        """What is kept gives the error that was found at that step."""
        model = classifier(hidden_size=16, steps=100, lr=0.1, patience=None)
        model.fit(X[:30], Y[:30], validation=(X[30:], Y[30:]))
        p = model.predict_proba(X[30:])[np.arange(10), Y[30:]]
        assert abs(-np.log(p).mean() - min(e for _, e in model.history_.validation)) < 1e-5  # float32

    def test_classes_are_held_out_alike(self, monkeypatch):
        seen = {}
        prepare = LEMClassifier._prepare
        monkeypatch.setattr(
            LEMClassifier, "_prepare", lambda self, targets: (seen.update(y=targets), prepare(self, targets))[1]
        )
        classifier(validation_fraction=0.25).fit(X, np.arange(40) % 4 == 0)
        assert np.bincount(seen["y"]).tolist() == [22, 8]

    def test_too_few(self):
        with pytest.warns(
            FitWarning, match="2 series are too few to hold out validation_fraction=0.2 of every class"
        ) as caught:
            model = classifier().fit(X[:2], Y[:2])
        assert caught[0].filename == __file__
        assert model.history_.validation == []
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            classifier(validation_fraction=0).fit(X[:2], Y[:2])

    def test_of_scales_nothing_is_learned_from_what_is_held_out(self):
        model = regressor().fit(X, Y, validation=(X + 100, Y))
        assert abs(model.scales_.mean[0]) < 1

    def test_time(self):
        model = classifier(steps=10**6, max_time=0.2).fit(X, Y)
        assert model.history_.stopped in ("max_time reached", "no better validation")
        assert model.history_.validation


class TestClassWeights:
    rare = np.arange(40) < 4

    def weights(self, given):
        return classifier(class_weight=given, validation_fraction=0).fit(X, self.rare)._weights

    def test_values(self):
        assert np.allclose(self.weights("balanced"), [40 / 72, 40 / 8])
        for given in ({True: 3.0}, {True: 30, False: 10}):
            weights = self.weights(given)
            assert abs(weights[1] / weights[0] - 3) < 1e-6
            assert abs(weights[0] * 36 + weights[1] * 4 - 40) < 1e-5  # 1 on average, in float32
        assert self.weights(None).tolist() == [1, 1]

    def test_they_matter(self):
        """All series alike: without weights the probability of a class is its share, with balanced ones a half."""
        x = np.ones((40, 3, 1))
        settings = {"hidden_size": 2, "steps": 200, "lr": 0.05, "validation_fraction": 0}
        found = [
            classifier(class_weight=w, **settings).fit(x, self.rare).predict_proba(x)[:, 1].mean() for w in (None, "balanced")
        ]
        assert abs(found[0] - 0.1) < 0.03  # batches of 32 of the 40
        assert abs(found[1] - 0.5) < 0.1

    def test_refusals(self):
        for given, words in (
            ({2: 1.0}, "class_weight has the label 2: the training series have False, True"),
            ({True: -1}, r"class_weight\[True\]=-1: give a positive number"),
            ("equal", "class_weight='equal': give a dict"),
        ):
            with pytest.raises(ValueError, match=words):
                self.weights(given)


NAN = X.copy()
NAN[3, 5] = np.nan
REFUSED = {
    "missing": (NAN, Y, r"X\[3\] is nan at step 5: series with missing"),
    "missing in a list": ([*RAGGED[:39], np.array([[1.0], [np.inf]])], Y, r"X\[39\] is inf at step 1"),
    "a feature": (np.repeat(NAN, 2, -1), Y, r"X\[3\] is nan at step 5, feature 0"),
    "text": (X.astype(str), Y, r"X is of <U\d+: give real numbers"),
    "complex": (X.astype(complex), Y, "X is of complex128"),
    "one dimension": (X[:, 0, 0], Y, r"X has 1 dimensions, shape \(40,\): give \(n, T, D\), \(n, T\), or a list"),
    "four": (X[None], Y, "X has 4 dimensions"),
    "numbers in a list": ([1.0, 2.0], [0, 1], r"X\[0\] has shape \(\): give"),
    "empty": (np.empty((0, 3, 1)), [], "X has no series"),
    "without steps": ([*RAGGED[:39], np.empty((0, 1))], Y, r"X\[39\] has shape \(0, 1\)"),
    "other features": ([*RAGGED[:39], np.ones((4, 2))], Y, r"X\[39\] has 2 features, X\[0\] has 1"),
    "ragged inside": ([[[1, 2], [3]]] * 40, Y, r"X\[0\] is of object: give real numbers"),
    "too few targets": (X, Y[:-1], "y has 39 entries, X has 40 series"),
    "no targets": (X, None, "y has no entries"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_series_that_cannot_be_read_are_refused_and_the_model_stays_what_it_was(name, make):
    given, y, words = REFUSED[name]
    model = make().fit(X, Y)
    before, network = model.predict(X), model.network_
    with pytest.raises(ValueError, match=words):
        model.fit(given, y)
    assert model.network_ is network
    assert np.array_equal(model.predict(X), before)


def test_targets_that_are_none_are_refused():
    bad = Y.astype(float)
    bad[7] = np.nan
    with pytest.raises(ValueError, match=r"y\[7\] is nan: leave out series without a label"):
        classifier().fit(X, bad)
    with pytest.raises(ValueError, match=r"y\[2\] is None: leave out"):
        classifier().fit(X, [*LABELS[:2], None, *LABELS[3:]])
    with pytest.raises(ValueError, match=r"y\[7\] is nan: leave out series without a finite target"):
        regressor().fit(X, bad)
    with pytest.raises(ValueError, match=r"y is of <U4: give numbers; for labels take LEMClassifier"):
        regressor().fit(X, LABELS)
    with pytest.raises(ValueError, match=r"y has the number 0\.5 among its labels: for numbers take LEMRegressor"):
        classifier().fit(X, Y + 0.5)
    with pytest.raises(ValueError, match="y has a single label, 1"):
        classifier().fit(X, np.ones(40, int))
    with pytest.raises(ValueError, match=r"y has shape \(40, 2\): give one label for each"):
        classifier().fit(X, np.stack([Y, Y], 1))


def test_unknown_labels_are_named():
    with pytest.raises(ValueError, match="y of validation has the label 'medium': the training series have 'fast', 'slow'"):
        classifier().fit(X, LABELS, validation=(X[:2], ["slow", "medium"]))
    model = classifier().fit(X, LABELS)
    with pytest.raises(ValueError, match="y has none of the labels of the fit, 'fast', 'slow': its first is"):
        model.score(X, Y)
    some = LABELS.astype("<U6")
    some[0] = "medium"
    assert model.score(X, some) <= 39 / 40  # an error, as everywhere in scikit-learn


def test_what_a_model_has_not_learned_is_refused():
    with pytest.raises(RuntimeError, match="this LEMClassifier is not fitted yet"):
        classifier().predict(X)
    model = regressor().fit(X, Y)
    with pytest.raises(ValueError, match=r"X\[0\] has 2 features, the model was fitted with 1"):
        model.predict(np.repeat(X, 2, -1))
    with pytest.raises(ValueError, match="y does not vary"):
        model.score(X, np.ones(40))
    with pytest.raises(ValueError, match=r"validation: give a pair \(X, y\)"):
        model.fit(X, Y, validation=X)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": 0}, "hidden_size=0: give a positive integer"),
        ({"cell": "rnn"}, "cell='rnn': choose from 'lem', 'lstm', 'gru', or give a function"),
        ({"init": "zeros"}, "init='zeros': give 'paper' or 'timescales'"),
        ({"readout": "all"}, "readout='all': give 'last' or 'mean'"),
        ({"dropout": 1.0}, r"dropout=1\.0: give a share from 0 to below 1"),
        ({"validation_fraction": -0.1}, r"validation_fraction=-0\.1: give"),
        ({"tau_max": 0}, "tau_max=0: give a positive number, or None"),
        ({"lr": "fast"}, "lr='fast': give a positive number"),
        ({"patience": 0}, "patience=0: give a positive integer, or None"),
        ({"max_time": -1}, "max_time=-1: give a positive number, or None"),
        ({"dtype": "float16"}, "dtype='float16': give 'float32' or 'float64'"),
        ({"seed": None}, "seed=None: give an integer"),
        ({"dt": 3.0}, r"dt=3\.0|dt=3"),
    ],
)
def test_bad_values_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        classifier(**changes).fit(X, Y)


def test_channels_first_is_noticed():
    wide = np.concatenate([X] * 15, -1)  # 15 features, 12 steps
    with pytest.warns(
        DataWarning, match=re.escape("time is the second axis here, (n, T, D). Of arrays (n, D, T), as aeon's")
    ) as caught:
        model = classifier().fit(wide, Y)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(wide)


def test_a_fit_that_diverges_says_so_and_leaves_the_model():
    model = classifier().fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(FitDivergedError, match=r"diverged at step \d+, before a validation: lower lr"):
        model.set_params(lr=1e38, steps=24).fit(X, Y)
    assert np.array_equal(model.predict_proba(X), before)


def test_many_series_are_run_in_parts(monkeypatch):
    model = regressor().fit(RAGGED, Y)
    whole = model.predict(RAGGED)
    monkeypatch.setattr(estimators, "CHUNK", 7)
    assert np.allclose(model.predict(RAGGED), whole, atol=1e-6)


def test_pickled_and_back():
    model = classifier().fit(X, LABELS)
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), model.predict_proba(X))
