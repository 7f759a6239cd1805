"""The ODE between samples: `lemode.solve`, the inputs u(t) that it reads, and the integrators behind it."""
