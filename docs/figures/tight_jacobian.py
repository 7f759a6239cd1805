"""How close the bounds of the one-step Jacobian are, over random networks and states."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from lemode import LEMCell, plots
from lemode.analysis import jacobian_bound, jacobian_bound_posterior, step_jacobian

gen = torch.Generator().manual_seed(0)
scales = np.geomspace(0.03, 10, 12)
prior, posterior = [], []
for scale in scales:
    rows = []
    for _ in range(20):
        cell = LEMCell(2, 16, dt=0.5, dtype=torch.float64)
        with torch.no_grad():
            for p in cell.parameters():
                p.copy_(scale * torch.randn(p.shape, generator=gen, dtype=p.dtype) / 4)
            y, z = (2 * torch.rand(2, 50, 16, generator=gen, dtype=torch.float64) - 1).unbind()
            u = torch.randn(50, 2, generator=gen, dtype=torch.float64)
            norm = step_jacobian(cell, (y, z), u).matrix().abs().sum(-1).amax(-1)
            rows.append((norm.max() / jacobian_bound(cell), (norm / jacobian_bound_posterior(cell, (y, z), u)).median()))
    a, b = np.array(rows).T
    prior.append(np.quantile(a, (0, 0.5, 1)))
    posterior.append(np.quantile(b, (0, 0.5, 1)))
fig, ax = plt.subplots(figsize=(5, 3.2))
for values, color, label in ((prior, plots.VERMILION, "J1, a priori"), (posterior, plots.BLUE, "J2, a posteriori")):
    low, middle, high = np.array(values).T
    ax.fill_between(scales, low, high, color=color, alpha=0.2, lw=0)
    ax.plot(scales, middle, color=color, label=label)
ax.axhline(1, color=plots.BLACK, lw=0.8, ls=":")
ax.set(xscale="log", xlabel="spectral scale of the weights", ylabel="measured / bound", ylim=(0, 1.05))
ax.legend(frameon=False)
