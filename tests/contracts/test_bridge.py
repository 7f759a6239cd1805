"""What crosses into the compiled core: right numbers, or one sentence; never memory that is not the caller's."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from lemode import LEM, ConvLEM, kernels
from lemode.kernels import bridge, core
from lemode.ode import MultiscaleODE
from lemode.schemes import get_scheme

pytestmark = pytest.mark.skipif(not core.available(), reason="lemode was installed without its compiled core")

NAMES = ("u", "y0", "z0", "dt", "weight_ih", "weight_hh", "weight_zy", "bias")
L, N, M, D = 5, 3, 2, 4


def eight(dtype=torch.float32, seed=0):
    g = torch.Generator().manual_seed(seed)
    shapes = ((L, N, M), (N, D), (N, D), (L, N), (4 * D, M), (3 * D, D), (D, D), (4 * D,))
    return {name: torch.rand(*shape, generator=g, dtype=dtype) for name, shape in zip(NAMES, shapes, strict=True)}


def run(t, backend="native"):
    ode = MultiscaleODE.from_tensors(t["weight_ih"], t["weight_hh"], t["weight_zy"], t["bias"])
    return kernels.run(ode, get_scheme("imex"), t["u"], t["y0"], t["z0"], t["dt"], backend)


@pytest.mark.parametrize("backend", ["auto", "torch", "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_each_of_the_eight_tensors_is_checked(name, backend):
    """Wrong dtype, one row too few, a dimension too many, none at all: for every tensor, on every backend."""
    for wrong in (lambda x: x.double(), lambda x: x[:-1], lambda x: x[None], lambda x: x[..., :0]):
        t = eight()
        t[name] = wrong(t[name])
        with pytest.raises(ValueError, match=r"give|move"):
            run(t, backend)


@pytest.mark.parametrize("change", ["bias", "weight_hh", "weight_zy", "weight_ih"])
def test_parameters_of_another_dtype_or_shape(change):
    """`o.bias.data = o.bias.data.double()` was off by 0.9."""
    for make in (lambda: LEM(1, 4), lambda: ConvLEM(1, 4, 3), lambda: ConvLEM(1, 4, 3, recurrent_kernel_size=3)):
        for spoil in (lambda x: x.double(), lambda x: x[:-1]):
            rnn = make()
            ode = rnn.cells[0].ode if isinstance(rnn, LEM) else rnn.ode
            parameter = getattr(ode, change)
            parameter.data = spoil(parameter.data)
            u = torch.zeros(3, 2, 1) if isinstance(rnn, LEM) else torch.zeros(3, 2, 1, 6)
            with pytest.raises((ValueError, RuntimeError), match=r"dtype|shape|reads|give|convert"):
                rnn(u)


@pytest.mark.parametrize("part", ["real", "imag"])
@pytest.mark.parametrize("name", NAMES)
def test_lazy_negation_and_strided_views(name, part):
    """The imaginary part of a conjugate is a view with a bit that says 'negate me'; both parts are strided by two."""
    for backend in ("native", "torch"):
        t = eight()
        view = getattr(torch.complex(t[name], t[name]).conj(), part)
        assert part == "real" or view.is_neg()
        expected = run(t | {name: view.clone()}, "reference")
        torch.testing.assert_close(run(t | {name: view}, backend), expected, rtol=1e-5, atol=1e-6)  # float32, five steps


def test_incoming_gradients_with_lazy_negation():
    t = eight(torch.float64)
    t["u"].requires_grad_()
    weight = torch.randn(L, N, D, dtype=torch.cfloat).to(torch.cdouble).conj().imag
    found = [torch.autograd.grad(run(t, b)[0], t["u"], weight)[0] for b in ("native", "reference")]
    torch.testing.assert_close(*found, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_layouts_without_memory_or_density_are_refused_or_handed_on(name):
    t = eight()
    for wrong in (t[name].to_sparse(), torch.empty_like(t[name], device="meta")):
        with pytest.raises((ValueError, RuntimeError, NotImplementedError), match=r"dense|sparse|meta|is on|layout|Sparse"):
            run(t | {name: wrong})


def test_rollout_checks_every_tensor():
    layer = kernels.Layer(*(eight()[k] for k in NAMES[4:]))
    good = {
        "layers": [layer], "readout": torch.rand(M, D), "readout_bias": torch.rand(M), "x0": torch.rand(N, M),
        "state": [(torch.rand(N, D), torch.rand(N, D))], "steps": 4,
    }  # fmt: skip
    kernels.rollout(**good)
    for name, wrong in [
        ("readout_bias", torch.rand(1)), ("readout_bias", torch.rand(M).double()), ("x0", torch.rand(N, M).double()),
        ("layers", [layer._replace(weight_hh=torch.rand(D, D))]), ("layers", [layer._replace(bias=torch.rand(D))]),
        ("layers", [layer._replace(weight_ih=layer.weight_ih.double())]), ("state", [(torch.rand(1, D), torch.rand(N, D))]),
        ("exogenous", torch.rand(4, N, 1)), ("past", torch.rand(1, N, M)), ("whole", True),
    ]:  # fmt: skip
        with pytest.raises((ValueError, RuntimeError), match=r"give|dtype|reads|shape"):
            kernels.rollout(**good | {name: wrong})
    negative = torch.rand(N, M, dtype=torch.cfloat).conj().imag
    torch.testing.assert_close(
        kernels.rollout(**good | {"x0": negative}), kernels.rollout(**good | {"x0": negative}, backend="torch")
    )


def in_a_process(code, **environment):
    """Runs code by itself: what is tested may end the process, or changes it for good."""
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        capture_output=True, text=True, timeout=300, env=os.environ | environment, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_default_device_does_not_reach_the_core():
    done = in_a_process("""
