"""context_in_place: inception contexts without splitting, copying and joining the channels they only pass on."""

from __future__ import annotations

from ..chains import Residual
from ..form import InferenceForm
from ..modules import ContextStep, ScaledContext
from ..rewriting import Chain, rewrite


def context_in_place(form: InferenceForm) -> int:
    """Apply the pass (after layer_scale_fold); return the number of places."""
    return rewrite(form, _step)


def _step(chain: Chain, position: int) -> tuple[int, Chain] | None:
    step = chain[position]
    if not isinstance(step, Residual) or len(step.inner) != 1:
        return None
    context = step.inner[0]
    return (1, [ContextStep(context)]) if isinstance(context, ScaledContext) else None
