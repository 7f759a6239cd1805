"""Whether the standard errors of Lyapunov exponents are right: 200 short runs of each flow, and how their z-scores scatter; Markdown.

    python benchmarks/lyapunov_errors.py --log build/lyapunov_errors.jsonl > benchmarks/lyapunov_errors.md

z is the distance from the true exponent over the error that a run says; its root mean square is 1 where errors are right. True are the
zero along any flow, what Sprott, Chaos and Time-Series Analysis (2003), lists for Lorenz and Roessler, and for van der Pol's cycle one
run that is a hundred times as long. Each run starts at a drawn state and leaves out a transient.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import lemode
from lemode.analysis import lyapunov_spectrum
from lemode.systems import Lorenz63, Roessler, VanDerPol

# system, time, step, transient, true exponents (None: not known)
SYSTEMS = {
    "Roessler": (Roessler, 300.0, 0.05, 60.0, (0.0714, 0.0, None)),
    "van der Pol, mu=1": (lambda: VanDerPol(mu=1.0), 60.0, 0.05, 30.0, (0.0, None)),
    "Lorenz63": (Lorenz63, 40.0, 0.02, 10.0, (0.9056, 0.0, -14.5723)),
}


def row(name: str, runs: int) -> dict[str, object]:
    """Root mean square of z, mean of z, and the mean error, for each exponent that is known."""
    make, t, dt, transient, true = SYSTEMS[name]
    system, rng, begin = make(), np.random.default_rng(0), time.process_time()
    start = system.trajectories(1, np.arange(0, 20, 0.1), seed=0).x[0, -1]
    if name.startswith("van"):
        long = lyapunov_spectrum(system, start, 100 * t, dt=dt, transient=transient).exponents
        true = (0.0, float(long[1]))
    found = []
    for _ in range(runs):
        s = lyapunov_spectrum(
            system, start + 0.5 * rng.standard_normal(len(start)), t, dt=dt, transient=transient * rng.uniform(1, 2)
        )
        found.append([(s.exponents[i], s.standard_error[i]) for i in range(len(true))])
    values = np.array(found)
    rows = []
    for i, exact in enumerate(true):
        if exact is not None:
            z = (values[:, i, 0] - exact) / values[:, i, 1]
            rows.append([i + 1, exact, float(np.sqrt(np.mean(z**2))), float(z.mean()), float(values[:, i, 1].mean())])
    return {"rows": rows, "runs": runs, "seconds": time.process_time() - begin, "time": t}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--log", type=Path, default=Path("build/lyapunov_errors.jsonl"))
    options = parser.parse_args()
    options.log.parent.mkdir(parents=True, exist_ok=True)
    done = dict(map(json.loads, options.log.read_text().splitlines())) if options.log.exists() else {}
    for name in SYSTEMS:
        if name not in done:
            done[name] = row(name, options.runs)
            with options.log.open("a") as file:
                file.write(json.dumps([name, done[name]]) + "\n")
    print(f"lemode {lemode.__version__}.\n")
    print("| system | time of a run | runs | exponent | true | z, root mean square | z, mean | mean error |\n|" + "---|" * 8)
    for name, found in done.items():
        for i, exact, rms, mean, error in found["rows"]:
            print(
                f"| {name} | {found['time']:g} | {found['runs']} | {i} | {exact:.4g} | {rms:.2f} | {mean:+.2f} | {error:.2g} |"
            )


if __name__ == "__main__":
    main()