import torch, lemode
rnns = [(lemode.LEM(2, 3), torch.ones(300, 600, 2)), (lemode.ConvLEM(1, 4, 5, recurrent_kernel_size=3), torch.ones(3, 2, 1, 8))]
torch.set_default_device("meta")
for rnn, u in rnns:
    out, _ = rnn(u)
    assert out.device.type == "cpu" and out.isfinite().all(), out.device
    out.sum().backward()
    assert all(p.grad.device.type == "cpu" for p in rnn.parameters())
""")
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("options", [{}, {"recurrent_kernel_size": 3}])
def test_fake_and_meta_tensors_give_shapes(options):
    from torch._subclasses.fake_tensor import FakeTensorMode

    for make, u in ((lambda: LEM(2, 3), (4, 2, 2)), (lambda: ConvLEM(1, 4, 5, **options), (3, 2, 1, 8))):
        expected = make()(torch.zeros(u))[0].shape
        with FakeTensorMode():
            assert make()(torch.zeros(u))[0].shape == expected
        assert make().to("meta")(torch.zeros(u, device="meta"))[0].shape == expected


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # of the checks of shapes, which a trace fixes anyway
@pytest.mark.parametrize(
    "make", [lambda: LEM(2, 3), lambda: LEM(2, 3, scheme="strang"), lambda: ConvLEM(1, 2, 3, recurrent_kernel_size=3)]
)
def test_what_traces_sees_the_recursion(make, tmp_path):
    """torch.jit.trace and make_fx, with and without gradients, saved uninitialised memory as a constant."""
    rnn = make()
    shape = (6, 2, 2) if isinstance(rnn, LEM) else (6, 2, 1, 5)
    u, other = torch.randn(shape), torch.randn(shape)
    with torch.no_grad():
        traced = torch.jit.trace(rnn, (u,), check_trace=False)
        torch.jit.save(traced, tmp_path / "rnn.pt")
        torch.testing.assert_close(torch.jit.load(tmp_path / "rnn.pt")(other)[0], rnn(other)[0])
        graph = make_fx(lambda x: rnn(x)[0])(u)
        torch.testing.assert_close(graph(other), rnn(other)[0])
    torch.testing.assert_close(make_fx(lambda x: rnn(x)[0])(u)(other), rnn(other)[0])


@pytest.mark.parametrize("N", [4, 600])
def test_results_are_the_callers_own(N):
    """From 1 MiB up they come from the pool: in-place changes mean the same at every size."""
    rnn = LEM(2, 16)
    u = torch.randn(60, N, 2)
    with torch.no_grad():
        expected = rnn(u)[0].clone()
        torch.testing.assert_close(rnn(u)[0].mul_(2), 2 * expected)
        torch.testing.assert_close(rnn(u)[0], expected)
    out, _ = rnn(torch.randn(60, N, 2))
    out.add_(1)  # refused where out was a view of several
    with pytest.raises(RuntimeError, match="modified by an inplace"):  # as nn.LSTM: the backward needs the states
        out.sum().backward()


def test_another_instruction_set_between_forward_and_backward():
    """What forward saved is laid out for its vectors; backward computes it again instead of reading it wrongly."""
    best = core.isa()
    t = eight(torch.float64)
    expected = torch.autograd.grad(run(t | {"u": t["u"].requires_grad_()}, "reference")[0].sum(), t["u"])[0]
    for isa in ("baseline", "avx2"):
        ys, _ = run(t)
        if core.select(isa):
            try:
                torch.testing.assert_close(torch.autograd.grad(ys.sum(), t["u"])[0], expected, rtol=1e-12, atol=1e-14)
            finally:
                core.select(best)


def test_saved_of_another_size_is_not_read():
    t = eight()
    ys, zs, saved = bridge.forward(*t.values(), "imex", True)
    with pytest.raises(ValueError, match="saved has shape"):
        bridge.backward(ys, None, *t.values(), ys, zs, saved[:-1], "imex", [True, True, True])


# the fuzz -----------------------------------------------------------------------------------------------------------------

FUZZ = Path(__file__).with_name("fuzz_bridge.py")


@pytest.mark.slow
def test_drawn_calls_are_right_or_refused():
    """200 of the draws of fuzz_bridge.py; `.ci/run` runs 2,000 under the address sanitizer."""
    done = subprocess.run([sys.executable, str(FUZZ), "200"], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def test_float32_and_float64_agree_through_every_backend():
    t = eight(torch.float64)
    exact = run(t, "reference")[0].numpy()
    for backend in ("native", "torch", "reference"):
        low = run({k: v.float() for k, v in t.items()}, backend)[0].numpy()
        assert np.abs(low - exact).max() < 2e-6  # five steps of float32 rounding
