"""Series in .ts files: read entry by entry, or refused with the line."""

import importlib
import sys

import numpy as np
import pytest

from lemode import tasks
from lemode.tasks import ts_files


def written(path, head, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        "\n".join(["# a comment: with colons", "@problemName X", "@timeStamps false", head, "@data", *lines]) + "\n"
    )
    return path


def pair(folder, head, lines, test=None):
    for end, chosen in (("TRAIN", lines), ("TEST", test or lines)):
        written(folder / f"X_{end}.ts", head, *chosen)
    return folder


TEN = [f"{k},1.5,{-k}:0,{k},?:{'a b'[2 * (k % 2)]}" for k in range(10)]


def test_channels_lengths_labels_and_missing_values(tmp_path):
    x, y, labels = ts_files.read_ts(written(tmp_path / "a.ts", "@classLabel true b a c", "1,2e-1,3:4,?,6:a", "7:8:b"))
    assert np.array_equal(x[0], np.array([[1, 4], [0.2, np.nan], [3, 6]], np.float32), equal_nan=True)
    assert x[1].tolist() == [[7, 8]]
    assert y.tolist() == ["a", "b"]
    assert labels == ("b", "a", "c")


def test_numbers_to_predict(tmp_path):
    x, y, labels = ts_files.read_ts(written(tmp_path / "a.ts", "@targetLabel true", "1,2:0.5", "3,4:-1e3"))
    assert y.tolist() == [0.5, -1000]
    assert labels == ()
    assert x[1].tolist() == [[3], [4]]


def test_the_classes_are_numbered_as_the_file_announces_them(tmp_path):
    task = tasks.archive("X", pair(tmp_path, "@classLabel true b a", TEN))
    assert task.classes == ("b", "a")
    assert (len(task.train.x), len(task.validation.x), len(task.test.x)) == (8, 2, 10)
    assert task.test.x.shape == (10, 3, 2)
    assert task.test.y.tolist() == [1, 0] * 5
    assert sorted(np.concatenate([task.train.x[:, 0, 0], task.validation.x[:, 0, 0]])) == list(range(10))
    k = task.train.x[:, 0, 0].astype(int)
    assert np.array_equal(task.train.y, 1 - k % 2)
    pooled = tasks.archive("X", tmp_path, pooled=True)
    assert [len(part.x) for part in (pooled.train, pooled.validation, pooled.test)] == [14, 2, 4]
    values = np.concatenate([part.x[:, 0, 0] for part in (pooled.train, pooled.validation, pooled.test)])
    assert sorted(values) == sorted([*range(10), *range(10)])


def test_unequal_lengths_are_a_list(tmp_path):
    lines = [",".join("1" * (3 + k)) + f":{k}.0" for k in range(5)]
    task = tasks.archive("X", pair(tmp_path / "X", "@targetLabel true", lines).parent)
    assert task.kind == "regression"
    assert [x.shape for x in task.test.x] == [(3 + k, 1) for k in range(5)]


@pytest.mark.parametrize(
    ("head", "line", "words"),
    [
        ("@classLabel true a", "1,x:a", r"line 6: could not convert string to float: 'x'; numbers are between commas"),
        ("@classLabel true a", "1,2:1:a", r"line 6: 2 channels of lengths \[1, 2\]"),
        ("@classLabel true a", "1,2:b", "line 6: the label 'b' is none of a"),
        ("@targetLabel true", "1,2:b", "line 6: could not convert"),
        ("@timeStamps true", "1,2:b", "line 4: series with time stamps are not read"),
        ("1,2:b", "1,2:b", "line 4: data before @data"),
        ("@classLabel true a", "# nothing", "has no series after @data"),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_line(tmp_path, head, line, words):
    with pytest.raises(ValueError, match=words):
        ts_files.read_ts(written(tmp_path / "a.ts", head, line))


def test_files_of_two_sets_are_refused(tmp_path):
    pair(tmp_path, "@classLabel true a b", TEN)
    written(tmp_path / "X_TEST.ts", "@classLabel true c", "1,2,3:1,2,3:c")
    with pytest.raises(ValueError, match="X: its two files have different labels, a, b and c"):
        tasks.archive("X", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no Y_TRAIN\.ts or Y/Y_TRAIN\.ts"):
        tasks.archive("Y", tmp_path)


def test_sets_inside_a_package_are_found_without_importing_it(tmp_path, monkeypatch):
    """Of aeon if it has the set, else of sktime."""
    for package, name in (("aeon", "One"), ("sktime", "X")):
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("raise RuntimeError('imported')")
        (folder / "datasets" / "data" / name).mkdir(parents=True)
    pair(tmp_path / "sktime" / "datasets" / "data" / "X", "@classLabel true b a", TEN)
    monkeypatch.syspath_prepend(tmp_path)
    for package in ("aeon", "sktime"):  # where they are installed
        monkeypatch.delitem(sys.modules, package, raising=False)
    importlib.invalidate_caches()
    assert len(tasks.archive("X").test.x) == 10
    with pytest.raises(ImportError, match=r"Two is in no installed package: pip install --no-deps aeon.*or give root="):
        tasks.archive("Two")
