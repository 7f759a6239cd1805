"""Several processes, and data larger than memory: what is gained, what travels, how much memory it takes.

    python benchmarks/scale.py exact train talk stream > benchmarks/scale.md

Each part takes some minutes and wants the machine for itself; with --log FILE what was measured is kept, and not measured again.
`exact`: the rows of a readout to one triangle, by one process, by two of gloo, and by two jobs of joblib. `train`: gradient steps by one
and two processes. `talk`: what gloo takes for messages between two processes. `stream`: the peak memory of a process that fits to 1, 5
and 20 GB on disk; they are written to --folder, which needs the room.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

PARTS = ["exact", "train", "talk", "stream"]
UNITS, SERIES, SAMPLES = 500, 40, 25_001  # a million rows
HEADS = [(0.0, 1e-14), (0.0, 1e-6)]


def processor():
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return f"{names[0]}, {len(names)} cores" if names else "unknown processor"


def spawn(part, size, *arguments):
    """The same part of this script in so many processes; what the first one prints, as JSON."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    shared = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(size),
    }
    command = [sys.executable, __file__, "--one", part, *map(str, arguments)]
    started = [
        subprocess.Popen(command, env={**shared, "RANK": str(r)}, stdout=subprocess.PIPE if r == 0 else subprocess.DEVNULL, text=True)
        for r in range(size)
    ]  # fmt: skip
    out = started[0].communicate()[0]
    if any(process.wait() for process in started):
        raise SystemExit(f"{part} over {size} processes has failed")
    return json.loads(out.splitlines()[-1])


# -- in a process -------------------------------------------------------------------------------------------------------------------


def regression(jobs):
    """A million rows of Lorenz63 through 500 units; seconds of the triangle, and of its solutions."""
    import torch
    from threadpoolctl import threadpool_limits

    import lemode
    from lemode.surrogate.draws import Draw, draw
    from lemode.surrogate.processes import Processes
    from lemode.surrogate.readout_network import ReadoutNetwork
    from lemode.surrogate.regression import Regression
    from lemode.surrogate.series import Series

    with Processes() as group, threadpool_limits(1, "blas"):
        x = lemode.systems.Lorenz63().trajectories(SERIES, 0.01 * np.arange(SAMPLES), seed=0).x
        x = torch.from_numpy(x + 1e-3 * np.random.default_rng(0).standard_normal(x.shape)).transpose(0, 1)
        network = ReadoutNetwork(lemode.LEM(3, UNITS, dtype=torch.float64), 3)
        draw(network.core, Draw(), torch.Generator().manual_seed(0))
        network.set_scales(x)
        series, known = Series(network.normalise(x)), None
        group.sum(0.0)  # all begin together
        begin, core = time.perf_counter(), time.process_time()
        if jobs > 1:
            import joblib

            with joblib.parallel_config("loky", n_jobs=jobs):
                problem = Regression(network, series, known, torch.Generator().manual_seed(0))
        else:
            problem = Regression(network, series, known, torch.Generator().manual_seed(0))
        rows, core = time.perf_counter(), busiest(group, time.process_time() - core)
        heads = problem.heads(HEADS)
        solved = time.perf_counter()
        found = {
            "rows": rows - begin,
            "core": core,
            "solve": solved - rows,
            "columns": problem.columns,
            "M": SERIES * (SAMPLES - 1),
        }
        found["heads"] = heads.numpy()[:, ::50].ravel().tolist()
        return found


def busiest(group, seconds):
    """The most that any of the processes has taken."""
    return max(group.sum(*(seconds if r == group.rank else 0.0 for r in range(group.size))))


def steps(units, batch):
    """Seconds of 200 gradient steps."""
    import lemode
    from lemode.surrogate.processes import Processes

    with Processes() as group:
        data = lemode.systems.Lorenz63().trajectories(batch, 0.02 * np.arange(1001), seed=0)
        more = {
            "hidden_size": units,
            "batch_size": batch,
            "steps": 200,
            "window": 250,
            "verbose": 0,
            "train": "all",
            "lr": 1e-3,
        }
        core = time.process_time()
        model = lemode.Surrogate(optimizer="adam", **more).fit(data, validation=data[:4])
        return {
            "seconds": group.first(model.history_.seconds),
            "core": busiest(group, time.process_time() - core),
            "parameters": sum(p.numel() for p in model.network_.parameters()),
        }


