r"""
Bounds along data: tubes, certified horizons, windows (8.1 to 8.3)
==================================================================

A bound that holds for every state of the unit cube says little about a *trained* network: there it exceeds what is met by many orders of
magnitude. What is proved here holds near one trajectory, that of the data, and stays near the truth until it stops.

F is any map with a derivative, a step of LEM with its input, or a surrogate that is fed with its own predictions. :math:`|\cdot|` and :math:`\le` of
vectors and matrices are meant entry by entry. :math:`B(v, e)` is the box :math:`\{w : |w - v| \le e\}`, and :math:`R_k(e)` is any matrix with
:math:`|DF_k(w) - J_k| \le R_k(e)` for all :math:`w \in B(v_k, e)`, where :math:`J_k` is any matrix: in practice :math:`DF_k(v_k)` as it was computed.

| Computed by ``lemode.analysis.tube_along``, ``lemode.analysis.certified_horizon``, ``lemode.analysis.contraction_over_windows``; tested as 8.1 to
| 8.3 in ``tests/properties``.
"""

import numpy as np
import torch

from lemode import LEMCell
from lemode.analysis import step_jacobian, tube_along
from lemode.analysis.enclosure import LayerStep

STATEMENTS = ("8.1", "8.2", "8.3")

# %%
# One step: two trajectories with defects
# ---------------------------------------
# **Lemma.** Let :math:`v_{n+1} = F_n(v_n) + d_n` and :math:`w_{n+1} = F_n(w_n) + \rho_n`, and :math:`w_n \in B(v_n, e_n)`. Then
#
# .. math:: w_{n+1} - v_{n+1} = J_n (w_n - v_n) + r_n - d_n, \qquad |r_n| \le R_n(e_n)\,e_n + |\rho_n| .
#
# **Proof.** The box is convex and contains :math:`v_n` and :math:`w_n`, so that the mean value theorem may be used on the segment between them:
# :math:`F_n(w_n) - F_n(v_n) = \int_0^1 DF_n(v_n + s(w_n - v_n))\,ds\,(w_n - v_n) = (J_n + D)(w_n - v_n)`, and D, a mean of matrices within
# :math:`R_n(e_n)` of zero, is one itself. So :math:`r_n = D(w_n - v_n) + \rho_n`, and :math:`|D(w_n - v_n)| \le R_n(e_n)\,e_n`. ∎
#
# The tube
# --------
# **Statement (8.1).** Let :math:`\Phi_{n,k} = J_{n-1} \cdots J_k`, :math:`v_{n+1} = F_n(v_n) + d_n` with :math:`|d_n| \le \bar d_n`, and
#
# .. math:: e_n = |\Phi_{n,0}|\,e_0 + \sum_{k<n} |\Phi_{n,k+1}|\,\left(R_k(e_k)\,e_k + \bar\rho_k + \bar d_k\right) .
#
# Then every sequence with :math:`w_{n+1} = F_n(w_n) + \rho_n`, :math:`|\rho_n| \le \bar\rho_n`, that starts in :math:`B(v_0, e_0)` stays in
# :math:`B(v_n, e_n)` for all n. Along each of them
#
# .. math:: |DF_{n-1}(w_{n-1}) \cdots DF_0(w_0)| \le M_n = |\Phi_{n,0}| + \sum_{k<n} |\Phi_{n,k+1}|\,R_k(e_k)\,M_k, \qquad M_0 = I .
#
# **Proof.** By induction. If :math:`w_k \in B(v_k, e_k)` for all :math:`k \le n`, the lemma holds for each of these steps, and by variation of constants
# :math:`w_{n+1} - v_{n+1} = \Phi_{n+1,0}(w_0 - v_0) + \sum_{k \le n} \Phi_{n+1,k+1}(r_k - d_k)`. Take absolute values. For the product
# write :math:`DF_k(w_k) = J_k + D_k` with :math:`|D_k| \le R_k(e_k)`; the products :math:`P_n` obey :math:`P_{n+1} = J_n P_n + D_n P_n`, so that
# :math:`P_{n+1} = \Phi_{n+1,0} + \sum_{k \le n} \Phi_{n+1,k+1} D_k P_k`, and :math:`|P_k| \le M_k` by induction. ∎
#
# The row sums :math:`m_n = M_n \mathbf 1` obey the same recursion as :math:`e_n`, from :math:`m_0 = \mathbf 1` and without the defects, since
# :math:`(R_k M_k)\mathbf 1 = R_k m_k`; :math:`\|M_n\|_\infty = \max m_n`. A change of the inputs within :math:`\bar u` is a defect of
# :math:`(|U_k| + R^u_k)\,\bar u`, with U the derivative by the input: the lemma for :math:`(v, u)`.
#
# What makes the bound sharp is that :math:`|\Phi_{n,k+1}|` is the size of a product, and not the product of sizes: a rotation turns a box, and does not
# make it larger at each step.
#
# Rounding
# --------
# **Statement.** Let :math:`G_k` be what is computed for :math:`\Phi_{n,k+1}`, by :math:`G_k \leftarrow \mathrm{fl}(J_n G_k)`. The bound above, with the G in the
# place of the products, holds if :math:`\gamma |J_n| e_n` is added to each defect, :math:`\gamma = D u/(1 - D u)` for matrices of dimension D and the unit
# roundoff u, whatever the order of the sums.
#
# **Proof.** What is known of :math:`w_n - v_n` is that it is :math:`\sum_k G_k \xi_k` with some :math:`|\xi_k| \le q_k`, where :math:`\sum_k |G_k| q_k = e_n`. The rounding
# of the product obeys :math:`|\mathrm{fl}(J_n G_k) - J_n G_k| \le \gamma |J_n||G_k|`. So :math:`J_n \sum_k G_k \xi_k` differs from
# :math:`\sum_k \mathrm{fl}(J_n G_k)\,\xi_k` by at most :math:`\gamma |J_n| \sum_k |G_k| q_k = \gamma |J_n| e_n`, which is a defect like others. ∎
#
# All other sums are of nonnegative terms, whose relative error is at most :math:`\gamma`; they are enlarged by more than that. What the step itself rounds by,
# in the precision of the network, is in :math:`\bar\rho`: the sum of a pre-activation of n terms errs by at most :math:`n u/(1 - n u)` times the sum of their
# sizes (in any order, with or without fused products), and by less where they cancel: of the n roundings of its sums each is of a sum of some of the terms,
# which is at most that of the positive or that of the negative ones, half of the sizes and of the sum. tanh, the sigmoid and the leak err by at most 4 u of their
# values, which is an assumption on the libraries; through the gate, the target and the convex combination these errors go by the mean value theorem, with the slopes'
# ranges over the box, and :math:`x\,\phi'(x) \le \phi(x)` for the concave leak.
#
# The radius R of a step of LEM
# -----------------------------
# **Statement.** For :math:`|z' - z| \le e_z`, :math:`|y' - y| \le e_y` and :math:`|u' - u| \le e_u`, each pre-activation :math:`a = Wx + Vu + b` is within
# :math:`|W| e_x + |V| e_u` of that in the middle. The ranges of :math:`g, g(1-g), \tanh, 1 - \tanh^2` over these intervals are known from their ends, as the
# first and third are increasing and the others even and decreasing in :math:`|a|`. So the six diagonals of ``step_jacobian`` are enclosed by interval arithmetic,
# and the blocks :math:`A, B, S, D` by balls; for balls of matrices, :math:`|A' - A| \le R_A` and :math:`|B' - B| \le R_B`,
#
# .. math:: |A'B' - AB| \le |A| R_B + R_A (|B| + R_B) .
#
# **Proof.** :math:`A'B' - AB = A(B' - B) + (A' - A)B'`. For the y half, the new z is within :math:`(|J_z| + R_z) e` of that in the middle, by the lemma. ∎
#
# The set as it is, and not the box around it
# -------------------------------------------
# What is known of :math:`w_n - v_n` is that it is in :math:`Z = \{\sum_k G_k \xi_k : |\xi_k| \le q_k\}`, which is convex and has a middle. Let
# :math:`\sigma(M) = \sum_k |M G_k|\,q_k`, so that :math:`|M(w - v)| \le \sigma(M)` for all of Z; :math:`\sigma(I) = e_n`, and
# :math:`\sigma(M) \le |M| e_n`, by much where what M adds up cancels, as it does where Z is long in the direction of a trajectory and thin in all others.
#
# **Statement.** Let :math:`f(o, a, b) = o + \phi(\Delta t\,\sigma(a))\,(\tanh b - o)` be one entry of a half step, with o the old value and a, b the pre-activations, which
# are *lines* in v: within a rest :math:`\varrho` of :math:`M (w - v)`. Let c be its derivative in the middle, and :math:`\kappa(s)` bounds on how far the derivative
# is from c where o, a, b are within s times their radii :math:`r_i = \sigma(M_i) + \varrho_i`. Then the new entry is a line, with :math:`M = \sum_i c_i M_i` and
#
# .. math:: \varrho = \sum_{i \in \{o, a, b\}} \big(|c_i|\,\varrho_i + \bar\kappa_i r_i\big), \qquad \bar\kappa = \kappa(1)
#
# for the difference of the images of any two points of :math:`v + Z` that differ by one of Z. For those of v and of a point of :math:`v + Z` one may take
# :math:`\bar\kappa = \frac1m \sum_{j=1}^m \kappa(j/m)`, nearly half as much.
#
# **Proof.** The mean value theorem for f, a function of three numbers: the difference of two images is :math:`\int_0^1 \nabla f\,ds \cdot (\Delta o, \Delta a, \Delta b)`
# along the segment between the two triples. The box of triples within r is convex and contains both ends, so that :math:`|\nabla f - c| \le \kappa(1)` on it; on the piece
# :math:`(j-1)/m \le s \le j/m` of a segment from the middle the triples are within :math:`j/m` times r, and :math:`\kappa` grows with the box. And
# :math:`|\Delta_i - M_i(w-v)| \le \varrho_i`, :math:`|\Delta_i| \le r_i`. ∎
#
# So a step of LEM, layer by layer, and the head make lines of lines; what remains in the end is the rest of a step, in the place of :math:`R_n(e_n)\,e_n` in the
# lemma. A rounding of a lower layer is a part of the rest of what the next one reads.
#
# The certified horizon
# ---------------------
# **Statement (8.2).** Let F be the surrogate with its predictions fed back, a map of :math:`v = (z, y, x)`, and C a free run as it was computed,
# :math:`|C_{n+1} - F(C_n)| \le o_n`. Let :math:`r_n` be the rest of its n-th step over :math:`Z_n`, and
#
# .. math:: Z_n = \Big\{\Phi_{n,0}\,\xi + \sum_{k<n} \Phi_{n,k+1} \xi_k : |\xi| \le \delta_0,\ |\xi_k| \le q_k\Big\}, \qquad
#           \delta_n = |\Phi_{n,0}|\,\delta_0 + \sum_{k<n} |\Phi_{n,k+1}|\,q_k .
#
# (a) *The data are known.* With :math:`q_k = r_k + o_k + \bar\rho_k` every free run :math:`\tilde V` with rounding :math:`|\rho_n| \le \bar\rho_n` and
# :math:`|\tilde V_0 - C_0| \le \delta_0` has :math:`\tilde V_n - C_n \in Z_n`. So it is within :math:`|x(C_n) - s_n| + \delta_n + \eta` of every series within :math:`\eta` of s.
#
# (b) *The future.* Let V be the states along the true series, :math:`V_{n+1} = F(V_n) + B\varepsilon_n + \rho'_n` with one-step errors :math:`|\varepsilon_n| \le \bar\varepsilon`. With
# :math:`q_k = r_k + o_k + 2\bar\rho_k + B\bar\varepsilon` and rests between any two points, :math:`|\tilde V_n - V_n| \le \delta_n`.
#
# (c) *The history.* If each of its samples is within :math:`\eta` of what is given, (a) and (b) hold from its first sample on, with
# the row and the noise of x in the place of the prediction's: zero, and :math:`\eta`.
#
# **Proof.** (a) By induction and the lemma of one step: :math:`\tilde V_{n+1} - C_{n+1} = J_n(\tilde V_n - C_n) + r + \rho_n - o`, each in its bound, which is how
# :math:`Z_{n+1}` is made of :math:`Z_n`. Then the triangle inequality. (b) The three differences :math:`V - C`, :math:`\tilde V - C` and :math:`V - \tilde V` are in :math:`Z_n`
# together: each obeys the same recursion, with defects that are within :math:`q_n`, and the rest is one for any two points whose difference is in :math:`Z_n`.
# (c) While a series is read, the map is F with its x replaced by the next sample, whatever x was; reading within bounds, 8.4, makes no
# difference larger. ∎
#
# Of the one forecast that was computed (a) says nothing that a subtraction would not. It says it of the forecasts of every machine, in every order of the sums, and of every history within the noise.
# The sum of the one-step errors with their signs, :math:`\sum_k \Phi_{n,k+1} B \varepsilon_k`, is :math:`x(C_n) - s_n` to first order, so that it need not be bounded. Nothing is
# said of the system behind the data; (b) is conditional on the bound of the one-step errors to come.
#
# Windows
# -------
# **Statement (8.3).** Let L be invertible, :math:`|x|_L = |L x|_2`, and let the products :math:`W_k` of the Jacobians over consecutive windows of m steps along the data have
# :math:`\|L W_k L^{-1}\|_2 \le q < 1`. Then an infinitesimal perturbation of the state obeys :math:`|\delta x_{km}|_L \le q^k |\delta x_0|_L` along these windows.
#
# **Proof.** :math:`\delta x_{(k+1)m} = W_k\,\delta x_{km}`, and :math:`|W_k\,\delta x|_L = |(L W_k L^{-1}) L\,\delta x|_2 \le q\,|\delta x|_L`. ∎
#
# Any L gives a true statement about the windows it was tried on. It is chosen on some and tried on others, since a norm that is found for given windows says little of those to
# come; and it is no statement about states between or beside the data, for which there is the tube.

