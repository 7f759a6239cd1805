"""The equations of arXiv:2110.04744 written out once more, in NumPy float64, entry by entry: no code of lemode."""

import math

import numpy as np


def sigma(x):
    return 1.0 / (1.0 + math.exp(-x)) if x >= 0 else math.exp(x) / (1.0 + math.exp(x))


def lem_step(p, y, z, u, dt, old_z=False, leak=lambda x: x):
    """One step for one sample; p maps the paper's letters to arrays. The y update uses the new z unless `old_z`."""
    d = len(y)

    def affine(W, x, V, b, i):
        return sum(W[i, j] * x[j] for j in range(len(x))) + sum(V[i, j] * u[j] for j in range(len(u))) + b[i]

    z_new, y_new = np.empty(d), np.empty(d)
    for i in range(d):
        gz = leak(dt * sigma(affine(p["W1"], y, p["V1"], p["b1"], i)))
        z_new[i] = (1 - gz) * z[i] + gz * math.tanh(affine(p["Wz"], y, p["Vz"], p["bz"], i))
    for i in range(d):
        gy = leak(dt * sigma(affine(p["W2"], y, p["V2"], p["b2"], i)))
        zc = z if old_z else z_new
        y_new[i] = (1 - gy) * y[i] + gy * math.tanh(affine(p["Wy"], zc, p["Vy"], p["by"], i))
    return y_new, z_new


def vector_field(p, y, z, u):
    """(dy/dt, dz/dt) for one sample."""
    dy = [
        sigma(p["W2"][i] @ y + p["V2"][i] @ u + p["b2"][i]) * (math.tanh(p["Wy"][i] @ z + p["Vy"][i] @ u + p["by"][i]) - y[i])
        for i in range(len(y))
    ]
    dz = [
        sigma(p["W1"][i] @ y + p["V1"][i] @ u + p["b1"][i]) * (math.tanh(p["Wz"][i] @ y + p["Vz"][i] @ u + p["bz"][i]) - z[i])
        for i in range(len(y))
    ]
    return np.array(dy), np.array(dz)


def random_parameters(rng, d, m, scale=1.0):
    """The twelve blocks by the paper's letters."""
    p = {f"W{k}": scale * rng.standard_normal((d, d)) for k in "12zy"}
    p |= {f"V{k}": scale * rng.standard_normal((d, m)) for k in "12zy"}
    return p | {f"b{k}": scale * rng.standard_normal(d) for k in "12zy"}


def load_into(ode, p):
    """Write the blocks into a MultiscaleODE by the stacking order that is documented: 1, 2, z, y."""
    import torch

    with torch.no_grad():
        ode.weight_hh.copy_(torch.from_numpy(np.concatenate([p["W1"], p["W2"], p["Wz"]])))
        ode.weight_zy.copy_(torch.from_numpy(p["Wy"]))
        ode.weight_ih.copy_(torch.from_numpy(np.concatenate([p["V1"], p["V2"], p["Vz"], p["Vy"]])))
        ode.bias.copy_(torch.from_numpy(np.concatenate([p["b1"], p["b2"], p["bz"], p["by"]])))
