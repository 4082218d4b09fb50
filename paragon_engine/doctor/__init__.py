"""What this computer can do with ParagonSR, what does not work, and the cure.

Nothing here needs torch to be installed or whole: that is one of the things it finds out.
"""

from .computer import collect
from .facts import Device, Facts, Finding, Program, Trial
from .report import as_dict, lines
from .rules import findings
from .trial import self_test

__all__ = [
    "Device",
    "Facts",
    "Finding",
    "Program",
    "Trial",
    "as_dict",
    "collect",
    "findings",
    "lines",
    "self_test",
]
