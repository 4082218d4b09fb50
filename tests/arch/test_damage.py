"""Files of the family with tensors missing, and files of others."""

from __future__ import annotations

import pytest
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN

import paragon_arch
from paragon_arch.damage import damage
from paragon_arch.errors import StateMismatchError, UnknownLayoutError
from tests.engine.exact_models import NETWORKS, build

ENDS = ("conv_in.weight", "conv_in.bias", "conv_out.weight")
LEFT_OUT = ("v2-ultimate", "v2-pixelshuffle")
"""The one is slow to build, and the blocks of the other were never published with its tail."""
CHECKED = [name for name in NETWORKS if name not in LEFT_OUT]
OFTEN_MIXED = ("v2-hybrid-gn", "v2-hybrid-attn-global", "v2-hybrid-attn-window")
"""Hybrids share so many names that the nearest one may be another, which lacks more."""


@pytest.mark.parametrize("name", CHECKED)
def test_three_missing_tensors_are_named(name: str) -> None:
    state = {key: tensor for key, tensor in build(name).state_dict().items() if key not in ENDS}
    words = r"3 of its tensors are missing \(conv_in\.bias, .*damaged"
    if name in OFTEN_MIXED:
        words = r"looks like layout v2-hybrid.* of its tensors are missing \(.*damaged"
    with pytest.raises(StateMismatchError, match=words):
        paragon_arch.load(state)


def test_a_block_that_lacks_what_others_have() -> None:
    state = build("v2-release-stream").state_dict()
    del state["conv_in.weight"], state["body.0.blocks.1.fuse.weight"]
    assert "2 of its tensors are missing (conv_in.weight, body.0.blocks.1.fuse.weight)" in str(damage(state))


@pytest.mark.parametrize("kind", [ESRGAN, Compact])
def test_other_architectures_are_not_called_damaged(kind: type) -> None:
    state = kind().state_dict()
    assert damage(state) is None
    with pytest.raises(UnknownLayoutError):
        paragon_arch.load(state)
