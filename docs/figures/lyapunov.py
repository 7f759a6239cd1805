import lemode
from lemode import plots
from lemode.analysis import lyapunov_spectrum

spectrum = lyapunov_spectrum(lemode.systems.Lorenz63(), [1.0, 1.0, 20.0], 150.0)
ax = plots.lyapunov_convergence(spectrum, known=[0.9056, 0.0, -14.5723])
