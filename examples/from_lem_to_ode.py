"""
From LEM to its differential equation
=====================================

LEM is the discretization of an ODE. Here a LEM that was trained on a spiking neuron is looked at as that ODE: solved by a stiff
solver, approached by smaller and smaller steps, at the order that the theory says; its time scales; and what the ODE is good for, a
model that is used at another sampling interval than it was trained on.

Run it with ``python examples/from_lem_to_ode.py``; ``--quick`` takes about a minute, with less training.
"""

# %%
# A trained network
# -----------------
# FitzHugh-Nagumo as in ``examples/fitzhugh_nagumo.py``: v is observed every 0.4 time units, and predicted one step ahead. The
# step size is 0.4 too, so that the time of the ODE is that of the neuron, and LEM may double it.

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import lemode
from lemode import plots
from lemode.analysis import convergence_study, timescales

parser = argparse.ArgumentParser(description="A trained LEM as an ODE: solvers, orders, time scales, other sampling intervals.")
parser.add_argument("--quick", action="store_true", help="less training: about a minute")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("out/from_lem_to_ode"), help="folder for the plots")
parser.add_argument("--quiet", action="store_true", help="no progress bars")
options = parser.parse_args(None if "__file__" in globals() else [])  # a notebook has arguments of its own
options.out.mkdir(parents=True, exist_ok=True)

fhn, interval = lemode.systems.FitzHughNagumo(), 0.4
data = fhn.trajectories(96, np.linspace(0, 400, 1001), seed=options.seed)
model = lemode.Surrogate(
    hidden_size=16, dt=interval, observe=["v"], steps=600 if options.quick else 1500, dtype="float32", seed=options.seed,
    verbose=not options.quiet,
    train="all",
)  # fmt: skip
model.fit(data[:64], validation=data[64:])
net = model.network_.double()  # solvers are compared to ten digits below
rnn = net.core
cell = rnn.cells[0]
ode = cell.ode
print(f"Test RMSE one step ahead {model.rmse(fhn.trajectories(32, data.t, seed=options.seed + 1)):.1e}")

# %%
# Its ODE, by two solvers
# -----------------------
# One period of the neuron drives the network. LEM reads :math:`u_n` for the step that ends at :math:`t_n`, so for the ODE the
# input is constant on :math:`(t_{n-1}, t_n]`: that is what ``Samples`` means by default. The solvers restart at every jump.

L = 300
test = fhn.trajectories(1, data.t, seed=options.seed + 2).x[0, :, :1]
u = net.normalise(torch.tensor(test))[:L]
t = cell.dt * torch.arange(L + 1, dtype=torch.float64)
with torch.no_grad():
    y, z = lemode.solve(ode, t, lemode.Samples(t[1:], u), method="Radau", rtol=1e-9, atol=1e-11)
    y_explicit, _ = lemode.solve(ode, t, lemode.Samples(t[1:], u), method="dopri5", rtol=1e-9, atol=1e-11)
difference = (y - y_explicit).abs().max().item()
print(f"\nThe ODE over {L} intervals: Radau and dopri5 at rtol 1e-9 differ by {difference:.0e}")
assert difference < 1e-7

# %%
# The steps towards it
# --------------------
# ``rnn.refine(k)`` is the same ODE with the step divided by k: the error is divided by k. The Strang step gains :math:`k^2`.

strang = lemode.LEM(1, 16, dt=interval, scheme="strang", dtype=torch.float64)
strang.cells[0].ode = ode
print(f"\n{'step size':>10}{'LEM: error of y':>18}{'Strang: error of y':>20}")
outputs = {}
with torch.no_grad():
    for k in (1, 2, 4, 8, 16):
        errors = []
        for network in (rnn, strang):
            out, _ = network.refine(k)(u.repeat_interleave(k, 0))
            errors.append((out[k - 1 :: k] - y[1:]).abs().max().item())
            outputs[network.cells[0].scheme.name, k] = out[k - 1 :: k]
        print(f"{cell.dt / k:10.4g}{errors[0]:18.1e}{errors[1]:20.1e}")

most = int((outputs["imex", 1] - y[1:]).abs().amax(0).argmax())
fig, (top, bottom) = plt.subplots(2, 1, figsize=(7, 4.5), sharex=True, height_ratios=(1, 2), layout="constrained")
time = interval * np.arange(1, L + 1)
top.plot(time, test[:L, 0], color="black", lw=1)
top.set_ylabel("input v")
bottom.plot(time, y[1:, most], color=plots.BLACK, lw=2.5, alpha=0.35, label="ODE, Radau")
bottom.plot(time, outputs["imex", 1][:, most], color=plots.VERMILION, lw=1, label=f"LEM, step {interval}")
bottom.plot(time, outputs["imex", 4][:, most], color=plots.BLUE, lw=1, ls="--", label="refine(4)")
bottom.set(xlabel="time t", ylabel=f"$y_{{{most + 1}}}$, where they differ most")
bottom.margins(x=0)
bottom.legend(fontsize="small")
fig.savefig(options.out / "trajectories.png", dpi=150)

