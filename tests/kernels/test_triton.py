"""The Triton kernels by Triton's interpreter, on the CPU, beside the plain loop in float64: in a process of their own, which sets the interpreter."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from lemode import LEM
from lemode.kernels import explain
from lemode.kernels.triton import why_not

CHECK = """
import sys
import torch
from lemode import LEM
from lemode.kernels import explain
torch.manual_seed(0)
torch.set_num_threads(1)
for scheme, d, N, per_sample in [("imex", 5, 3, True), ("semi_implicit", 16, 17, False), ("exponential", 1, 1, True), ("imex", 20, 2, None)]:
    m, L = 2, 6
    plain = LEM(m, d, scheme=scheme, backend="reference", dtype=torch.float64, dt=0.7)
    fused = LEM(m, d, scheme=scheme, backend="triton", dt=0.7)
    fused.load_state_dict(plain.state_dict())
    u, y, z = torch.randn(L, N, m), torch.rand(1, N, d), torch.rand(1, N, d)
    dt = None if per_sample is None else 0.01 + 0.9 * torch.rand((L, N) if per_sample else (L,))
    found = []
    for rnn, dtype in ((fused, torch.float32), (plain, torch.float64)):
        leaves = [x.to(dtype).requires_grad_() for x in (u, y, z, *([] if dt is None else [dt]))]
        out, (y_n, z_n) = rnn(leaves[0], tuple(leaves[1:3]), dt=None if dt is None else leaves[3])
        weights = torch.linspace(-1, 2, out.numel()).to(dtype).view_as(out)
        loss = (weights * out).sum() + (y_n**2).sum() + z_n.sin().sum()
        found.append([out, z_n, *torch.autograd.grad(loss, [*leaves, *rnn.parameters()])])
    assert explain(fused, u) == "triton: asked for", explain(fused, u)
    for a, b in zip(*found):
        error = float((a.detach().double() - b.detach()).abs().max()) / max(1.0, float(b.detach().abs().max()))
        # sums of up to 100 products in float32, 6e-8 each
        assert error < 5e-6, (scheme, d, N, error)
x = torch.randn(3, 2, 2, requires_grad=True)
rnn = LEM(2, 3, backend="triton")
(g,) = torch.autograd.grad(rnn(x)[0].square().sum(), x, create_graph=True)
assert torch.autograd.grad(g.square().sum(), x)[0].abs().max() > 0
half = LEM(2, 3, backend="triton", dtype=torch.bfloat16)
out, (y_n, _) = half(torch.randn(4, 2, 2, dtype=torch.bfloat16))
assert out.dtype == torch.bfloat16 and y_n.dtype == torch.float32
print("agrees")
"""


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install 'lemode[triton]'")
def test_the_kernels_agree_with_the_plain_loop_in_float64():
    env = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", CHECK], env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.strip().endswith("agrees"), done.stderr


def test_what_triton_does_not_run_is_handed_on(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    rnn, u = LEM(2, 3, backend="triton"), torch.randn(5, 2, 2)
    assert explain(rnn, u).startswith("native")
    rnn.backend, out = "auto", rnn(u)[0]
    assert torch.equal(out, rnn(u)[0])
    assert why_not([u], 3) == "Triton runs on a GPU"
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert why_not([u.double()], 3) == "Triton runs float32 here"
    assert why_not([u], 129) == "Triton runs up to 128 hidden units here"


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr("lemode.kernels.triton.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install 'lemode\[triton\]'"):
        LEM(2, 3, backend="triton")(torch.randn(5, 2, 2))
