"""What the backend 'triton' runs and what it hands on; and that Triton's compiler takes the kernels, for which it needs no GPU.

What the kernels compute is tested in ``test_fused.py``.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from lemode import LEM
from lemode.kernels import explain
from lemode.kernels.triton import LARGEST, why_not

# for an H100, down to its machine code; not in the interpreter, which reads Python that the compiler does not
COMPILE = """
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from lemode.kernels import _fused, triton
for D in (16, triton.TILE):
    for kernel in (_fused.forward, _fused.backward):
        fixed = {"SCHEME": 2, "D": D, "B": triton.ROWS}
        numbers = ("L", "N", "d", "dt_n", "dt_b")
        kinds = {n: "constexpr" if n in fixed else "i32" if n in numbers else "*fp32" for n in kernel.arg_names}
        source = ASTSource(kernel, kinds, {(kernel.arg_names.index(n),): value for n, value in fixed.items()})
        made = compile(source, target=GPUTarget("cuda", 90, 32))
        assert made.asm["cubin"]
        assert made.metadata.shared <= 48 * 1024, made.metadata.shared  # what every card has
print("compiled")
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: make interpreter")
def test_the_kernels_compile_without_a_gpu(tmp_path):
    env = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | {
        "TRITON_CACHE_DIR": str(tmp_path)
    }
    done = subprocess.run([sys.executable, "-c", COMPILE], env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip() == "compiled", done.stderr


def test_what_triton_does_not_run_is_handed_on(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    rnn, u = LEM(2, 3, backend="triton"), torch.randn(5, 2, 2)
    assert explain(rnn, u).startswith("native")
    rnn.backend, out = "auto", rnn(u)[0]
    assert torch.equal(out, rnn(u)[0])
    assert why_not([u], 3) == "Triton runs on a GPU"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert why_not([u.double()], 3) == "Triton runs float32 here"
    monkeypatch.setattr("lemode.kernels.triton.find_spec", lambda name: True)
    assert not why_not([u], 129)
    too_many = f"Triton's indices have 32 bits here: {LARGEST // 8} samples of 3 hidden units are too many"
    assert why_not([u], 3, LARGEST // 8) == too_many


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr("lemode.kernels.triton.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install 'lemode\[triton\]'"):
        LEM(2, 3, backend="triton")(torch.randn(5, 2, 2))