# %%
# Check: the lemma and the product rule, on drawn networks
# --------------------------------------------------------

f64 = torch.float64
rng = np.random.default_rng(0)
closest = 0.0
for _ in range(40):
    d = int(rng.integers(1, 5))
    cell = LEMCell(1, d, dt=float(rng.choice([0.1, 0.5, 1.0])), dtype=f64).requires_grad_(False)
    for p in cell.parameters():
        p.copy_(torch.from_numpy(rng.standard_normal(tuple(p.shape)) * float(rng.choice([0.5, 2.0]))))
    x, u = rng.uniform(-1, 1, 2 * d), rng.standard_normal(1)
    e = np.full(2 * d, float(rng.choice([1e-6, 1e-3, 1e-1])))
    found = LayerStep(cell).enclose(x, e, u, np.zeros(1), 2.0**-53)
    w = x + e * rng.choice([-1, 1], 2 * d) * 0.999
    y, z = (torch.from_numpy(part) for part in (w[d:], w[:d]))
    J = step_jacobian(cell, (y, z), torch.from_numpy(u)).matrix().numpy()
    assert (np.abs(J - found.state.mid) <= found.state.rad + 1e-14).all()
    y_new, z_new = cell.scheme.step(cell.ode, (y, z), torch.from_numpy(u), cell.dt)
    gap = np.abs(np.concatenate([z_new, y_new]) - found.image - found.state.mid @ (w - x))
    bound = found.state.rad @ e + found.own + found.running
    # the difference is that of numbers below one: it is rounded by a few units of 1e-16
    assert (gap <= bound + 1e-15 * d).all()
    closest = max(closest, (gap / bound).max())
assert closest > 0.2

# %%
# Check: a tube beside the truth
# ------------------------------
# The product's norm is attained within a few per cent by starts in the corners of a small box; from the weights alone one gets astronomically more.

cell = LEMCell(1, 6, dt=0.7, dtype=f64).requires_grad_(False)
for p in cell.parameters():
    p.copy_(torch.from_numpy(rng.standard_normal(tuple(p.shape))))
u = torch.sin(0.5 * torch.arange(60, dtype=f64))[:, None]
found = tube_along(cell, u, radius=1e-4)
measured = 0.0
for _ in range(20):
    y, z = (torch.from_numpy(1e-4 * 0.999 * rng.choice([-1, 1], 6)) for _ in range(2))
    P = np.eye(12)
    for n in range(found.steps):
        P = step_jacobian(cell, (y, z), u[n]).matrix().numpy() @ P
        y, z = cell.scheme.step(cell.ode, (y, z), u[n], cell.dt)
    measured = max(measured, np.abs(P).sum(1).max())
assert found.steps == 60
assert measured <= found.product[60] <= 1.3 * measured
