import numpy as np

import lemode


def van_der_pol(t, x):
    return np.array([x[1], 5 * (1 - x[0] ** 2) * x[1] - x[0]])


t = np.linspace(0, 40, 801)
model = lemode.fit(van_der_pol, x0=[2, 0], t=t, names=("x", "v"), steps=5000)
truth = lemode.systems.from_callable(van_der_pol, 2).solve([1, 0], t)
free = model.forecast(truth[:200], steps=601)  # reads 200 samples, then runs on its own
ax = lemode.plots.forecast(t, truth[:, 0], t[200:], free[:, 0])

# committed, as the fit takes longer than a page should
ax.figure.savefig("docs/images/my_ode.png", dpi=120)
