"""Networks rebuilt for inference: exact in exact arithmetic, several times faster (docs/inference.md)."""

from .build import PASSES, Pass, Target, inference_form
from .form import InferenceForm
from .stages import form_stages

__all__ = ["PASSES", "InferenceForm", "Pass", "Target", "form_stages", "inference_form"]
