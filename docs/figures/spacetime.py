import numpy as np

import lemode
from lemode import plots

system = lemode.systems.Lorenz96()
t = np.arange(0, 12, 0.05)
start = system.solve(system.sample_initial(1, np.random.default_rng(0))[0], np.array([0.0, 10.0]))[-1]
truth, forecast = system.solve(start, t), system.solve(start + 1e-3, t)
axes = plots.spacetime(t, truth, forecast, lyapunov_time=1 / system.facts["lambda_1"].value)
