"""row_bands: the wide inside of a residual branch is computed a few rows at a time and never stored whole."""

from __future__ import annotations

from ..bands import BandedResidual, bandable
from ..chains import Residual
from ..form import InferenceForm
from ..modules import InPlaceResidual
from ..rewriting import Chain, rewrite


def row_bands(form: InferenceForm) -> int:
    """Apply the pass; return the number of places."""
    return rewrite(form, _banded)


def _banded(chain: Chain, position: int) -> tuple[int, Chain] | None:
    step = chain[position]
    if not isinstance(step, (Residual, InPlaceResidual)):
        return None
    reach = bandable(step.inner)
    return None if reach is None else (1, [BandedResidual(step.inner, reach)])
