"""Nanoseconds a step of an exported surrogate in C, by compiler flags, beside the compiled core inside of Python.

``python benchmarks/c_step.py > benchmarks/c_step.md``; a minute. Weights are random: a step costs the same whatever they are.
"""

import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import lemode
from lemode import export

MAIN = """
#define _POSIX_C_SOURCE 199309L
#include <stdio.h>
#include <time.h>
#include "m.h"
static double x[STEPS * M_VARIABLES];
int main(void) {
  m_state s;
  double begin[M_VARIABLES] = {0}, best = 1e9;
  int repeat;
  for (repeat = 0; repeat < 15; ++repeat) {
    struct timespec a, b;
    m_begin(&s, begin, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    m_forecast(&s, NULL, STEPS, x);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    { const double t = (b.tv_sec - a.tv_sec) * 1e9 + (b.tv_nsec - a.tv_nsec); if (t < best) best = t; }
  }
  printf("%.0f %.17g\\n", best / STEPS, x[0]);
  return 0;
}
"""
FLAGS = ("-O2 -std=c99", "-O3 -std=c99", "-O3 -march=native -std=c99", "-O3 -march=native -ffast-math -std=c99")
SIZES = {
    "16 units": {"hidden_size": 16},
    "64 units": {"hidden_size": 64},
    "readout, 300 units": {"hidden_size": 300, "train": "readout"},
}
STEPS = {"16 units": 100_000, "64 units": 20_000, "readout, 300 units": 1000}


def model_of(train="all", **settings):
    """On a wave of two variables; a readout has the size of one, and no fit."""
    from lemode.surrogate.readout_network import ReadoutNetwork

    t = np.arange(400.0)
    x = np.stack([np.sin(t / 5), np.cos(t / 5)], -1)
    units = settings.pop("hidden_size")
    model = lemode.Surrogate(hidden_size=units, steps=2, window=50, washout=5, train="all", verbose=0, dtype="float64").fit(x)
    if train == "readout":
        model.network_ = ReadoutNetwork.like(model.network_, units, 4)
        with torch.no_grad():
            for p in model.network_.parameters():
                p.uniform_(-0.05, 0.05, generator=torch.Generator().manual_seed(0))
    return model, x


def in_python(model, x, steps):
    """Of a free run, history included, the best of three."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        model.forecast(x[:50], steps)
        times.append((time.process_time() - begin) / steps * 1e9)
    return min(times)


compiler = shutil.which("gcc") or "cc"
version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
cpu = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "?")
print(f"# A step of an exported surrogate, in nanoseconds\n\n{cpu}, {platform.system()}, {version}. Best of 15 free runs.\n")
print("| | " + " | ".join(SIZES) + " |\n|---|" + "---|" * len(SIZES))
torch.set_num_threads(1)
models = {kind: model_of(**settings) for kind, settings in SIZES.items()}
for flags in FLAGS:
    row = []
    for kind, (model, _) in models.items():
        with tempfile.TemporaryDirectory() as folder:
            export.c(model, folder, "m")
            (Path(folder) / "main.c").write_text(MAIN)
            subprocess.run(
                [compiler, *flags.split(), f"-DSTEPS={STEPS[kind]}", "m.c", "main.c", "-lm", "-o", "run"],
                cwd=folder,
                check=True,
            )
            row.append(subprocess.run(["./run"], cwd=folder, capture_output=True, text=True, check=True).stdout.split()[0])
    print(f"| `gcc {flags}` | " + " | ".join(row) + " |")
row = [f"{in_python(*models[kind], STEPS[kind]):.0f}" for kind in models]
print("| `Surrogate.forecast` in Python | " + " | ".join(row) + " |")
