"""Files: nothing is replaced that is no regular file, a link stays a link, what is refused is refused in a sentence, numbers are plain."""

import json
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save

from lemode import FieldSurrogate, Surrogate, baselines
from lemode.cli import main
from lemode.surrogate import storage

T = 0.2 * np.arange(60)
WAVES = np.stack([np.sin(T + p) for p in range(6)])[..., None]
FIELD = np.tile(np.stack([np.sin(np.arange(4) * np.pi / 2 - 0.1 * np.arange(60)[:, None] + p) for p in range(6)]), 2)
SMALL = {"hidden_size": 3, "steps": 4, "window": 20, "washout": 5, "batch_size": 4, "verbose": 0}
GOLDEN = Path(__file__).parents[1] / "golden" / "surrogate.lem"
pytestmark = pytest.mark.filterwarnings("ignore:free runs leave the attractor")
FIELD_SMALL = {"hidden_size": 2, "kernel_size": 3, "steps": 4, "verbose": 0}


@pytest.fixture(scope="module")
def model():
    return Surrogate(train="all", **SMALL).fit(WAVES)


class TestWhereTo:
    def test_a_link_stays_one_and_its_file_is_replaced(self, model, tmp_path):
        there, link, chain = tmp_path / "there", tmp_path / "link.lem", tmp_path / "chain.lem"
        there.mkdir()
        link.symlink_to(there / "m.lem")  # dangling at first
        chain.symlink_to(link.name)
        for _ in range(2):
            model.save(chain)
            assert link.is_symlink()
            assert chain.is_symlink()
            assert os.listdir(there) == ["m.lem"]
            np.testing.assert_array_equal(Surrogate.load(chain).predict(WAVES), model.predict(WAVES))

    @pytest.mark.parametrize(
        ("name", "error", "message"),
        [
            ("no/m.lem", FileNotFoundError, r"no/m\.lem: there is no folder .*no; make it first\.$"),
            ("folder", IsADirectoryError, r"folder: is a folder; give the name of a file in it\.$"),
            ("pipe", OSError, r"pipe: is a device, a pipe or a socket and no regular file; it is not replaced"),
            ("link_to_device", OSError, r"link_to_device: is a device"),
            ("link_to_folder", IsADirectoryError, r"link_to_folder: is a folder"),
            ("link_to_nowhere", FileNotFoundError, r"link_to_nowhere: there is no folder"),
        ],
    )
    def test_refused_in_a_sentence_and_nothing_is_touched(self, model, tmp_path, name, error, message):
        (tmp_path / "folder").mkdir()
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link_to_device").symlink_to("/dev/null")
        (tmp_path / "link_to_folder").symlink_to("folder")
        (tmp_path / "link_to_nowhere").symlink_to("no/such/file")
        before = sorted(os.listdir(tmp_path))
        for write in (model.save, lambda path: Surrogate(train="all", **SMALL).fit(WAVES, checkpoint=path)):
            with pytest.raises(error, match=message) as caught:
                write(tmp_path / name)
            assert ".tmp" not in str(caught.value)
        assert sorted(os.listdir(tmp_path)) == before
        assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
        assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)

    def test_a_folder_that_may_not_be_written(self, model, tmp_path, monkeypatch):
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
        with pytest.raises(PermissionError, match=r"m\.lem: the folder .* may not be written; choose another"):
            model.save(tmp_path / "m.lem")

    def test_the_longest_name_a_folder_holds(self, model, tmp_path):
        model.save(tmp_path / ("m" * 251 + ".lem"))
        assert len(os.listdir(tmp_path)) == 1

    def test_no_devices_are_read(self, tmp_path):
        with pytest.raises(ValueError, match="no regular file, so not a lemode model"):
            Surrogate.load("/dev/null")

    def test_permissions_are_those_of_any_new_file(self, model, tmp_path, monkeypatch):
        """And the mask of the process, which other threads use, is never changed: not even for a moment."""
        for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o000, 0o666)):
            before = os.umask(mask)
            try:
                with monkeypatch.context() as m:
                    m.setattr(os, "umask", None)
                    model.save(tmp_path / "m.lem")
            finally:
                os.umask(before)
            assert stat.S_IMODE((tmp_path / "m.lem").stat().st_mode) == mode

    def test_many_threads_write_one_file_and_it_is_whole(self, model, tmp_path):
        threads = [threading.Thread(target=model.save, args=(tmp_path / "m.lem",)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert os.listdir(tmp_path) == ["m.lem"]
        np.testing.assert_array_equal(Surrogate.load(tmp_path / "m.lem").predict(WAVES), model.predict(WAVES))

    def test_the_shell_says_it_in_one_line(self, model, tmp_path, capsys):
        for path in (tmp_path / "no" / "m.lem", tmp_path):
            assert main(["audit", str(path)]) == 1  # a fault of the data; of the usage it would be 2
            assert len(capsys.readouterr().err.strip().splitlines()) == 1


# every hyper-parameter that is a number, as NumPy gives it
NUMPY = {
    Surrogate: {
        "hidden_size": np.int64(2), "num_layers": np.int32(1), "dt": np.float32(0.5), "delays": np.int64(1), "steps": np.int64(3),
        "batch_size": np.uint8(4), "window": np.int64(20), "washout": np.int64(5), "noise": np.float64(1.0), "horizon": np.int64(4),
        "lr": np.float32(0.01), "seed": np.int64(3), "verbose": np.int64(0), "weights": {"x0": np.float64(2.0)}, "max_time": np.float64(60),
        "scheme": np.str_("explicit"), "stages": np.array(["one-step"]), "warm_start": np.bool_(True), "budget": np.float64(9.0),
    },
    FieldSurrogate: {
        "hidden_size": np.int64(2), "kernel_size": np.int64(3), "recurrent_kernel_size": np.int64(1), "channels": np.int64(2),
        "grid": np.array([4]), "input_noise": np.array([0.2, 0.1]), "noisy": np.float32(0.5), "average": np.float64(0.9),
        "symmetry": np.array(["even", "odd"]), "steps": np.int64(3), "verbose": np.int64(0), "window": np.int64(20), "washout": np.int64(5),
    },
    baselines.LSTM: {"hidden_size": np.int64(2), "num_layers": np.int64(2), "steps": np.int64(3), "verbose": 0, "washout": np.int64(5)},
}  # fmt: skip


def _types(value):
    if isinstance(value, dict):
        return {type(v) for v in value.values()}
    return {type(v) for v in value} if isinstance(value, tuple) else {type(value)}


class TestNumbers:
    @pytest.mark.parametrize("cls", NUMPY)
    def test_of_numpy_train_and_are_saved_as_plain_ones(self, cls, tmp_path):
        from sklearn.base import clone

        model = cls(**NUMPY[cls])
        for name, value in NUMPY[cls].items():
            assert model.get_params()[name] is value  # scikit-learn's clone insists
        assert clone(model).get_params().keys() == model.get_params().keys()
        data = FIELD if cls is FieldSurrogate else WAVES
        model.fit(data, checkpoint=tmp_path / "c").save(tmp_path / "m.lem")
        again = cls.load(tmp_path / "m.lem")
        for name, value in again.get_params().items():
            assert not any(kind.__module__ == "numpy" for kind in _types(value)), name
            if name in NUMPY[cls]:
                assert np.all(value == NUMPY[cls][name])
        np.testing.assert_array_equal(again.predict(data), model.predict(data))
        assert "np." not in repr(model)

    @pytest.mark.parametrize(
        ("make", "settings"),
        [
            (baselines.Autoregression, {"lags": np.int64(3)}),
            (
                baselines.NeuralODE,
                {"hidden_size": np.int64(2), "steps": np.int64(2), "horizon": np.int64(2), "lr": np.float32(0.01)},
            ),
            (
                baselines.EchoStateNetwork,
                {"units": np.int64(5), "washout": np.int64(5), "ridge": np.float32(0.1), "seed": np.int64(1)},
            ),
            (baselines.SINDy, {"degree": np.int64(1), "threshold": np.float32(1e-4)}),
        ],
    )
    def test_of_numpy_train_the_baselines(self, make, settings):
        if make in (baselines.SINDy, baselines.EchoStateNetwork):
            pytest.importorskip("pysindy" if make is baselines.SINDy else "reservoirpy")
        model = make(**settings)
        model.fit(WAVES)
        assert all(model.get_params()[name] is value for name, value in settings.items())

    @pytest.mark.parametrize(
        "name", ["steps", "hidden_size", "num_layers", "batch_size", "window", "horizon", "delays", "washout", "seed"]
    )
    @pytest.mark.parametrize("value", [True, np.bool_(True), 2.0, "2", [2], -1])
    def test_counts_are_integers(self, name, value):
        with pytest.raises(ValueError, match=f"^{name}="):
            Surrogate(**{"train": "all", **SMALL, name: value}).fit(WAVES)

    @pytest.mark.parametrize("name", ["dt", "lr", "noise", "max_time"])
    @pytest.mark.parametrize("value", [True, "1", np.nan, np.inf, -1, [1.0]])
    def test_numbers_are_finite_and_real(self, name, value):
        with pytest.raises(ValueError, match=f"^{name}="):
            Surrogate(**{"train": "all", **SMALL, name: value}).fit(WAVES)


class TestWhatIsLoaded:
    def test_is_what_was_fitted_even_if_parameters_were_changed_since(self, tmp_path):
        model = Surrogate(train="all", **SMALL).fit(WAVES)
        expected = model.predict(WAVES)
        for change in ({"scheme": "strang"}, {"hidden_size": 7}, {"dt": 0.25}, {"continuous": True}):
            model.set_params(**{"hidden_size": 3, "scheme": "imex", "dt": 1.0, "continuous": False, **change})
            model.save(tmp_path / "m.lem")
            again = Surrogate.load(tmp_path / "m.lem")
            np.testing.assert_array_equal(again.predict(WAVES), expected)
            assert again.get_params() == model.get_params()

    def test_a_file_of_an_older_lemode(self, model, tmp_path):
        """Which did not say apart what it was fitted with."""
        model.save(tmp_path / "m.lem")
        tensors, metadata = storage.read(tmp_path / "m.lem")
        del metadata["fitted_with"]
        storage.write(tmp_path / "m.lem", tensors, json.loads(json.dumps(metadata)))
        np.testing.assert_array_equal(Surrogate.load(tmp_path / "m.lem").predict(WAVES), model.predict(WAVES))

    def test_can_be_warm_started(self, model, tmp_path):
        model.save(tmp_path / "m.lem")
        again = Surrogate.load(tmp_path / "m.lem").set_params(warm_start=True, hidden_size=8)
        with pytest.raises(ValueError, match="warm_start: hidden_size=8"):
            again.fit(WAVES)
        assert np.isfinite(again.set_params(hidden_size=3).fit(WAVES).predict(WAVES)).all()

    def test_any_kind_by_surrogate_and_its_own_by_each(self, model, tmp_path):
        field = FieldSurrogate(**{**FIELD_SMALL, "train": "readout"}).fit(FIELD, validation=FIELD[:, :16])
        field.save(tmp_path / "f.lem")
        model.save(tmp_path / "m.lem")
        assert type(Surrogate.load(tmp_path / "f.lem")) is FieldSurrogate
        for cls, path in ((FieldSurrogate, "m.lem"), (baselines.GRU, "m.lem"), (baselines.GRU, "f.lem")):
            with pytest.raises(ValueError, match=r"the model is a (Field)?Surrogate: read it with (Field)?Surrogate\.load"):
                cls.load(tmp_path / path)


def _changed(**entries):
    """Puts them into the metadata; a name with dots is one inside of others."""

    def change(metadata):
        for path, value in entries.items():
            *folders, name = path.split("__")
            where = metadata
            for folder in folders:
                where = where[folder]
            where[name] = value

    return change


def _claims(name, value):
    return _changed(**{f"params__{name}": value, f"fitted_with__{name}": value})


# what a file may say that no model says, and a word of the refusal
FOREIGN = [
    *((_changed(step=value), "step=") for value in (0, -1.0, "a", np.nan, np.inf, True, None)),
    *((_changed(warmup=value), "warmup=") for value in (0, -1, "3", 2.5, True)),
    *((_changed(names=value), "names=") for value in ("x", [1], None, [], {"x": 1}, ["x", "x"])),
    (_changed(input_names=["x0"]), "twice"),
    *((_changed(**{"class": value}), "the model is a") for value in (3, [], None)),
    *((_changed(params=value), "params=") for value in ([], None, "x")),
    *((_changed(history=value), "history=") for value in ([], 3)),
    *(
        (_changed(**{f"history__{name}": "abc"}), name)
        for name in ("loss", "validation", "best_step", "seconds", "stages", "tried")
    ),
    (_changed(history__stopped="abc"), "abc"),
    (_changed(history__validation=[[1]]), "validation"),
    (_changed(core_dt="x"), "core_dt="),
    *((_changed(readout=value), "readout") for value in ({"units": 10000, "delays": 0}, {"units": "3"}, [], {"delays": 1})),
    (_changed(report={"rmse": "x"}), "report="),
    (_changed(table__columns="ab"), "table.columns="),
    (_claims("hidden_size", "3"), "hidden_size="),
    (_claims("hidden_size", 10**4), r"has shape \(12, 1\), and the hyper-parameters are those of \(40000, 1\)"),
    (_claims("delays", 10**8), "has shape"),
    (_claims("num_layers", 10**8), "num_layers=100000000"),
    (_claims("unheard_of", 1), "unheard_of"),
    (dict.clear, "missing"),
]


class TestFilesThatNobodyWrote:
    @pytest.mark.parametrize(("change", "word"), FOREIGN)
    def test_are_refused_in_a_sentence_before_anything_is_allocated(self, model, tmp_path, change, word, monkeypatch):
        path = tmp_path / "m.lem"
        model.save(path)
        tensors, metadata = storage.read(path)
        change(metadata)
        storage.write(path, tensors, metadata)
        monkeypatch.setattr("torch.nn.Module.to_empty", None)
        with pytest.raises(ValueError, match=rf"m\.lem: .*{word}"):
            Surrogate.load(path)

    @pytest.mark.parametrize(
        "text", ["[" * 5000, '{"a":' * 5000, "9" * 5000, "[]", "3", "null", '"a"', "", "{", '{"step": 1, "step": 1}']
    )
    def test_whose_metadata_are_no_object(self, model, tmp_path, text):
        path = tmp_path / "m.lem"
        header = {"format": "lemode model", "format_version": "2", "metadata": text}
        path.write_bytes(save(model.network_.state_dict(), header))
        with pytest.raises(ValueError, match=r"m\.lem: the metadata of this lemode model are damaged \("):
            Surrogate.load(path)

    def test_of_which_one_bit_was_changed(self, model, tmp_path):
        path, generator = tmp_path / "m.lem", np.random.default_rng(0)
        model.save(path)
        whole = path.read_bytes()
        for place in {*range(20), *range(len(whole) - 20, len(whole)), *generator.integers(len(whole), size=300).tolist()}:
            changed = bytearray(whole)
            changed[place] ^= 1 << int(generator.integers(8))
            path.write_bytes(changed)
            with pytest.raises(ValueError, match=r"m\.lem"):
                Surrogate.load(path)

    def test_without_the_checksum_that_belongs_to_their_format(self, model, tmp_path):
        path = tmp_path / "m.lem"
        path.write_bytes(save(model.network_.state_dict(), {"format": "lemode model", "format_version": "3", "metadata": "{}"}))
        with pytest.raises(ValueError, match="the checksum is another"):
            Surrogate.load(path)

    @pytest.mark.parametrize(
        "change",
        [_changed(history=[]), _changed(stage="x"), _changed(groups=3), _changed(best=None), dict.clear],
    )
    def test_checkpoints_neither(self, tmp_path, change):
        path = tmp_path / "c"
        Surrogate(train="all", **SMALL).fit(WAVES, checkpoint=path)
        tensors, metadata = storage.read(path, "lemode checkpoint")
        change(metadata)
        storage.write(path, tensors, metadata, "lemode checkpoint")
        with pytest.raises(
            ValueError, match=r"c: the contents of this lemode checkpoint do not fit together .*; remove the file"
        ):
            Surrogate(train="all", **SMALL).fit(WAVES, checkpoint=path)


def test_what_a_model_knows_survives_a_file(model, tmp_path):
    field = FieldSurrogate(**FIELD_SMALL, grid=(8,), input_noise=(0.2, 0.1), symmetry=("even",)).fit(FIELD)
    known = Surrogate(**SMALL, observe=("x0",), stages=("one-step",), weights={"x0": 2.0}, train="all").fit(WAVES)
    known.report_ = {"rmse": 0.5, "period": float("nan"), "free_rmse": float("inf")}  # as lemode.fit leaves it
    for before in (field, known):
        before.save(tmp_path / "m.lem")
        after = Surrogate.load(tmp_path / "m.lem")
        assert after.get_params() == before.get_params()  # a tuple equals no list
        assert after.fitted_with_ == before.fitted_with_
        assert after.history_ == before.history_
        assert repr(getattr(after, "report_", None)) == repr(getattr(before, "report_", None))
    assert not hasattr(Surrogate.load(GOLDEN), "report_")
