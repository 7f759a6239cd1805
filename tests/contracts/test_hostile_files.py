"""Files that nobody of lemode wrote are refused in a sentence: no crash, nothing executed, no memory; old ones say what they said."""

import json
import shutil
import subprocess
import sys
import types
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from safetensors import SafetensorError

import lemode
from lemode.surrogate import FitWarning, plain_json, storage

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
for folder in (ROOT / "benchmarks", DATA):
    sys.path.insert(0, str(folder))

import fuzz_files  # noqa: E402
import write as golden  # noqa: E402

FORMATS = range(1, storage.FORMAT_VERSION + 1)


def fitted(checkpoint, **changes):
    return lemode.Surrogate(**{**golden.settings(), **changes}).fit(golden.data(), checkpoint=checkpoint)


class TestFormats:
    @pytest.mark.parametrize("version", FORMATS)
    def test_a_model_of_every_format_says_what_it_said(self, version):
        header, _ = fuzz_files.parts((DATA / f"format-{version}.lem").read_bytes())
        assert header["__metadata__"]["format_version"] == str(version)
        expected = json.loads((DATA / f"format-{version}.json").read_text())
        model = lemode.Surrogate.load(DATA / f"format-{version}.lem")
        assert model.history_.loss == expected["loss"]
        # another processor sums in another order: 1e-16 a step, of values of order one, for eight steps
        np.testing.assert_allclose(model.forecast(golden.data()[0, :30], 8), expected["forecast"], rtol=0, atol=1e-12)

    @pytest.mark.parametrize("version", FORMATS)
    def test_a_fit_goes_on_from_a_checkpoint_of_every_format(self, version, tmp_path):
        expected = json.loads((DATA / f"format-{version}.json").read_text())
        shutil.copy(DATA / f"format-{version}.ckpt", tmp_path / "c")
        if version < 4:
            with pytest.warns(FitWarning, match=r"older lemode, which does not say of which .*weights to start from it is"):
                model = fitted(tmp_path / "c")
        else:
            model = fitted(tmp_path / "c")
        assert model.history_.loss == expected["loss"]
        np.testing.assert_allclose(model.forecast(golden.data()[0, :30], 8), expected["forecast"], rtol=0, atol=1e-12)

    @pytest.mark.filterwarnings("ignore:.*older lemode")
    @pytest.mark.parametrize("version", FORMATS)
    def test_and_not_from_that_of_another_fit(self, version, tmp_path):
        shutil.copy(DATA / f"format-{version}.ckpt", tmp_path / "c")
        with pytest.raises(ValueError, match=r"with other lr; remove the file"):
            fitted(tmp_path / "c", lr=0.5)

    @pytest.mark.parametrize(("suffix", "read"), [("lem", lemode.Surrogate.load), ("ckpt", lambda path: fitted(path))])
    def test_a_newer_one_is_refused_by_name(self, suffix, read, tmp_path):
        header, data = fuzz_files.parts((DATA / f"format-3.{suffix}").read_bytes())
        newer = storage.FORMAT_VERSION + 1
        header["__metadata__"] |= {"format_version": str(newer), "lemode_version": "7.5"}
        path = tmp_path / f"newer.{suffix}"
        path.write_bytes(fuzz_files.joined(header, data))
        with pytest.raises(ValueError, match=f"by lemode 7.5 in format {newer}, this lemode reads up to {newer - 1}: upgrade"):
            read(path)

    @pytest.mark.parametrize("version", FORMATS[3:])
    def test_an_ensemble_of_every_format_says_what_it_said(self, version):
        expected = json.loads((DATA / f"ensemble-{version}.json").read_text())
        found = golden.said(lemode.Ensemble.load(DATA / f"ensemble-{version}.lem"))
        assert found.keys() == expected.keys()
        for name, values in expected.items():  # as above: spreads and bands are of order one as well
            np.testing.assert_allclose(found[name], values, rtol=1e-12, atol=1e-12, err_msg=name)

    def test_every_format_has_a_golden_file(self):
        assert {path.name for path in DATA.glob("format-*")} == {
            f"format-{version}.{suffix}" for version in FORMATS for suffix in ("lem", "ckpt", "json")
        }
        assert {path.name for path in DATA.glob("ensemble-*")} == {
            f"ensemble-{version}.{suffix}" for version in FORMATS[3:] for suffix in ("lem", "json")
        }


