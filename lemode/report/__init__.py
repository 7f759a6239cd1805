"""One HTML page about a trained surrogate, with its plots inside: ``lemode report model.lem``."""

from .model import audit_surrogate, read_series, write_report

__all__ = ["audit_surrogate", "read_series", "write_report"]
