"""Gradient flow of a random network, with floor and ceilings."""

import matplotlib.pyplot as plt
import torch

from lemode import LEM
from lemode.analysis import audit

torch.manual_seed(0)
rnn = LEM(1, 16, dt=0.2, dtype=torch.float64)
u = torch.randn(100, 8, 1, dtype=torch.float64)
report = audit(rnn, u, torch.randn(100, 8, 16, dtype=torch.float64))
fig, ax = plt.subplots(figsize=(6, 3.6))
report.plot(ax)
