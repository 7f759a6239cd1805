"""Trajectories of the ODE that enter the unit cube and stay: the gallery's picture of a page without one, docs/images/unit_cube.png.

MPLBACKEND=Agg python docs/figures/unit_cube.py docs/images/unit_cube.png
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
import torch

import lemode
from lemode import plots

ode = lemode.MultiscaleODE(1, 1, dtype=torch.float64)
with torch.no_grad():
    for p in ode.parameters():
        p.zero_()
    b = ode.blocks()
    b.Wz.fill_(-2.0), b.Wy.fill_(2.5), b.bz.fill_(0.2), b.b1.fill_(0.5)
    side = np.linspace(-1, 1, 5)
    start = torch.tensor([(y, z) for y in side for z in side if max(abs(y), abs(z)) == 1])
    t = torch.linspace(0, 9, 200, dtype=torch.float64)
    y, z = lemode.solve(ode, t, state0=(start[:, :1], start[:, 1:]))

fig = plt.figure(figsize=(4, 2.8))
ax = fig.add_axes((0.2, 0.02, 0.6, 0.96))
ax.plot(z[..., 0], y[..., 0], color=plots.BLUE, lw=1.6)
ax.plot([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1], color=plots.VERMILION, lw=3)
ax.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal")
ax.axis("off")
if len(sys.argv) > 1:
    fig.savefig(sys.argv[1], dpi=100)
