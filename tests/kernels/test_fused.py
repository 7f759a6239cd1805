"""The Triton kernels beside the transcription of the paper's equations and its derivatives, both in float64.

On a GPU they run there; elsewhere by Triton's interpreter, on the CPU. The variable TRITON_INTERPRET=1 has to be set before triton is
imported, and triton takes a gigabyte of disk: so ``make interpreter`` installs it and runs this file, and `make test` skips it.
"""

import copy
import importlib.util
import os

import numpy as np
import pytest
import torch
from transcription import lem_step, load_into, random_parameters

from lemode import LEM, ConvLEM
from lemode.kernels import explain, run, triton

F64 = torch.float64
GPU = torch.cuda.is_available()
DEVICE = "cuda" if GPU else "cpu"
MISSING = importlib.util.find_spec("triton") is None
pytestmark = pytest.mark.skipif(
    MISSING or not (GPU or os.environ.get("TRITON_INTERPRET") == "1"),
    reason="no GPU, or no Triton, and not its interpreter: make interpreter",
)
LEAKS = {"imex": lambda x: x, "semi_implicit": lambda x: x / (1 + x), "exponential": lambda x: 1 - np.exp(-x)}
# one unit and one sample; below, at and above the sizes of a tile; more programs than one
SIZES = [(1, 1), (5, 3), (16, 16), (17, 17), (32, 2), (33, 35)]
TOLERANCE = 5e-6  # sums of up to some hundred products in float32, 6e-8 each, next to numbers of about one


def steps_of(kind, L, N):
    """Step sizes as the layer takes them."""
    return {
        "number": None,
        "shared": 0.01 + 0.9 * torch.rand(L, dtype=F64),
        "per sample": 0.01 + 0.9 * torch.rand(L, N, dtype=F64),
        "one": torch.tensor(0.4, dtype=F64),
    }[kind]


def pair_of_layers(m, d, scheme="imex", **options):
    """Layers with the same weights: Triton's in float32, the plain loop's in float64."""
    plain = LEM(m, d, scheme=scheme, backend="reference", dtype=F64, dt=0.7, **options)
    fused = LEM(m, d, scheme=scheme, backend="triton", dt=0.7, device=DEVICE, **options)
    fused.load_state_dict(plain.state_dict())
    return fused, plain


def close(found, expected, tolerance=TOLERANCE):
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    assert found.shape == expected.shape
    assert float((found - expected).abs().max()) <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("scheme", LEAKS)
