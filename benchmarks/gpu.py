"""The backends on a GPU, beside nn.LSTM and nn.GRU: milliseconds forward, and forward with backward, and the memory at its highest.

Run ``python benchmarks/gpu.py > benchmarks/gpu.md`` where a GPU is. Without one it runs two small shapes on the CPU, which shows that
the script works and nothing else: no GPU has been lent to this work yet. A competitor that does not run a shape has a dash: Triton
needs a GPU. cuDNN is what torch takes for LSTM and GRU on a GPU.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
import warnings
from collections.abc import Callable

import torch

from lemode import LEM
from lemode.kernels import explain

# T, B, inputs, units: A, C and D of the CPU benchmark, a wide one, EigenWorms, and a very long one
SHAPES = [
    (1000, 32, 1, 16),
    (784, 128, 1, 128),
    (2000, 50, 2, 128),
    (1024, 16, 768, 768),
    (17984, 2, 6, 32),
    (131072, 1, 1, 32),
]
SMALL = [(100, 4, 1, 8), (1000, 1, 1, 8)]
ROUNDS = 5
GRAPH_UP_TO = 2000  # steps: a graph of the plain loop has some thirty nodes a step


def diagonal(m: int, d: int) -> torch.nn.Module:
    """LEM whose recurrent weights are diagonal: Newton's sweeps by 2 x 2 blocks."""
    net = LEM(m, d, backend="parallel")
    with torch.no_grad():
        ode = net.cells[0].ode
        for W in (*ode.weight_hh.chunk(3), ode.weight_zy):
            W.mul_(torch.eye(d))
    return net


def competitors(m: int, d: int, u: torch.Tensor) -> dict[str, Callable[[], torch.nn.Module]]:
    """By name, each made when it is its turn, on the device of u."""
    made: dict[str, Callable[[], torch.nn.Module]] = {
        f"LEM, {backend}": lambda backend=backend: LEM(m, d, backend=backend).to(u.device)
        for backend in ("triton", "parallel", "torch", "reference")
    }
    made["LEM, diagonal, parallel"] = lambda: diagonal(m, d).to(u.device)
    made["LEM, torch.compile"] = lambda: torch.compile(LEM(m, d).to(u.device))  # the sequence stays one operator
    if u.is_cuda and len(u) <= GRAPH_UP_TO:
        made["LEM, reference, CUDA graphs"] = lambda: torch.cuda.make_graphed_callables(
            LEM(m, d, backend="reference").to(u.device), (torch.zeros_like(u),)
        )
    return {**made, "nn.LSTM": lambda: torch.nn.LSTM(m, d).to(u.device), "nn.GRU": lambda: torch.nn.GRU(m, d).to(u.device)}


def measure(net: torch.nn.Module, u: torch.Tensor, backward: bool) -> float:
    """Milliseconds of one call."""
    wait = torch.cuda.synchronize if u.is_cuda else lambda: None
    wait()
    start = time.perf_counter()
    with torch.set_grad_enabled(backward):
        out = net(u)[0]
        if backward:
            out.sum().backward()
    wait()
    return 1e3 * (time.perf_counter() - start)


def main() -> None:
    """Print the table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    if device == "cpu":
        print(
            "**No GPU**: two small shapes on one thread of a CPU, to show that the script works. Nothing here says what a GPU does.\n"
        )
    card = torch.cuda.get_device_name() if device == "cuda" else platform.machine()
    print(f"{card}, torch {torch.__version__}, float32, medians of {ROUNDS}.\n")
    print("| T, B, inputs, units | network | forward, ms | forward and backward, ms | memory, MB |\n|---|---|---|---|---|")
    for T, B, m, d in SHAPES if device == "cuda" else SMALL:
        u = torch.randn(T, B, m, device=device)
        for name, make in competitors(m, d, u).items():
            torch.manual_seed(0)
            net, memory = make(), "-"
            shape = f"{T:,}, {B}, {m}, {d}"
            if name == "LEM, triton" and not explain(net, u[:2]).startswith("triton"):
                print(f"| {shape} | {name} | - | - | - |")
                continue
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                measure(net, u, True)
                times = [statistics.median(measure(net, u, backward) for _ in range(ROUNDS)) for backward in (False, True)]
            if device == "cuda":
                memory = f"{torch.cuda.max_memory_allocated() / 1e6:.0f}"
            note = " (step by step: did not converge)" if any("sweeps" in str(w.message) for w in said) else ""
            print(f"| {shape} | {name}{note} | {times[0]:.2f} | {times[1]:.2f} | {memory} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
