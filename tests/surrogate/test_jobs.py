"""Work is spread by joblib as it is told to, and done one after the other where it is not there."""

import os
import sys
import threading

import numpy as np
import pytest

from lemode import Surrogate
from lemode.surrogate import tsqr
from lemode.surrogate.jobs import spread_over, workers


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


@pytest.mark.slow
def test_workers_of_dask_have_the_solution_of_one(monkeypatch):
    """An exact fit whose series are spread over a LocalCluster of two: 1e-10 of the predictions, as test_tsqr has it."""
    distributed = pytest.importorskip("dask.distributed")
    joblib = pytest.importorskip("joblib")
    wave = np.stack([np.sin(0.1 * np.arange(400) + p) + 0.3 * np.sin(0.23 * np.arange(400) + p) for p in range(6)])[..., None]
    model = Surrogate(hidden_size=10, train="readout", delays=0, verbose=0)
    one = model.fit(wave).predict(wave)
    monkeypatch.setattr(tsqr, "LEAST", 1e6)  # so that the last fits are spread
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config("dask"):
        assert workers() == 2
        assert [r[0] for r in spread_over(where, [(k,) for k in range(4)], None)] == [0, 1, 2, 3]
        two = model.fit(wave).predict(wave)
    np.testing.assert_allclose(two, one, rtol=0, atol=1e-10)
