"""A LEM layer beside the plain loop and torch's own recurrent layers, on one CPU thread, float32.

Run ``python benchmarks/layer.py > benchmarks/layer.md``. All contenders run in one process and take turns; a figure is the
median over the rounds, with the least and the greatest. The clock is the CPU time of the thread, which other processes do
not stretch; the two-thread comparison uses wall time, and the least of the rounds for the same reason. The floor of a shape is its
multiplications at the greatest rate of the hardware, a loop of fused multiply-adds in registers measured in the same rounds, plus four
transcendental functions a unit and step at the core's rate; a training step has three times the multiplications of a forward one.
The rate of torch's own matrix product stands beside it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from lemode import LEM, kernels
from lemode.kernels import core

SHAPES = {  # T, B, input features, hidden units
    "A": (1000, 32, 1, 16),
    "B": (1000, 32, 1, 64),
    "C": (784, 128, 1, 128),
    "D": (2000, 50, 2, 128),
    "F": (200, 64, 64, 256),
    "G": (10000, 1, 1, 32),
}
Step = Callable[[], object]


def rounds(contenders: dict[str, Step], count: int, clock: Callable[[], float] = time.thread_time) -> dict[str, list[float]]:
    """Seconds of every contender in every round."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for k in range(count + 1):
        for name, run in contenders.items():
            # what one leaves behind is not the next one's to clear: Python's garbage, and the allocator's list of small pieces
            gc.collect()
            torch.empty(1 << 20)
            start = clock()
            run()
            if k:  # the first round warms up
                taken[name].append(clock() - start)
    return taken


def lstm_cell_loop(cell: nn.LSTMCell, u: torch.Tensor) -> torch.Tensor:
    state, out = None, []
    for x in u:
        state = cell(x, state)
        out.append(state[0])
    return torch.stack(out)


def contenders(u: torch.Tensor, d: int) -> dict[str, tuple[Callable[[], torch.Tensor], nn.Module]]:
    m = u.shape[2]
    rnn = LEM(m, d, backend="native")
    plain = LEM(m, d, backend="reference")
    lstm, gru, cell = nn.LSTM(m, d), nn.GRU(m, d), nn.LSTMCell(m, d)

    def avx2() -> torch.Tensor:
        core.select("avx2")
        return rnn(u)[0]

    def native() -> torch.Tensor:
        core.select(BEST)
        return rnn(u)[0]

    return {
        "LEM": (native, rnn),
        **({"LEM, AVX2": (avx2, rnn)} if BEST == "avx512" else {}),
        "plain loop": (lambda: plain(u)[0], plain),
        "nn.LSTM": (lambda: lstm(u)[0], lstm),
        "nn.GRU": (lambda: gru(u)[0], gru),
        "LSTMCell loop": (lambda: lstm_cell_loop(cell, u), cell),
    }


def forward(run: Callable[[], torch.Tensor]) -> Step:
    def step() -> None:
        with torch.no_grad():
            run()

    return step


def training(run: Callable[[], torch.Tensor], module: nn.Module) -> Step:
    def step() -> None:
        module.zero_grad()
        run().sum().backward()

    return step


def matmul(n: int = 512, repeat: int = 8) -> Step:
    a, b, c = (torch.randn(n, n) for _ in range(3))

    def step() -> None:
        for _ in range(repeat):
            torch.mm(a, b, out=c)

    return step


MULTIPLY_ADDS = 1_000_000


def multiply_adds() -> Step:
    library, total = core.require(), ctypes.c_double()

    def step() -> None:
        library.lemode_multiply_adds(MULTIPLY_ADDS, ctypes.byref(total))

    return step


def transcendentals(count: int = 1 << 12, repeat: int = 100) -> Step:
    """tanh and the logistic function of `count` numbers each, `repeat` times, in the second-level cache at most."""
    library, x, out = core.require(), torch.randn(count), torch.empty(count)

    def step() -> None:
        for _ in range(repeat):
            library.lemode_tanh_f32(x.data_ptr(), out.data_ptr(), count)
            library.lemode_sigmoid_f32(x.data_ptr(), out.data_ptr(), count)

    return step


def cell(seconds: list[float], unit: float = 1e3) -> str:
    return f"{unit * statistics.median(seconds):.3g} ({unit * min(seconds):.3g}-{unit * max(seconds):.3g})"


