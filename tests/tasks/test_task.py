"""What every task is: parts that fit, a split that is fair and does not change."""

import dataclasses

import numpy as np
import pytest

from lemode.tasks import Part, Task, base


def test_split_keeps_shares_of_every_class_and_every_index_once():
    y = np.repeat(["a", "b", "c"], [100, 40, 10])
    parts = base.split(y, (0.6, 0.2, 0.2))
    assert sorted(np.concatenate(parts)) == list(range(150))
    counts = [[(y[part] == label).sum() for label in "abc"] for part in parts]
    assert counts == [[60, 24, 6], [20, 8, 2], [20, 8, 2]]
    assert all(np.array_equal(a, b) for a, b in zip(parts, base.split(y, (0.6, 0.2, 0.2))))
    assert not np.array_equal(parts[0], base.split(y, (0.6, 0.2, 0.2), seed=1)[0])


def test_split_of_numbers_has_small_and_large_ones_in_every_part():
    y = np.arange(100.0) ** 3
    first, second = base.split(y, (0.8, 0.2))
    assert (len(first), len(second)) == (80, 20)
    assert all(((second >= 10 * k) & (second < 10 * k + 10)).sum() == 2 for k in range(10))


def task(**changes):
    part = Part(np.zeros((3, 5, 2), np.float32), np.zeros(3))
    fields = {"name": "a", "kind": "regression", "train": part, "validation": part, "test": part, "source": "s", "licence": "l"}
    return Task(**{**fields, **changes})


def test_parts_have_to_fit():
    with pytest.raises(ValueError, match="a: test has 3 sequences and 2 targets"):
        task(test=Part(np.zeros((3, 5, 2)), np.zeros(2)))
    with pytest.raises(ValueError, match="kind='ranking': give one of 'classification', 'regression'"):
        task(kind="ranking")
    with pytest.raises(dataclasses.FrozenInstanceError):
        task().name = "b"


def test_shown_in_a_line():
    assert repr(task()) == "Task a: regression, 3/3/3 sequences of 5 steps, 2 features"
    ragged = Part([np.zeros((4, 1)), np.zeros((7, 1))], np.zeros(2))
    assert "sequences of 4 to 7 steps, 1 feature" in repr(task(train=ragged, validation=ragged, test=ragged))


def test_a_damaged_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"a\.bin has the MD5 sum 900150983cd24fb0d6963f7d28e17f72, the data set's is 0"):
        base.check_md5(tmp_path / "a.bin", "0", b"abc")
