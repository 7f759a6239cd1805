import matplotlib.pyplot as plt

import lemode
from lemode import plots
from lemode.analysis import lyapunov_spectrum

spectrum = lyapunov_spectrum(lemode.systems.Lorenz63(), [1.0, 1.0, 20.0], 150.0)
fig, axes = plt.subplots(2, 1, figsize=(6.5, 4), sharex=True)
for ax, limits in zip(axes, ((-0.4, 1.8), (-15.6, -13.4))):  # two pieces of one axis: the third exponent is far below
    plots.lyapunov_convergence(spectrum, known=[0.9056, 0.0, -14.5723], ax=ax).set_ylim(limits)
axes[0].set_xlabel("")
axes[1].get_legend().remove()
