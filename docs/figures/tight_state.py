"""The state of random networks under random input beside S1, a priori and with the gates met."""

import matplotlib.pyplot as plt
import numpy as np
import torch

from lemode import LEMCell, plots
from lemode.analysis import state_radius

fig, axes = plt.subplots(1, 2, figsize=(6.8, 2.9), sharey=True)
for scale, ax in zip((1.0, 8.0), axes):
    gen = torch.Generator().manual_seed(0)
    cell = LEMCell(1, 16, dt=0.1, dtype=torch.float64)
    with torch.no_grad():
        for p in cell.parameters():
            p.copy_(scale * torch.randn(p.shape, generator=gen, dtype=p.dtype) / 4)
        y = z = torch.zeros(64, 16, dtype=torch.float64)
        largest, gates = [], []
        for _ in range(80):
            u = torch.randn(64, 1, generator=gen, dtype=torch.float64)
            gates.append(cell.ode.gates(y, u)[0].numpy())
            y, z = cell(u, (y, z))
            largest.append(z.abs().max().item())
    n = np.arange(1, 81)
    posterior = [state_radius(0.1, k, gates=np.array(gates[:k]), x0=np.zeros((64, 16))).max() for k in n]
    ax.plot(n, [state_radius(0.1, k) for k in n], color=plots.VERMILION, label="S1, a priori")
    ax.plot(n, posterior, color=plots.VERMILION, ls="--", label="S1, with the gates met")
    ax.plot(n, largest, color=plots.BLUE, label="largest |z| of 16 units")
    ax.set(xlabel="step n, dt = 0.1", title=f"weights of size {scale / 4:g}")
axes[0].set(ylim=(0, 1.45), yticks=[0, 0.5, 1])  # room for the legend
axes[0].legend(frameon=False, loc="upper left")