def messages(numbers):
    """Seconds of a sum over all processes, and of a message to another one."""
    import torch

    from lemode.surrogate.processes import Processes

    with Processes() as group:
        x = torch.zeros(numbers, dtype=torch.float64)
        x.grad = x.clone()
        times = {}
        for name in ("sum", "message"):
            taken = []
            for _ in range(30):
                group.sum(0.0)
                begin = time.perf_counter()
                if name == "sum":
                    group.add_gradients([x])
                elif group.rank:
                    group.send(x, 0)
                else:
                    group.receive(x, 1)
                taken.append(time.perf_counter() - begin)
            times[name] = float(np.median(taken))
        return times


def streamed(path):
    """A fit to a file; the peak memory of this process before and after it, in bytes."""
    import lemode
    from lemode.surrogate.phases import peak_memory

    before = peak_memory()
    x = np.load(path, mmap_mode="r")
    begin = time.perf_counter()
    model = lemode.Surrogate(hidden_size=10, train="readout", delays=0, verbose=0).fit(lemode.surrogate.Stream(x))
    seconds = time.perf_counter() - begin
    history = x[0, :100].astype(np.float64)
    error = float(np.sqrt(np.mean((model.forecast(history, steps=50) - x[0, 100:150]) ** 2)))
    return {
        "before": before,
        "peak": peak_memory(),
        "seconds": seconds,
        "rows": int(model.history_.chosen["samples"]),
        "error": error,
    }


