"""ONNX export: graphs of any network of the family, with sizes kept symbolic, checked before they are returned."""

from .check import SIZES, TOLERANCE, check_graph, compare, inferred_scale
from .export import Precision, export_onnx

__all__ = ["SIZES", "TOLERANCE", "Precision", "check_graph", "compare", "export_onnx", "inferred_scale"]
