"""What the backend 'triton' runs and what it hands on; and that Triton's compiler takes the kernels, for which it needs no GPU.

What the kernels compute is tested in ``test_fused.py``.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from lemode import LEM, ConvLEM
from lemode.kernels import Layer, explain, rollout
from lemode.kernels.triton import DTYPES, LARGEST, why_not

ALIKE = "float32, bfloat16 or float16 here, all tensors alike"

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
    assert explain(rnn, u) == "native: not 'triton' (Triton runs on a GPU): the compiled core runs it"
    rnn.backend, out = "auto", rnn(u)[0]
    assert torch.equal(out, rnn(u)[0])
    assert why_not([u], 3) == "Triton runs on a GPU"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert why_not([u.double()], 3) == why_not([u, u.bfloat16()], 3) == f"Triton runs {ALIKE}"
    monkeypatch.setattr("lemode.kernels.triton.find_spec", lambda name: True)
    assert not any(why_not([u.to(dtype)], 129) for dtype in DTYPES)
    too_many = f"Triton's indices have 32 bits here: {LARGEST // 8} samples of 3 hidden units are too many"
    assert why_not([u], 3, LARGEST // 8) == too_many


@pytest.mark.parametrize("backend", ["triton", "parallel"])
def test_explain_says_why_the_wish_is_handed_on(backend):
    field = ConvLEM(1, 2, kernel_size=3, recurrent_kernel_size=3, backend=backend)
    assert f"not '{backend}' (recurrent kernels wider than 1 join the points" in explain(field, torch.randn(4, 2, 1, 6))
    layer, zero = Layer(*(p.detach() for p in LEM(1, 2).cells[0].ode.parameters()), dt=0.5), torch.zeros(3, 2)
    head = torch.zeros(1, 2), torch.zeros(1)
    said = explain(rollout, [layer], *head, torch.zeros(3, 1), [(zero, zero)], 2, backend=backend)
    assert f"not '{backend}' (a step reads what the one before it predicted)" in said


def test_one_step_is_no_sequence():
    said = explain(LEM(1, 2, backend="parallel"), torch.randn(1, 2, 1))
    assert said == "native: not 'parallel' (one step is no sequence): the compiled core runs it"


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr("lemode.kernels.triton.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install 'lemode\[triton\]'"):
        LEM(2, 3, backend="triton")(torch.randn(5, 2, 2))
