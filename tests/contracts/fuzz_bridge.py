"""Draws calls of the compiled core with wrong shapes, dtypes, layouts and sizes: each is right or refused in a sentence.

    python tests/contracts/fuzz_bridge.py 2000

Meant to be run with LEMODE_CORE naming a build with the address sanitizer, see CONTRIBUTING.md: an index out of bounds then ends it.
"""

import os
import random
import sys

import torch

from lemode import ConvLEM, kernels
from lemode.kernels import bridge, core
from lemode.ode import MultiscaleODE
from lemode.schemes import get_scheme

REFUSALS = (ValueError, TypeError)


def spoiled(t, draw):
    """t, or something that a caller could pass in its place."""
    kind = draw.choice(
        ["keep"] * 30 + ["dtype", "cut", "longer", "extra", "flat", "transposed", "strided", "negative", "expanded", "empty"]
    )
    if kind == "dtype":
        return t.to(draw.choice([torch.float64, torch.float32, torch.float16, torch.int64]))
    if kind == "cut" and t.dim():
        return t.narrow(draw.randrange(t.dim()), 0, 0) if 0 in t.shape else t[: t.shape[0] - 1]
    if kind == "longer" and t.dim():
        axis = draw.randrange(t.dim())
        return torch.cat([t, t], axis)
    if kind == "extra":
        return t.unsqueeze(draw.randrange(t.dim() + 1))
    if kind == "flat":
        return t.flatten()
    if kind == "transposed" and t.dim() > 1:
        return t.transpose(0, 1).contiguous().transpose(0, 1)
    if kind == "strided":
        wide = torch.empty(*t.shape[:-1], 2 * t.shape[-1] + 1, dtype=t.dtype).fill_(float("nan"))[..., 1::2]
        return wide.copy_(t)
    if kind == "negative":
        return torch.complex(t, -t).conj().imag if t.dtype in core.DTYPES else t
    if kind == "expanded" and t.dim():
        return t[:1].expand_as(t) if len(t) else t
    if kind == "empty":
        return t.new_empty(0)
    return t


def sequence(draw):
    L, N, m, d = draw.choice([1, 2, 9]), draw.choice([0, 1, 5, 33]), draw.choice([1, 3, 17]), draw.choice([1, 4, 8, 17])
    dtype = draw.choice([torch.float32, torch.float64])
    dt = draw.choice([0.5, torch.rand(L, 1, dtype=dtype), torch.rand(L, N, dtype=dtype)])
    shapes = ((L, N, m), (N, d), (N, d), (4 * d, m), (3 * d, d), (d, d), (4 * d,))
    u, y0, z0, *weights = (spoiled(torch.rand(s, dtype=dtype) - 0.5, draw) for s in shapes)
    dt = spoiled(dt, draw) if isinstance(dt, torch.Tensor) else dt
    leaves = [
        t.requires_grad_() if t.is_floating_point() and t.is_leaf and draw.random() < 0.5 else t for t in (u, y0, z0, *weights)
    ]
    scheme, memory = draw.choice(backends_leaky()), draw.choice(["full", "low"])
    results = []
    for backend in ("native", "reference"):
        ode = MultiscaleODE.from_tensors(*leaves[3:])
        ys, zs = kernels.run(ode, get_scheme(scheme), *leaves[:3], dt, backend, memory)
        wanted = [t for t in leaves if t.requires_grad]
        grads = torch.autograd.grad(ys.sum() + (zs * zs).sum(), wanted, materialize_grads=True) if wanted else []
        results.append([ys.detach(), zs.detach(), *grads])
    for a, b in zip(*results, strict=True):
        scale = max(1.0, float(b.abs().max())) if b.numel() else 1.0
        worst = float((a - b).abs().max()) if b.numel() else 0.0
        # rounding of at most 9 steps and sums of 300 rows
        assert a.shape == b.shape
        assert worst <= (1e-4 if a.dtype == torch.float32 else 1e-11) * scale, f"off by {worst:.1e}"


def rollout(draw):
    N, D, extra, d, steps = (
        draw.choice([0, 1, 9]),
        draw.choice([1, 3]),
        draw.choice([0, 2]),
        draw.choice([1, 8, 17]),
        draw.choice([0, 1, 5]),
    )
    dtype, layers = draw.choice([torch.float32, torch.float64]), draw.choice([1, 2])

    def numbers(*shape):
        return spoiled(torch.rand(shape, dtype=dtype) - 0.5, draw)

    delays, whole = draw.choice([0, 0, 2]), draw.random() < 0.5
    stack, m = [], D * (1 + delays) + extra
    width = m + 2 * layers * d if whole else d
    for _ in range(layers):
        stack.append(
            kernels.Layer(
                numbers(4 * d, m), numbers(3 * d, d), numbers(d, d), numbers(4 * d), 0.5, draw.choice(backends_leaky())
            )
        )
        m = d
    state = [(numbers(N, d), numbers(N, d)) for _ in range(layers)]
    args = (stack, numbers(D, width) / width**0.5, numbers(D), numbers(N, D), state, steps, draw.random() < 0.5)
    exogenous = numbers(steps, N, extra) if extra else None
    bounds = {"lower": numbers(D) - 0.5, "upper": numbers(D) + 0.5} if draw.random() < 0.5 else {}
    bounds |= {"past": numbers(delays, N, D)} if delays else {}
    a, b = (kernels.rollout(*args, exogenous=exogenous, whole=whole, **bounds, backend=k) for k in ("native", "torch"))
    assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)  # five closed-loop steps in float32


def field(draw):
    T, n, width = draw.choice([1, 4]), draw.choice([1, 3]), draw.choice([1, 3])
    rnn = ConvLEM(2, 3, 3, recurrent_kernel_size=width)
    for name, p in rnn.ode.named_parameters():
        if draw.random() < 0.2:
            setattr(rnn.ode, name, torch.nn.Parameter(spoiled(p.detach(), draw).float()))
    u = spoiled(torch.rand(T, n, 2, 7), draw)
    out, _ = rnn(u)
    rnn.backend = "reference"
    assert torch.allclose(out, rnn(u)[0], rtol=1e-4, atol=1e-5)


def backends_leaky():
    return kernels.backends.LEAKY


def main():
    count = int(sys.argv[1])
    core.require(), bridge
    if core.isa() != os.environ.get("LEMODE_ISA", core.isa()):
        print(f"no {os.environ['LEMODE_ISA']} on this machine")
        return
    right = refused = 0
    for seed in range(count):
        draw = random.Random(seed)
        torch.manual_seed(seed)
        call = draw.choice([sequence, sequence, rollout, field])
        try:
            call(draw)
            right += 1
        except REFUSALS as error:
            if len(str(error)) < 20:
                raise SystemExit(f"seed {seed}: refused without a sentence: {error!r}") from error
            refused += 1
        except Exception as error:
            raise SystemExit(f"seed {seed}, {call.__name__}: {type(error).__name__}: {error}") from error
    print(f"{count} calls on {core.isa()}: {right} right, {refused} refused")
    assert right > count / 20
    assert refused > count / 20


if __name__ == "__main__":
    main()