# %%
# The order, with the bound that is proved
# ----------------------------------------
# Around the upstroke, where the input changes most.

begin = int(np.abs(np.diff(test[50 : L - 8, 0])).argmax()) + 50 - 4
window, state = u[begin : begin + 8], (y[begin], z[begin])
fig, axes = plt.subplots(2, 1, figsize=(7, 6), layout="constrained")
for name, ax in zip(("imex", "strang"), axes):
    study = convergence_study(ode, window, state, scheme=name, dt=cell.dt)
    print(f"\n{study}")
    study.plot(ax)
fig.savefig(options.out / "order.png", dpi=150)

# %%
# Its time scales
# ---------------
# The gates are the rates of the ODE, below 1: no unit is faster than one time unit. The slow variable of the neuron moves on
# the scale :math:`1/\varepsilon = 50`.

print(f"\n{timescales(rnn, u, dt_physical=interval, known=[1 / fhn.eps])}")
with torch.no_grad():
    gates = torch.cat(ode.gates(y[:-1], u), -1)
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
plots.time_scales(time, 1 / gates.numpy(), {"1/eps": 1 / fhn.eps}, ax=ax)
fig.savefig(options.out / "time_scales.png", dpi=150)

# %%
# Another sampling interval
# -------------------------
# Data at half or at double the interval, or at random times. Who ignores the change applies the trained network as it is. The
# ODE knows better: the step of the hidden state is the time since the last sample, ``rnn(x, dt=...)`` (at a constant interval:
# ``rnn.refine``), and the head, which was trained for the increment over 0.4, gives that over another interval in proportion.
# ``model.predict`` and ``model.forecast`` do so with the times of ``Trajectories``, and cross a long interval in several steps.
# With ``continuous=True`` the surrogate itself is a differential equation, trained on from the discrete one. It takes more
# training.

continuous = lemode.Surrogate(**{**model.get_params(), "continuous": True}).fit(data[:64], validation=data[64:])
continuous.network_.double()


@torch.no_grad()
def one_step_errors(times):
    """RMSE of v one step ahead, on 32 series sampled at `times`, without the first 20 time units, in which the state is found."""
    v = fhn.trajectories(32, times, seed=options.seed + 3).x[..., :1]
    x = net.normalise(torch.tensor(v).transpose(0, 1))
    actual = torch.from_numpy(np.diff(times)) / interval
    since = torch.cat([actual.new_ones(1), actual[:-1]])  # the time since the sample before; the first has none
    hidden, _ = rnn(x[:-1], dt=cell.dt * since)
    in_proportion = net.denormalise(x[:-1] + actual[:, None, None] * net.increment * net.head(hidden))
    series = lemode.Trajectories(times, v, ["v"])
    predictions = (
        v[:, :-1], model.predict(v)[:, :-1], in_proportion.transpose(0, 1).numpy(), model.predict(series)[:, :-1],
        continuous.predict(series)[:, :-1],
    )  # fmt: skip
    settled = times[1:] > 20
    return [np.sqrt(np.mean((p - v[:, 1:])[:, settled] ** 2)) for p in predictions]


def free_run_errors(times):
    """RMSE of v running free for 40 time units, asked for at `times` after 40 of history at the trained interval."""
    history = np.arange(0, 40, interval)
    future = history[-1] + times[(times > 0) & (times <= 40)]
    v = fhn.trajectories(32, np.concatenate([history, future]), seed=options.seed + 4).x[..., :1]
    v, truth = v[:, : len(history)], v[:, len(history) :]
    forecasts = (
        np.repeat(v[:, -1:], len(future), 1), model.forecast(v, len(future)), model.forecast(v, t=future),
        continuous.forecast(v, t=future),
    )  # fmt: skip
    return [np.sqrt(np.mean((f - truth) ** 2)) for f in forecasts]


rng = np.random.default_rng(options.seed)
grids = {
    "0.4, as trained": np.arange(0, 400, 0.4),
    "0.2": np.arange(0, 400, 0.2),
    "0.8": np.arange(0, 400, 0.8),
    "uneven, 0.2 to 0.6": np.concatenate([[0.0], np.cumsum(rng.uniform(0.2, 0.6, 1000))]),
}
for title, columns, errors in (
    ("one step ahead", ("persistence", "as it is", "in proportion", "predict", "continuous"), one_step_errors),
    ("running free for 40 time units", ("persistence", "as it is", "forecast", "continuous"), free_run_errors),
):
    print(f"\nRMSE of v {title}\n{'sampling interval':20}" + "".join(f"{column:>15}" for column in columns))
    for label, times in grids.items():
        print(f"{label:20}" + "".join(f"{error:15.1e}" for error in errors(times)))

print(f"\nWritten to {options.out}: trajectories.png, order.png, time_scales.png")
