import matplotlib.pyplot as plt
import torch

import lemode

torch.manual_seed(0)
rnn = lemode.LEM(input_size=1, hidden_size=16, dt=0.2, dtype=torch.float64)
u, target = torch.randn(100, 8, 1), torch.randn(100, 8, 16)
report = lemode.analysis.audit(rnn, u.double(), target.double())
assert report.holds  # print(report) has a line for each statement: measured, bound, ratio
fig, ax = plt.subplots(figsize=(7, 3))
report.plot(ax)  # the gradient between its floor and its ceilings
