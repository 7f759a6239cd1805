"""Audits of drawn networks: every row holds, is undecided with a reason, or the network is refused in a sentence.

    python benchmarks/audits.py --cases 2000 > benchmarks/audits.txt

Weights up to 1e3, inputs up to 1e6, step sizes to 2, of a third of the cases of each step its own, up to 1,200 steps, all schemes, float32
and float64. Warnings are errors.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections import Counter

import numpy as np
import torch

import lemode
from lemode.analysis import AuditReport, audit

SCHEMES = ("imex", "semi_implicit", "exponential", "explicit", "strang")


def draw(seed: int) -> AuditReport:
    """An audit; ValueError where it is refused."""
    rng = np.random.default_rng(seed)
    m, d, layers = int(rng.integers(1, 4)), int(rng.integers(1, 6)), int(rng.integers(1, 3))
    scheme = SCHEMES[rng.choice(5, p=[0.5, 0.22, 0.22, 0.03, 0.03])]
    N = int(10 ** rng.uniform(1, 3.08)) if rng.integers(50) == 0 else int(rng.integers(1, 12))
    dt = float(
        [1.0, 2.0, 10.0 ** rng.uniform(-12, 0), 10.0 ** rng.uniform(-2, 0), rng.uniform(1, 2)][
            rng.choice(5, p=[0.2, 0.05, 0.2, 0.5, 0.05])
        ]
    )
    double = bool(rng.integers(2))
    rnn = lemode.LEM(
        m,
        d,
        layers,
        dt=dt,
        scheme=scheme,
        bias=bool(rng.integers(4)),
        allow_large_dt=True,
        dtype=torch.float64 if double else torch.float32,
    )
    with torch.no_grad():
        for p in rnn.parameters():
            scale = float(rng.choice([0.0, 0.1, 0.5, 1.0, 4.0, 60.0, 1e3]))
            p.copy_(
                torch.from_numpy(
                    scale * rng.standard_normal(tuple(p.shape)) * (rng.uniform(size=tuple(p.shape)) < rng.choice([0.4, 1.0]))
                )
            )
    u = torch.from_numpy(rng.standard_normal((N, int(rng.integers(1, 4)), m)) * float(rng.choice([0.0, 1.0, 30.0, 1e6])))
    target = torch.from_numpy(rng.standard_normal((N, u.shape[1], d)) * float(rng.choice([0.0, 1.0, 1e6])))
    target = None if rng.integers(3) == 0 else target
    sizes = None
    if rng.integers(3) == 0:  # of each step its own, of each sequence or of all
        shape = (N, u.shape[1]) if rng.integers(2) else (N,)
        sizes = torch.from_numpy(dt * 10.0 ** rng.uniform(-rng.choice([1.0, 6.0]), 0, shape)).to(
            rnn.cells[0].ode.weight_zy.dtype
        )
    return audit(rnn, u if double else u.float(), target, dt=sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("error")
    torch.set_num_threads(1)
    start, answers, undecided, refused = time.process_time(), Counter(), Counter(), Counter()
    for seed in range(options.seed, options.seed + options.cases):
        try:
            report = draw(seed)
        except ValueError as error:
            refused[str(error).split(":")[0].split("=")[0]] += 1
            continue
        for row in report.rows:
            if math.isnan(row.bound) or (row.holds is None and not row.reason):
                print("no answer:", seed, row)
            answers["vacuous" if row.vacuous and row.holds else row.holds] += 1
            if row.holds is False:
                print("violated:", seed, row)
            if row.holds is None:
                undecided[row.statement] += 1
    done, seconds = options.cases - sum(refused.values()), time.process_time() - start
    why = ", ".join(f"{k}: {n}" for k, n in refused.items())
    print(f"{done:,} audits, {sum(refused.values())} refused ({why}); {seconds:.0f} s of CPU")
    said = f"{answers[True]:,} hold, {answers['vacuous']:,} hold and say nothing, {answers[None]:,} are undecided"
    print(f"rows: {said}, {answers[False]} are violated")
    print("undecided:", ", ".join(f"{k}: {n}" for k, n in undecided.most_common()))


if __name__ == "__main__":
    main()