def write_series(path, gigabytes):
    """32 series of 128 variables in float64, of waves that come back after 4,096 samples, with a little noise that does, too."""
    n, D, period = 32, 128, 4096
    repeats = max(round(gigabytes * 1e9 / (8 * n * D * period)), 1)
    random, t = np.random.default_rng(0), 2 * np.pi * np.arange(period)[:, None] / period
    shape = (n, repeats * period, D)
    with open(path, "wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        for _ in range(n):
            x = np.sin(t * random.integers(20, 200, D) + random.uniform(0, 6, D)) + 0.01 * random.standard_normal((period, D))
            for _ in range(repeats):
                file.write(x.tobytes())
    return int(np.prod(shape)) * 8


# -- the parts ----------------------------------------------------------------------------------------------------------------------


def exact():
    return {"one": spawn("regression", 1, 1), "gloo": spawn("regression", 2, 1), "joblib": spawn("regression", 1, 2)}


def train():
    return [
        {"units": units, "batch": batch, "one": spawn("steps", 1, units, batch), "two": spawn("steps", 2, units, batch)}
        for units, batch in ((16, 32), (64, 128), (256, 128))
    ]


def talk():
    return [{"numbers": n} | spawn("messages", 2, n) for n in (1, 1_000, 100_000, 1_000_000)]


def stream(folder, sizes):
    found = []
    for gigabytes in sizes:
        path = Path(folder) / f"lemode-{gigabytes}.npy"
        try:
            size = write_series(path, gigabytes)
            found.append({"size": size} | spawn("streamed", 1, path))
        finally:
            path.unlink(missing_ok=True)
    return found


def show(name, found):
    if name == "exact":
        one, M, c = found["one"], found["one"]["M"], found["one"]["columns"]
        print(f"## The exact fit: {M:,} rows of {c:,} columns\n")
        print(
            "| workers | rows to a triangle | of it at work | its solutions | together | times as fast | difference of coefficients |"
        )
        print("|---|---|---|---|---|---|---|")
        total = one["rows"] + one["solve"]
        for label, key in (("1 process", "one"), ("2 processes, gloo", "gloo"), ("2 jobs, joblib (loky)", "joblib")):
            f = found[key]
            both = f["rows"] + f["solve"]
            other = np.abs(np.array(f["heads"]) - np.array(one["heads"])).max() / np.abs(one["heads"]).max()
            print(
                f"| {label} | {f['rows']:.1f} s | {f['core']:.1f} s | {f['solve']:.1f} s | {both:.1f} s | {total / both:.2f} | "
                f"{'' if key == 'one' else f'{other:.0e}'} |"
            )
        print(
            "\nAt work: seconds of a core, of the process that took most, without its jobs.\n"
            "The difference is that of some coefficients of two ridges, 1e-14 and 1e-6, in units of the largest one.\n"
        )
    elif name == "train":
        print("## Gradient steps: 200 of windows of 250 samples\n")
        print(
            "| units | batch | parameters | 1 process, steps/s | 2 processes, steps/s | times as fast | by seconds of a core |"
        )
        print("|---|---|---|---|---|---|---|")
        for f in found:
            a, b = f["one"]["seconds"], f["two"]["seconds"]
            by_core = f["one"]["core"] / f["two"]["core"]
            size = f"{f['units']} | {f['batch']} | {f['one']['parameters']:,}"
            print(f"| {size} | {200 / a:.1f} | {200 / b:.1f} | {a / b:.2f} | {by_core:.2f} |")
        print("\nValidations, and passes that store states, every 50 steps, are made by all processes alike.\n")
    elif name == "talk":
        print("## Messages between two processes of one machine, gloo\n")
        print("| numbers (float64) | sum over both | message to the other |\n|---|---|---|")
        for f in found:
            print(f"| {f['numbers']:,} | {1e3 * f['sum']:.2f} ms | {1e3 * f['message']:.2f} ms |")
        print()
    else:
        print("## Data larger than memory\n")
        print(
            "| on disk | rows | seconds | peak memory | of it before the fit | error of 50 free steps |\n|---|---|---|---|---|---|"
        )
        for f in found:
            print(
                f"| {f['size'] / 1e9:.1f} GB | {f['rows']:,} | {f['seconds']:.0f} | {f['peak'] / 1e9:.2f} GB | "
                f"{f['before'] / 1e9:.2f} GB | {f['error']:.3f} |"
            )
        print(
            '\n32 series of 128 waves of amplitude one with noise of 0.01, 10 units, `Surrogate(train="readout")` from a memory map.\n'
        )


def plan(log):
    """What the model of docs/scale.md says, with the rates that were measured."""
    one, talks = log["exact"]["one"], log["talk"]
    M, c = one["M"], one["columns"]
    rate = one["rows"] / M  # seconds a row
    size = 8 * c * (c + 1) / 2
    speed = 8 * talks[-1]["numbers"] / talks[-1]["message"]
    latency = talks[0]["message"]
    # a triangle into a triangle: (2/3) c^3 multiplications and additions of the 2 c^2 a row that a full row takes
    merge = rate * c / 3
    print(f"## The plan: 10^9 rows of {c:,} columns\n")
    print(
        f"By the model of docs/scale.md with what is above: {1e6 * rate:.0f} us a row, {size / 1e6:.1f} MB a triangle, "
        f"{speed / 1e9:.2f} GB/s and {1e6 * latency:.0f} us a message, {one['solve']:.1f} s for the solutions. Computed, not measured.\n"
    )
    print("| processes | rows | tree | solutions | times as fast as one |\n|---|---|---|---|---|")
    whole = 1e9 * rate + one["solve"]
    for P in (1, 2, 16, 128, 1024, 4096):
        rows, tree = 1e9 * rate / P, np.ceil(np.log2(P)) * (2 * (size / speed + latency) + merge)
        print(f"| {P:,} | {rows:,.0f} s | {tree:.1f} s | {one['solve']:.1f} s | {whole / (rows + tree + one['solve']):,.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS) + "; all by default")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--sizes", nargs="+", type=float, default=[1, 5, 20], metavar="GB", help="of the files of `stream`")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.parts = options.parts or PARTS
    if set(options.parts) - set(PARTS):
        parser.error(f"give some of {', '.join(PARTS)}")
    if options.one is not None:
        name, *arguments = options.one
        arguments = arguments if name == "streamed" else map(int, arguments)
        print(json.dumps(globals()[name](*arguments)))
        return
    log = json.loads(options.log.read_text()) if options.log is not None and options.log.exists() else {}
    for part in options.parts:
        if part not in log:
            log[part] = stream(options.folder, options.sizes) if part == "stream" else globals()[part]()
            if options.log is not None:
                options.log.write_text(json.dumps(log))
    print(f"# Scale\n\n{processor()}; one thread a process.\n")
    for part in options.parts:
        show(part, log[part])
    if {"exact", "talk"} <= log.keys():
        plan(log)


if __name__ == "__main__":
    main()
