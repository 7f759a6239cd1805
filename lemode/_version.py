"""The version, which a saved model carries; pyproject.toml and CITATION.cff have the same, and a test says so."""

__version__ = "0.1.0"
