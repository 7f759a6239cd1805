"""A fitted estimator and its file: the same answers, and nothing believed that is not so."""

import numpy as np
import pytest
import torch

import lemode
from lemode import LEMClassifier, LEMRegressor
from lemode.supervised import files
from lemode.surrogate import storage

RNG = np.random.default_rng(0)
X = [RNG.standard_normal((int(T), 2)) for T in RNG.integers(4, 9, 24)]
Y = np.arange(24) % 3
SMALL = {"hidden_size": 3, "steps": 2, "verbose": 0}


@pytest.mark.parametrize("cell", ["lem", "lstm", "gru"])
@pytest.mark.parametrize("labels", [Y, Y.astype("U1"), Y > 0, Y.astype(float)], ids=["int", "text", "bool", "float"])
def test_a_classifier_comes_back(tmp_path, cell, labels):
    model = LEMClassifier(cell=cell, num_layers=2, readout="mean", dtype="float64", class_weight="balanced", **SMALL).fit(
        X, labels
    )
    model.save(tmp_path / "a.lem")
    again = LEMClassifier.load(tmp_path / "a.lem")
    assert again.get_params() == model.get_params()
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.classes_.dtype == model.classes_.dtype
    assert np.array_equal(again.predict(X), model.predict(X))
    assert vars(again.history_) == vars(model.history_)
    assert np.array_equal(again.fit(X, labels).predict_proba(X), model.predict_proba(X))  # the same settings, the same fit


@pytest.mark.parametrize("y", [RNG.random(24), RNG.random((24, 2)), RNG.random((24, 1))], ids=["n", "n x 2", "n x 1"])
def test_a_regressor_comes_back(tmp_path, y):
    model = LEMRegressor(dt=0.5, dropout=0.1, tau_max=np.float64(9), init="timescales", **SMALL).fit(X, y)
    model.save(tmp_path / "a.lem")
    again = LEMRegressor.load(tmp_path / "a.lem")
    assert np.array_equal(again.predict(X), model.predict(X))
    assert again.predict(X).shape == y.shape
    assert again.score(X, y) == model.score(X, y)
    assert again.network_.core.dt == 0.5


def test_what_was_fitted_is_written_and_not_what_was_set_later(tmp_path):
    model = LEMRegressor(**SMALL).fit(X, Y)
    before = model.predict(X)
    model.set_params(hidden_size=7, dtype="float64", readout="mean", cell="gru")
    assert np.array_equal(model.predict(X), before)
    model.save(tmp_path / "a.lem")
    again = LEMRegressor.load(tmp_path / "a.lem")
    assert np.array_equal(again.predict(X), before)
    assert again.hidden_size == 7


def test_class_weights_keep_their_labels(tmp_path):
    model = LEMClassifier(class_weight={0: 1.0, 2: 3.0}, **SMALL).fit(X, Y)
    model.save(tmp_path / "a.lem")
    assert LEMClassifier.load(tmp_path / "a.lem").class_weight == {0: 1.0, 2: 3.0}


def test_what_cannot_be_written_is_refused_and_writes_nothing(tmp_path):
    def core(features, hidden_size, num_layers):
        return torch.nn.RNN(features, hidden_size)

    with pytest.raises(TypeError, match="cell=core: a file holds numbers and no code"):
        LEMRegressor(cell=core, **SMALL).fit(X, Y).save(tmp_path / "a.lem")
    dates = np.array(["2026-01-01", "2026-01-02", "2026-01-03"], dtype="datetime64[D]")[Y]
    with pytest.raises(TypeError, match=r"labels of datetime64\[D\] are not written"):
        LEMClassifier(**SMALL).fit(X, dates).save(tmp_path / "a.lem")
    with pytest.raises(RuntimeError, match="not fitted yet"):
        LEMRegressor().save(tmp_path / "a.lem")
    assert list(tmp_path.iterdir()) == []


def test_files_of_others_are_refused(tmp_path):
    LEMRegressor(**SMALL).fit(X, Y).save(tmp_path / "a.lem")
    with pytest.raises(ValueError, match=r"a\.lem: the model is a LEMRegressor: read it with lemode\.LEMRegressor\.load"):
        LEMClassifier.load(tmp_path / "a.lem")
    with pytest.raises(ValueError, match="'lemode sequence model' and not a lemode model"):
        lemode.Surrogate.load(tmp_path / "a.lem")
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        LEMRegressor.load(tmp_path / "b.lem")


def damage(**changes):
    def change(tensors, metadata):
        for name, value in changes.items():
            place, key = (metadata["network"], name) if name in files.SIZES else (metadata, name)
            if value is None:
                del place[key]
            else:
                place[key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        damage(features=None), damage(mean=[1.0]), damage(mean=["a", "b"]), damage(std=[float("nan"), 1.0]), damage(outputs=5),
        damage(hidden_size=10**9), damage(num_layers=10**9), damage(cell="rnn"), damage(readout="first"), damage(dtype="int8"),
        damage(dt=-1.0), damage(params={"colour": "blue"}), damage(own={}), damage(own={"classes": [0, 1], "labels": "<i8"}),
        damage(own={"classes": [0, 1, 2], "labels": "what"}), damage(history={"loss": "much"}),
        lambda tensors, metadata: tensors.pop("head.bias"),
        lambda tensors, metadata: tensors.update({"head.bias": tensors["head.bias"].double()}),
    ],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_damaged(tmp_path, change):
    LEMClassifier(**SMALL).fit(X, Y).save(tmp_path / "a.lem")
    tensors, metadata = storage.read(tmp_path / "a.lem", files.KIND)
    change(tensors, metadata)
    storage.write(tmp_path / "a.lem", tensors, metadata, files.KIND)
    with pytest.raises(ValueError, match=r"a\.lem: the metadata of this lemode sequence model are damaged \("):
        LEMClassifier.load(tmp_path / "a.lem")
