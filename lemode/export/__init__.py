"""Saved models that run without Python: as C99 source, and as ONNX."""

from .c_source import c
from .onnx_graph import onnx
from .plan import Plan, plan_of

__all__ = ["Plan", "c", "onnx", "plan_of"]