def test_mutated_files_are_refused_or_the_same(tmp_path, monkeypatch):
    """Models of every format and a checkpoint, by every mutation; `benchmarks/fuzz_files.py` reads 10,000, and watches what is executed."""
    monkeypatch.setattr(fuzz_files, "FILES", [path for path in fuzz_files.FILES if path.suffix == ".lem" or "4" in path.name])
    monkeypatch.setattr(fuzz_files, "BIG", (10**2, 10**3, 10**4))
    nobody = types.SimpleNamespace(on=False, learning=False, seen=[])
    counts, _, _ = fuzz_files.fuzz(200, 7, tmp_path, nobody)
    # what was read: the larger part is refused, or the mutations are none
    assert sum(found["refused"] for found in counts.values()) > sum(found["the same"] for found in counts.values())


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "m.lem"
    for whole in (content, len(content).to_bytes(8, "little") + content):
        path.write_bytes(whole)
        with pytest.raises(ValueError, match=r"m\.lem: "):
            lemode.Surrogate.load(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=5), inside, max_size=4),
    max_leaves=8,
)
NAMES = sorted(fuzz_files.parts((DATA / "format-3.lem").read_bytes())[0]["__metadata__"])
ENTRIES = sorted(json.loads(fuzz_files.parts((DATA / "format-3.lem").read_bytes())[0]["__metadata__"]["metadata"]))


@given(st.sampled_from(ENTRIES), JSON, st.sampled_from([*NAMES, "more"]), st.none() | JSON)
@settings(max_examples=50, deadline=None)
def test_any_json_in_the_place_of_what_a_model_says_of_itself(tmp_path_factory, entry, value, name, other):
    header, data = fuzz_files.parts((DATA / "format-3.lem").read_bytes())
    metadata = json.loads(header["__metadata__"]["metadata"])
    metadata[entry] = value
    header["__metadata__"]["metadata"] = json.dumps(metadata)
    if other is not None:
        header["__metadata__"][name] = other
    path = tmp_path_factory.mktemp("json") / "m.lem"
    path.write_bytes(fuzz_files.joined(header, data))
    # refused, or a model: anything else would be an error of somebody else's
    assert fuzz_files.read(path, {"digest": None}) in ("refused", "another")


class TestSizes:
    def test_a_header_that_claims_more_than_there_is_allocates_nothing(self, tmp_path, monkeypatch):
        """Of a file that is none of ours eight bytes are read, however long it is."""
        path, read = tmp_path / "m.lem", []
        with open(path, "wb") as f:
            f.truncate(2**40)  # a terabyte, of which the disk holds nothing
        with pytest.raises(ValueError, match="the header would have 0 of 1099511627776 bytes"):
            lemode.Surrogate.load(path)
        path.write_bytes((10**7).to_bytes(8, "little") + b"{}")
        with pytest.raises(ValueError, match="the header would have 10000000 of 10 bytes"):
            lemode.Surrogate.load(path)
        assert not read

    @pytest.mark.parametrize(
        "text",
        ['{"a":[' + "[]," * 4 * 10**6 + "1]}", '{"a":[' + "1e1," * 9 * 10**6 + "1]}"],
    )
    def test_text_that_is_small_and_its_parts_are_not(self, text, monkeypatch):
        monkeypatch.setattr(json, "loads", None)
        with pytest.raises(plain_json.Damaged, match="more memory"):
            plain_json.json_object(text)

    def test_the_history_of_many_steps_is_none_of_these(self):
        text = json.dumps({"names": ["θ"], "loss": [1 / 3] * (5 * 10**5)})
        assert len(text) > plain_json.SMALL
        assert len(plain_json.json_object(text)["loss"]) == 5 * 10**5

    def test_tensors_that_are_many_and_empty(self, tmp_path):
        header, data = fuzz_files.parts((DATA / "format-2.lem").read_bytes())
        empty = {"dtype": "F32", "shape": [0], "data_offsets": [len(data), len(data)]}
        (tmp_path / "m.lem").write_bytes(fuzz_files.joined(header | {f"t{i}": empty for i in range(25_000)}, data))
        with pytest.raises(ValueError, match=r"m\.lem: not a lemode model, or damaged \(250\d\d tensors\)"):
            lemode.Surrogate.load(tmp_path / "m.lem")

    def test_a_history_too_long_for_a_file_says_so(self, tmp_path, monkeypatch):
        """It is the header that is: safetensors reads none beyond 100 MB, and so writes none."""

        def too_long(*_):
            raise SafetensorError("Error while serializing: header too large")

        monkeypatch.setattr(storage, "save", too_long)
        with pytest.raises(OSError, match=r"m\.lem: could not be written .*header too large.*; shorten history_\.loss"):
            storage.write(tmp_path / "m.lem", {}, {})
        assert not list(tmp_path.iterdir())


