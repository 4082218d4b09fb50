"""What all tests of training share."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def child_signal() -> Iterator[None]:
    """Take PyTorch's handler for ended children away again.

    A DataLoader with workers installs it for good. It runs on an alternative stack, which other libraries of the test
    run (compilers, runtimes) replace by ones that do not last: the next child process that ends would crash pytest.
    """
    number = getattr(signal, "SIGCHLD", None)  # Windows has none
    before = None if number is None else signal.getsignal(number)
    yield
    if number is not None:
        signal.signal(number, before)
