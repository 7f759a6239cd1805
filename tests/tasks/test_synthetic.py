"""Drawn tasks are what they are defined to be."""

import numpy as np
import pytest

from lemode import tasks
from lemode.tasks import synthetic


@pytest.mark.parametrize("T", [2, 3, 50])
def test_adding_marks_one_number_in_each_half(T):
    task = tasks.adding(T, (40, 5, 6))
    x, y = task.train
    assert x.shape == (40, T, 2)
    assert set(np.unique(x[..., 1])) <= {0, 1}
    assert (x[:, : T // 2, 1].sum(1) == 1).all()
    assert (x[:, T // 2 :, 1].sum(1) == 1).all()
    assert np.allclose(y, (x[..., 0] * x[..., 1]).sum(1))
    assert (len(task.validation.x), len(task.test.x)) == (5, 6)
    if T == 50:  # every place is marked in turn
        assert synthetic.draw_adding(2000, T, np.random.default_rng(0)).x[..., 1].any(0).all()


def test_copy_memory_asks_for_the_word_after_the_signal():
    T, length = 7, 3
    x, y = tasks.copy_memory(T, (50, 5, 5), length=length, symbols=4).train
    assert x.shape == (50, T + 2 * length, 6)
    assert (x.sum(-1) == 1).all()
    tokens = x.argmax(-1)
    assert set(np.unique(tokens[:, :length])) == {1, 2, 3, 4}
    assert (y[:, -length:] == tokens[:, :length]).all()
    assert (y[:, :-length] == 0).all()
    signal = tokens == 5
    assert (signal.sum(1) == 1).all()
    assert (signal.argmax(1) == length + T - 1).all()  # the answer begins at the next step, T after the word
    assert (tokens[:, length : length + T - 1] == 0).all()


@pytest.mark.parametrize("draw", [tasks.adding, tasks.copy_memory])
def test_seeds(draw):
    one, again, other = (draw(20, (9, 5, 5), seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.test.x, again.test.x)
    assert not np.array_equal(one.test.x, other.test.x)
    assert not np.array_equal(one.validation.x, one.test.x)


def test_refusals():
    with pytest.raises(ValueError, match="T=1: the adding problem needs two steps"):
        tasks.adding(1)
    with pytest.raises(ValueError, match=r"n=\(5, 5\): give three numbers of sequences"):
        tasks.adding(10, (5, 5))
    with pytest.raises(ValueError, match="adding, T=10: validation has 0 sequences"):
        tasks.adding(10, (5, 0, 5))
    with pytest.raises(ValueError, match="T=0, length=10, symbols=8: give positive"):
        tasks.copy_memory(0)
    with pytest.raises(ValueError, match=r"T=2\.5: give an integer"):
        tasks.adding(2.5)
