"""Timing in turns: who runs when, and which run counts."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from paragon_engine.turns import Turns


def test_each_call_warms_up_in_its_turn_and_the_order_turns_round() -> None:
    ran: list[str] = []
    turns = Turns({name: partial(ran.append, name) for name in "abc"}, torch.device("cpu"))
    for _ in range(3):
        turns.take()
    assert "".join(ran) == "aabbccbbccaaccaabb"
    assert {name: len(times) for name, times in turns.times.items()} == {"a": 3, "b": 3, "c": 3}


def test_the_second_run_of_a_turn_is_the_one_that_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lengths = [0.0], iter((100.0, 1.0, 100.0, 2.0, 100.0, 4.0))

    def call() -> None:
        clock[0] += next(lengths)

    monkeypatch.setattr("paragon_engine.turns.time.perf_counter", lambda: clock[0])
    turns = Turns({"call": call}, torch.device("cpu"))
    for _ in range(3):
        turns.take()
    assert turns.times == {"call": [1.0, 2.0, 4.0]}
    assert turns.medians() == {"call": 2.0}
