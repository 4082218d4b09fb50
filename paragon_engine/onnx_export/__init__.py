"""ONNX export: graphs of any network of the family, with sizes kept symbolic, checked before they are returned."""

from .check import SIZES, TOLERANCE, check_graph, compare, inferred_scale
from .export import Precision, export_onnx, has_feature_tap, usable_opset, with_metadata
from .half import to_half
from .order import comparable, sorts_tokens
from .reading import properties, read_graph
from .rounding import with_rounding
from .slim import slim

__all__ = [
    "SIZES",
    "TOLERANCE",
    "Precision",
    "check_graph",
    "comparable",
    "compare",
    "export_onnx",
    "has_feature_tap",
    "inferred_scale",
    "properties",
    "read_graph",
    "slim",
    "sorts_tokens",
    "to_half",
    "usable_opset",
    "with_metadata",
    "with_rounding",
]
