"""lemode from the shell: ``lemode fit``, ``forecast``, ``evaluate``, ``export``, ``audit``, ``report``, ``systems``, ``completion``."""

from .shell import main

__all__ = ["main"]
