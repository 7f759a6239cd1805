"""What the pool of large results keeps, and for how long."""

import os
import signal
import threading

import pytest
import torch

from lemode import LEM
from lemode.kernels import core, pool

pytestmark = pytest.mark.skipif(not core.available(), reason="lemode was installed without its compiled core")


@pytest.fixture(autouse=True)
def empty_pool():
    pool.clear()
    yield
    pool.clear()


def test_blocks_without_use_are_freed():
    """Sequences of changing length left up to 871 MiB idle; now a size that does not come back goes."""
    rnn, mib = LEM(4, 64), 1 << 20
    for length in range(400, 1200, 80):
        out, _ = rnn(torch.zeros(length, 64, 4))
        out.sum().backward()
        del out
    used = 1200 * 64 * 64 * 4 * 6  # y, z, two gates and two candidates a row of the longest one
    assert pool.idle_bytes() <= 1.1 * used, f"{pool.idle_bytes() / mib:.0f} MiB"  # and the input's gradient
    rnn, u = LEM(1, 8), torch.zeros(2000, 32, 1)  # a small one, over and over: the large blocks go
    for _ in range(2 * pool.LATELY):
        rnn(u)
    # a few results of 2 MiB, and what the backward pass would read, 8 MiB, or 16 where 8 units are padded to 16 lanes; it was 118
    assert pool.idle_bytes() < (24 if core.isa() == "avx512" else 20) * mib


def test_there_is_one_limit(monkeypatch):
    monkeypatch.setattr(pool, "LIMIT", 4 << 20)
    blocks = [pool.empty((1 << 18,), torch.float64) for _ in range(5)]
    assert pool.idle_bytes() == 0
    del blocks
    assert 2 << 20 <= pool.idle_bytes() <= 4 << 20


def test_clear_frees_what_a_training_step_left():
    rnn = LEM(8, 128)
    out, _ = rnn(torch.zeros(400, 128, 8))
    out.sum().backward()
    del out
    assert pool.idle_bytes() > 0
    pool.clear()
    assert pool.idle_bytes() == 0


def test_a_result_outlives_the_pool():
    x = pool.empty((1 << 19,), torch.float32).fill_(3)
    pool.clear()
    pool.empty((1 << 19,), torch.float32).fill_(5)
    assert bool((x == 3).all())


def test_results_are_not_views():
    x = pool.empty((600, 512), torch.float32)
    assert not x._is_view()
    assert x.untyped_storage().nbytes() == 600 * 512 * 4
    torch.testing.assert_close(torch.load(_saved(x)), x)


def _saved(x):
    import io

    file = io.BytesIO()
    torch.save(x.zero_(), file)
    file.seek(0)
    return file


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # that is what is tested
def test_a_child_forked_while_a_thread_holds_the_lock_runs():
    held, done = threading.Event(), threading.Event()

    def hold():
        with pool._lock:
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # a deadlock would end the child by a signal
        pool.empty((1 << 19,), torch.float32)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    done.set()
    thread.join()
    assert status == 0