def layer_table(count: int, which: str) -> None:
    runs: dict[str, object] = {}
    lines: dict[str, list[str]] = {"forward": [], "forward + backward": []}
    speedups, floor = [], []
    for name in which:
        T, B, m, d = SHAPES[name]
        u = torch.randn(T, B, m)
        runs = contenders(u, d)
        for kind in lines:
            steps = {n: forward(f) if kind == "forward" else training(f, module) for n, (f, module) in runs.items()}
            core.select(BEST)
            rates = {"multiply-adds": multiply_adds(), "matmul": matmul(), "transcendentals": transcendentals()}
            times = rounds({**steps, **rates}, count)
            lines[kind].append(f"| {name} ({T}, {B}, {m}, {d}) | " + " | ".join(cell(times[n]) for n in steps) + " |")
            median = {n: statistics.median(t) for n, t in times.items()}
            passes = 1 if kind == "forward" else 3
            rate = core.require().lemode_multiply_adds(1, ctypes.c_double()) * MULTIPLY_ADDS / min(times["multiply-adds"])
            product = 8 * 2 * 512**3 / median["matmul"]
            flop = passes * 2.0 * T * B * 4 * d * (d + m)
            least = flop / rate + 4.0 * T * B * d * median["transcendentals"] / (200 << 12)
            if kind == "forward + backward":
                ratios = [f"{median[n] / median['LEM']:.3g}" for n in steps if n != "LEM"]
                speedups.append(f"| {name} | " + " | ".join(ratios) + " |")
            floor.append(
                f"| {name} | {kind} | {flop / median['LEM'] / 1e9:.0f} | {rate / 1e9:.0f} | {product / 1e9:.0f} "
                f"| {1e3 * least:.3g} | {least / median['LEM']:.0%} |"
            )
    names = list(runs)
    for kind, rows in lines.items():
        print(f"\n## Milliseconds, {kind}\n\n| shape (T, B, n_in, d) | " + " | ".join(names) + " |")
        print("|---" * (len(names) + 1) + "|", *rows, sep="\n")
    print(
        "\n## Forward + backward: times as fast as\n\nHow many times as long as LEM each takes (AVX2: LEM itself, held to AVX2).\n"
    )
    print("| shape | " + " | ".join(names[1:]) + " |\n" + "|---" * len(names) + "|", *speedups, sep="\n")
    print("\n## Against the hardware's limit\n")
    print(
        "| shape | | LEM, GFLOP/s | hardware, GFLOP/s | torch's matrix product, GFLOP/s | floor, ms | share of the limit |\n"
        + "|---" * 7
        + "|",
        *floor,
        sep="\n",
    )


def closed_loop(count: int, steps: int = 20_000) -> None:
    """E: B=1, two observed variables, readout and feedback included; the second and third are random cores, whose head reads x, y and z."""
    core.select(BEST)
    print("\n## E: closed loop (B = 1), microseconds a step\n")
    print("| d | head reads | | kernels.rollout | the same loop in torch | LSTMCell loop |\n|---|---|---|---|---|---|")
    for d, whole, dtype in ((16, False, torch.float32), (100, True, torch.float64), (500, True, torch.float64)):
        print(closed_loop_row(d, whole, dtype, count, steps // d * 16))


def closed_loop_row(d: int, whole: bool, dtype: torch.dtype, count: int, steps: int) -> str:
    rnn, cell_ = LEM(2, d, dtype=dtype), nn.LSTMCell(2, d, dtype=dtype)
    ode, readout = rnn.cells[0].ode, 0.01 * torch.randn(2, 2 + 2 * d if whole else d, dtype=dtype)
    x0, zero = torch.zeros(1, 2, dtype=dtype), torch.zeros(1, d, dtype=dtype)
    layers = [kernels.Layer(ode.weight_ih, ode.weight_hh, ode.weight_zy, ode.bias)]
    few = max(steps // 100, 20)

    def rollout(n: int, backend: str) -> Step:
        def run() -> None:
            with torch.no_grad():
                kernels.rollout(layers, readout, x0[0], x0, [(zero, zero)], n, whole=whole, backend=backend)

        return run

    def lstm() -> None:
        with torch.no_grad():
            x, hidden = x0, None
            for _ in range(few):
                hidden = cell_(x, hidden)
                x = x + hidden[0] @ readout[:, -d:].T

    times = rounds({"core": rollout(steps, "native"), "loop": rollout(few, "torch"), "LSTMCell": lstm}, count)
    loops = " | ".join(cell(times[name], 1e6 / few) for name in ("loop", "LSTMCell"))
    return f"| {d} | {'x, y, z' if whole else 'y'} | {str(dtype)[6:]} | {cell(times['core'], 1e6 / steps)} | {loops} |"


def two_threads(count: int) -> None:
    core.select(BEST)
    T, B, m, d = SHAPES["C"]
    u, rnn = torch.randn(T, B, m), LEM(m, d, backend="native")
    step = training(lambda: rnn(u)[0], rnn)

    def on(threads: int) -> Step:
        def run() -> None:
            torch.set_num_threads(threads)
            step()

        return run

    times = rounds({"1": on(1), "2": on(2)}, 3 * count, time.perf_counter)
    torch.set_num_threads(1)
    print("\n## Two threads, shape C, forward + backward, wall milliseconds\n")
    print(
        f"Load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores: the ratio means something only with an idle core to spare.\n"
    )
    print("| one thread | two threads | ratio of the least |\n|---|---|---|")
    print(f"| {cell(times['1'])} | {cell(times['2'])} | {min(times['1']) / min(times['2']):.2f} |")


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as info:
            return next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shapes", default="".join(SHAPES))
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    BEST = core.isa()
    print("# A LEM layer on a CPU\n")
    print(
        f"{processor()}; instruction set of the core: {BEST}; torch {torch.__version__}; float32; one thread; {args.rounds} rounds;"
    )
    print("median (least-greatest) CPU time. Produced by `benchmarks/layer.py`, which says what is measured.")
    layer_table(args.rounds, args.shapes)
    closed_loop(args.rounds)
    two_threads(args.rounds)
