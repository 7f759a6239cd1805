import matplotlib.pyplot as plt
import torch

import lemode

torch.manual_seed(0)
rnn = lemode.LEM(input_size=1, hidden_size=16, dt=0.5)  # where torch.nn.LSTM(1, 16) was
t = 0.5 * torch.arange(41)
u = torch.sin(t[1:, None])
output, (y_n, z_n) = rnn(u)
y, z = lemode.solve(rnn.cells[0].ode, t, lemode.Samples(t[1:], u))  # the same parameters, as an ODE

fig, ax = plt.subplots(figsize=(7, 2.6))
ax.plot(t, y[:, :3].detach(), color="0.7", lw=3)
ax.plot(t[1:], output[:, :3].detach(), ".", color="#D55E00")
ax.set(xlabel="time", ylabel="three of 16 units")
ax.set_title("dots: the layer; lines: its differential equation", fontsize="medium")
