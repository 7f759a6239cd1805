"""Where the linearised LEM step is stable, over the leak and the frequency, and where the explicit step would be."""

from lemode import plots

ax = plots.stability_region()
ax.figure.set_size_inches(5, 3.2)
