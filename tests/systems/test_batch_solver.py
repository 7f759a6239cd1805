"""What the solver of many initial states takes from scipy is still there."""

import inspect

import scipy.integrate


def test_scipy_still_has_no_error_norm_of_ones_own():
    """`BatchDOP853` overrides a private method. When this fails: give the norm as the option, or see what the method is called now."""
    parameters = inspect.signature(scipy.integrate.DOP853).parameters
    assert not [name for name in parameters if "norm" in name]
    assert callable(scipy.integrate.DOP853._estimate_error_norm)