@pytest.mark.parametrize(("d", "N"), SIZES)
def test_states_are_those_of_the_transcription(scheme, d, N):
    m, L, dt = 2, 4, 0.7
    rng = np.random.default_rng(d)
    p = {k: v.astype(np.float32).astype(float) for k, v in random_parameters(rng, d, m, d**-0.5).items()}
    rnn = LEM(m, d, scheme=scheme, backend="triton", dt=dt, device=DEVICE)
    load_into(rnn.cells[0].ode, p)
    u, y, z = (rng.uniform(-1, 1, shape).astype(np.float32) for shape in ((L, N, m), (N, d), (N, d)))
    leaves = [torch.from_numpy(a).to(DEVICE) for a in (u, y[None], z[None])]
    assert explain(rnn, leaves[0]) == "triton: asked for"
    out, (_, z_n) = rnn(leaves[0], tuple(leaves[1:]))
    for sample in {0, N // 2, N - 1}:  # the transcription is a loop over entries, in Python
        state = y[sample].astype(float), z[sample].astype(float)
        for n in range(L):
            state = lem_step(p, *state, u[n, sample].astype(float), dt, leak=LEAKS[scheme])
            close(out[n, sample], torch.from_numpy(state[0]))
        close(z_n[0, sample], torch.from_numpy(state[1]))


@pytest.mark.parametrize("kind", ["number", "one", "shared", "per sample"])
@pytest.mark.parametrize("scheme", LEAKS)
def test_gradients_by_all_there_is(scheme, kind):
    """Inputs, initial state, steps and weights, of a loss that weighs all outputs differently."""
    m, L, N, d = 3, 5, 17, 37
    fused, plain = pair_of_layers(m, d, scheme)
    u, y, z, dt = torch.randn(L, N, m), torch.rand(1, N, d), torch.rand(1, N, d), steps_of(kind, L, N)
    found = []
    for rnn, dtype, device in ((fused, torch.float32, DEVICE), (plain, F64, "cpu")):
        leaves = [x.to(device, dtype).requires_grad_() for x in (u, y, z, *([] if dt is None else [dt]))]
        out, (y_n, z_n) = rnn(leaves[0], tuple(leaves[1:3]), dt=None if dt is None else leaves[3])
        weights = torch.linspace(-1, 2, out.numel(), dtype=dtype, device=device).view_as(out)
        loss = (weights * out).sum() + (y_n**2).sum() + z_n.sin().sum()
        found.append([out, z_n, *torch.autograd.grad(loss, [*leaves, *rnn.parameters()])])
    for got, expected in zip(*found, strict=True):
        close(got, expected)


def test_many_tiles():
    fused, plain = pair_of_layers(1, 4 * triton.TILE + 3)
    u = torch.randn(2, 3, 1)
    assert explain(fused, u.to(DEVICE)) == "triton: asked for"
    for rnn, x in ((fused, u.to(DEVICE)), (plain, u.double())):
        rnn(x)[0].square().sum().backward()
    for got, expected in zip(fused.parameters(), plain.parameters(), strict=True):
        close(got.grad, expected.grad)


def test_layers_directions_and_one_gradient_only():
    """The input of a layer is no leaf, and nothing flows through most outputs."""
    fused, plain = pair_of_layers(2, 5, num_layers=2, bidirectional=True)
    u = torch.randn(4, 3, 2)
    for rnn, x in ((fused, u.to(DEVICE)), (plain, u.double())):
        rnn(x)[1][1][0].sum().backward()
    for got, expected in zip(fused.parameters(), plain.parameters(), strict=True):
        close(
            torch.zeros_like(got) if got.grad is None else got.grad,
            torch.zeros_like(expected) if expected.grad is None else expected.grad,
        )


def test_second_derivatives_by_the_plain_loop():
    fused, plain = pair_of_layers(2, 3)
    u, found = torch.randn(4, 2, 2), []
    for rnn, x in ((fused, u.to(DEVICE)), (plain, u.double())):
        x = x.requires_grad_()
        (g,) = torch.autograd.grad(rnn(x)[0].square().sum(), x, create_graph=True)
        found.append(torch.autograd.grad(g.square().sum(), [x, *rnn.parameters()]))
    for got, expected in zip(*found, strict=True):
        close(got, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_state_in_float32(dtype):
    """The network in half precision, beside one in float64 with the same weights: only the output is rounded, and the gradients."""
    plain = LEM(2, 5, dtype=dtype).double()
    half = LEM(2, 5, backend="triton", dtype=dtype, device=DEVICE)
    half.load_state_dict(plain.state_dict())
    plain.backend, u, found = "reference", torch.randn(6, 3, 2).to(dtype), []
    assert explain(half, u.to(DEVICE)) == "triton: asked for"
    for rnn, x in ((half, u.to(DEVICE)), (plain, u.double())):
        out, (y_n, z_n) = rnn(x.requires_grad_())
        out.sum().backward()
        found.append((y_n, z_n, out, x.grad, *(p.grad for p in rnn.parameters())))
    assert [t.dtype for t in found[0]] == [torch.float32] * 2 + [dtype] * (len(found[0]) - 2)
    for i, (got, expected) in enumerate(zip(*found, strict=True)):
        # rounded once, by at most half of eps next to one; what float32 adds is TOLERANCE
        close(got, expected, TOLERANCE + (0 if i < 2 else torch.finfo(dtype).eps / 2))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_tensors_in_half_precision_are_summed_in_float32(dtype):
    """All tensors in half precision: small steps, which it would lose, are not lost, and each gradient has its tensor's type."""
    m, L, N, d, dt = 2, 40, 3, 5, 2**-9
    rounded = LEM(m, d, dtype=dtype).double().cells[0].ode
    data = [torch.rand(shape).to(dtype) for shape in ((L, N, m), (N, d), (N, d))]
    found, scheme = [], LEM(m, d).cells[0].scheme
    for backend, kind, device in (("triton", dtype, DEVICE), ("reference", F64, "cpu")):
        ode = copy.deepcopy(rounded).to(device, kind)
        leaves = [x.to(device, kind, copy=True).requires_grad_() for x in data]
        ys, zs = run(ode, scheme, *leaves, dt, backend)
        grads = torch.autograd.grad((ys[-1] + zs[-1]).sum(), [*leaves, *ode.parameters()])
        found.append([t.detach().cpu() for t in (ys, zs, *grads)])
    assert {t.dtype for t in found[0]} == {dtype}
    for got, expected in zip(*found, strict=True):
        close(got, expected, TOLERANCE + torch.finfo(dtype).eps / 2)  # rounded once


def test_a_field_of_points_is_one_batch():
    """Recurrent kernels one wide join no points: the layer is a dense one at each."""
    plain = ConvLEM(1, 3, kernel_size=3, recurrent_kernel_size=1, backend="reference", dtype=F64)
    fused = ConvLEM(1, 3, kernel_size=3, recurrent_kernel_size=1, backend="triton", device=DEVICE)
    fused.load_state_dict(plain.state_dict())
    u = torch.randn(4, 2, 1, 9)
    assert explain(fused, u.to(DEVICE)) == "triton: asked for"
    for rnn, x in ((fused, u.to(DEVICE)), (plain, u.double())):
        rnn(x)[0].square().sum().backward()
    for got, expected in zip(fused.parameters(), plain.parameters(), strict=True):
        close(got.grad, expected.grad)
