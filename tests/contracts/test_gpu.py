"""The layer on a GPU as torch's own layers are used there; on the CPU `patterns.py` asks for the same."""

import importlib.util

import numpy as np
import pytest
import torch

from lemode import LEM
from lemode.analysis import spectrum_of_lem

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
DEVICE = "cuda"
BACKENDS = [
    "auto",
    pytest.param(
        "triton", marks=pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
    ),
]
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # float32, sums in another order, twenty steps


def layers(backend):
    """The layer on the GPU and its copy on the CPU in float64, and an input of each."""
    there = LEM(3, 16, num_layers=2, backend=backend, dt=0.5, device=DEVICE)
    here = LEM(3, 16, num_layers=2, dt=0.5, dtype=torch.float64)
    here.load_state_dict(there.state_dict())
    u = torch.randn(20, 5, 3)
    return there, here, u.to(DEVICE), u.double()


def agree(there, here):
    for got, expected in zip(there, here, strict=True):
        torch.testing.assert_close(got.cpu().double(), expected, **TOLERANCE)


def gradients(rnn, u):
    return torch.autograd.grad(rnn(u)[0].square().sum(), list(rnn.parameters()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_the_layer_of_the_cpu(backend):
    there, here, u, v = layers(backend)
    agree([there(u)[0].detach(), *gradients(there, u)], [here(v)[0].detach(), *gradients(here, v)])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("backend", BACKENDS)
def test_autocast_does_not_round_the_state(backend, dtype):
    there, here, u, v = layers(backend)
    scaler = torch.amp.GradScaler(DEVICE, enabled=dtype == torch.float16)
    with torch.autocast(DEVICE, dtype):
        out, _ = there(u)
    scaler.scale(out.square().sum()).backward()
    assert out.dtype == torch.float32
    scale = scaler.get_scale() if scaler.is_enabled() else 1.0
    agree([out.detach(), *(p.grad / scale for p in there.parameters())], [here(v)[0].detach(), *gradients(here, v)])


@pytest.mark.parametrize("backend", BACKENDS)
def test_torch_compile_keeps_one_graph(backend):
    there, here, u, v = layers(backend)
    compiled = torch.compile(there, fullgraph=True)
    compiled(u)[0].square().sum().backward()
    agree([p.grad for p in there.parameters()], gradients(here, v))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_cuda_graph_is_the_call_that_it_recorded(backend):
    """Forward and backward, for an input that is written into the recorded one's memory."""
    there, here, u, v = layers(backend)
    recorded = torch.zeros_like(u)
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):  # torch asks for a first call on another stream
        gradients(there, recorded)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = gradients(there, recorded)
    recorded.copy_(u)
    graph.replay()
    agree(found, gradients(here, v))


def test_distributed_data_parallel(tmp_path):
    """One process is enough for its hooks to run."""
    there, here, u, v = layers("auto")
    kind = "nccl" if DEVICE == "cuda" else "gloo"
    torch.distributed.init_process_group(kind, init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        torch.nn.parallel.DistributedDataParallel(there)(u)[0].square().sum().backward()
        agree([p.grad for p in there.parameters()], gradients(here, v))
    finally:
        torch.distributed.destroy_process_group()


def test_lyapunov_exponents_are_those_of_the_cpu():
    """The step and its Jacobian on the GPU, in float64."""
    there, here, u, v = layers("auto")
    found, expected = (spectrum_of_lem(rnn.double(), x[:, 0].double()) for rnn, x in ((there, u), (here, v)))
    np.testing.assert_allclose(found.exponents, expected.exponents, rtol=1e-8, atol=1e-8)  # sums in another order
