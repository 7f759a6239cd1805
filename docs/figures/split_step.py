"""One step of the split scheme in the plane of one z and one y."""

import matplotlib.pyplot as plt
import numpy as np
import torch

import lemode
from lemode import plots
from lemode.schemes import explicit, imex

ode = lemode.MultiscaleODE(1, 1, dtype=torch.float64)
with torch.no_grad():
    for p in ode.parameters():
        p.zero_()
    b = ode.blocks()
    b.Wz.fill_(-1.5), b.Wy.fill_(2.5), b.bz.fill_(0.9), b.b1.fill_(0.6), b.b2.fill_(0.3)
    u, dt = torch.zeros(1, dtype=torch.float64), 0.6
    y0 = z0 = torch.tensor([-0.35], dtype=torch.float64)
    y1, z1 = imex(ode, (y0, z0), u, dt)
    ye, ze = explicit(ode, (y0, z0), u, dt)
    t = torch.linspace(0, dt, 60, dtype=torch.float64)
    y, z = lemode.solve(ode, t, lemode.Samples(t[-1:], u[None]), (y0, z0), method="dopri5", rtol=1e-10, atol=1e-12)

fig, ax = plt.subplots(figsize=(5, 3.6))
ax.plot(z[:, 0], y[:, 0], color=plots.BLACK, alpha=0.4, lw=2.5, label="the ODE")
arrow = {"arrowstyle": "-|>", "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
ax.annotate("", (z1.item(), y0.item()), (z0.item(), y0.item()), arrowprops=arrow | {"color": plots.BLUE})
ax.annotate("", (z1.item(), y1.item()), (z1.item(), y0.item()), arrowprops=arrow | {"color": plots.VERMILION})
ax.annotate("", (ze.item(), ye.item()), (z0.item(), y0.item()), arrowprops=arrow | {"color": plots.GREEN, "ls": "--"})
ax.text((z0 + z1).item() / 2, y0.item() + 0.01, "first z, at $y_{n-1}$", color=plots.BLUE, ha="center", va="bottom")
ax.text(z1.item() + 0.02, (y0 + y1).item() / 2, "then y,\nat $z_n$", color=plots.VERMILION, va="center")
ax.text(ze.item() - 0.05, ye.item() + 0.0, "explicit:\ny at the old z", color=plots.GREEN, va="top", ha="right")
ax.plot(z0, y0, "o", color=plots.BLACK, ms=5)
ax.plot(z1, y1, "o", color=plots.VERMILION, ms=5)
ax.plot(ze, ye, "o", color=plots.GREEN, ms=5)
ax.plot(z[-1], y[-1], "o", color="0.5", ms=5)
xs, ys = np.r_[z0, z1, ze], np.r_[y0, y1, ye]
ax.set(xlabel="z", ylabel="y", xlim=(xs.min() - 0.12, xs.max() + 0.3), ylim=(ys.min() - 0.12, ys.max() + 0.12))
ax.legend(loc="upper left", frameon=False)
