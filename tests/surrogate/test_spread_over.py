"""Work is spread by joblib as it is told to, and done one after the other where it is not there."""

import os
import sys
import threading

import pytest

from lemode.surrogate.parallel import spread_over


def where(k):
    return k, os.getpid(), threading.get_ident()


def test_as_parallel_config_says():
    joblib = pytest.importorskip("joblib")
    calls = [(k,) for k in range(4)]
    assert {r[2] for r in spread_over(where, calls, None)} == {threading.get_ident()}
    with joblib.parallel_config("threading", n_jobs=2):
        found = spread_over(where, calls, None)
    assert [r[0] for r in found] == [0, 1, 2, 3]
    assert threading.get_ident() not in {r[2] for r in found}


def test_without_joblib_one_after_the_other_and_no_more(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    assert [r[0] for r in spread_over(where, [(1,), (2,)], None)] == [1, 2]
    assert [r[0] for r in spread_over(where, [(1,), (2,)], 1)] == [1, 2]
    with pytest.raises(ImportError, match=r"n_jobs=2: .*pip install 'lemode\[scale\]'"):
        spread_over(where, [(1,), (2,)], 2)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True])
def test_how_many(n_jobs):
    with pytest.raises(ValueError, match=r"n_jobs=.*give how many"):
        spread_over(where, [(1,)], n_jobs)
