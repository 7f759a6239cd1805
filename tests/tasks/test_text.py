"""Text as tasks: the next symbol, split in order, of files whose sums are known."""

import hashlib

import numpy as np
import pytest

from lemode import tasks
from lemode.tasks import text


def said(task, part, T):
    """The text of a part, from its windows."""
    return "".join(task.classes[k] for k in part.x.ravel())


def test_the_next_character_of_pythons_topics():
    from pydoc_data.topics import topics

    task = tasks.python_topics(T=64)
    whole = "\n".join(topics[name] for name in sorted(topics))
    assert whole.startswith(said(task, task.train, 64))
    assert whole.index(said(task, task.validation, 64)) == int(0.9 * len(whole))
    assert whole.index(said(task, task.test, 64)) == int(0.95 * len(whole))
    for part in (task.train, task.test):
        assert np.array_equal(part.x.ravel()[1:], part.y.ravel()[:-1])
    assert len(task.train.x) * 64 > 0.9 * len(whole) - 66
    assert "Python 3." in task.source


@pytest.fixture
def treebank(tmp_path, monkeypatch):
    lines = {"train": " a dog ran \n the dog \n" * 10, "valid": " a ran \n" * 10, "test": " the the ran a \n" * 10}
    monkeypatch.setattr(text, "PTB", {name: hashlib.md5(value.encode()).hexdigest() for name, value in lines.items()})
    for name, value in lines.items():
        (tmp_path / f"ptb.{name}.txt").write_text(value)
    return tmp_path


def test_treebank_by_characters_and_words(treebank):
    task = tasks.treebank(treebank, T=9)
    assert said(task, task.train, 9)[:18] == "a_dog_ran\nthe_dog\n"
    words = tasks.treebank(treebank, "word", T=7)
    assert words.classes == ("<eos>", "a", "dog", "ran", "the")
    assert [words.classes[k] for k in words.train.x[0]] == ["a", "dog", "ran", "<eos>", "the", "dog", "<eos>"]
    assert words.classes[words.train.y[0, -1]] == "a"


def test_refusals(treebank):
    with pytest.raises(ValueError, match="level='byte': give 'character' or 'word'"):
        tasks.treebank(treebank, "byte")
    with pytest.raises(ValueError, match="T=1000: a part of the text has"):
        tasks.treebank(treebank, T=1000)
    (treebank / "ptb.valid.txt").write_text("a")
    with pytest.raises(ValueError, match=r"ptb\.valid\.txt has the MD5 sum"):
        tasks.treebank(treebank)
