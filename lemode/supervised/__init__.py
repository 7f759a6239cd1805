"""Series in, a label or a number out: estimators in scikit-learn's manner around LEM, LSTM, GRU or a core of one's own."""

from .estimators import LEMClassifier, LEMRegressor

__all__ = ["LEMClassifier", "LEMRegressor"]