def test_tensors_of_another_type_are_refused(tmp_path):
    """They would be cast, and weights be whole numbers."""
    for source in (DATA / "format-4.lem", ROOT / "tests" / "golden" / "readout.lem"):
        tensors, metadata = storage.read(source)
        storage.write(tmp_path / "m.lem", tensors | {"increment": tensors["increment"].long()}, metadata)
        with pytest.raises(ValueError, match=r"increment is torch.int64, and the hyper-parameters are those of torch.float64"):
            lemode.Surrogate.load(tmp_path / "m.lem")


class TestCheckpointsThatNobodyWrote:
    @pytest.mark.parametrize(
        "change",
        [
            lambda t, m: m.update(step=10**9),
            lambda t, m: m.update(stage=7),
            lambda t, m: m["groups"][0].update(betas="x"),
            lambda t, m: t.update({"optimizer.0.exp_avg": torch.zeros(3, 5)}),
            lambda t, m: t.update({"best.head.weight": torch.zeros(7, 7)}),
            lambda t, m: t.update(generator=t["generator"][:-8]),
            lambda t, m: t.update(generator=torch.full_like(t["generator"], 255)),
            lambda t, m: m["history"].update(loss=[[]]),
        ],
    )
    def test_are_refused_before_a_step_is_made(self, change, tmp_path):
        path = tmp_path / "c"
        lemode.Surrogate(**golden.settings()).fit(golden.data(), checkpoint=path)
        tensors, metadata = storage.read(path, "lemode checkpoint")
        change(tensors, metadata)
        storage.write(path, tensors, metadata, "lemode checkpoint")
        with pytest.raises(
            ValueError, match=r"c: the contents of this lemode checkpoint do not fit together .*; remove the file"
        ):
            lemode.Surrogate(**golden.settings()).fit(golden.data(), checkpoint=path)


def test_a_checkpoint_whose_phases_say_nothing(tmp_path):
    """Found by the fuzzing: a fit that goes on adds to them."""
    path = tmp_path / "c"
    whole = lemode.Surrogate(**golden.settings()).fit(golden.data(), checkpoint=path)
    tensors, metadata = storage.read(path, "lemode checkpoint")
    metadata["history"]["phases"] = {"one-step": {}}
    storage.write(path, tensors, metadata, "lemode checkpoint")
    again = lemode.Surrogate(**golden.settings()).fit(golden.data(), checkpoint=path)
    assert again.history_.loss == whole.history_.loss


@pytest.mark.study
@pytest.mark.parametrize("command", ["kill_fits.py --kinds all --kills 3", "fuzz_files.py --files 60 --seed 3"])
def test_the_long_versions_run(command):
    """Kills by signal 9 at random moments; files with the audit hooks on."""
    subprocess.run([sys.executable, *f"{ROOT}/benchmarks/{command}".split()], check=True, timeout=120)
