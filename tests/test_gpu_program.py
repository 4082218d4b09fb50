"""The program that proves the GPU path: its budget, its page, and a tiny form of it on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import torch

from benchmarks.gpu import page, program
from benchmarks.gpu.schedule import Case, Part, Report, Result, Values, run_case, run_parts


class Clock:
    """A clock that cases wind."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def case(self, part: str, name: str, seconds: float, importance: int = 2) -> Case:
        def work() -> Values:
            self.now += seconds
            return {}

        return Case(part, name, work, importance)


def outcomes(budget: float, make: Callable[[Clock], list[Part]]) -> dict[str, str]:
    """Outcome by name, of parts that run on a clock of their own."""
    clock, report = Clock(), Report("cpu", budget)
    written: list[int] = []
    run_parts(make(clock), report, write=lambda: written.append(len(report.results)), clock=clock, tell=lambda _: None)
    assert written == list(range(1, len(report.results) + 1)), "not written after every case"
    return {result.name: result.outcome for result in report.results}


def two_parts(clock: Clock) -> list[Part]:
    first = [clock.case("a", f"a{rank}", 10, rank) for rank in (3, 1, 2)]
    return [Part("a", 1, first), Part("b", 1, [clock.case("b", f"b{rank}", 10, rank) for rank in (2, 1)])]


def test_enough_time_runs_everything() -> None:
    assert set(outcomes(1000, two_parts).values()) == {"measured"}


def test_what_is_least_important_is_left_out() -> None:
    assert outcomes(40, two_parts) == {
        "a1": "measured",
        "a2": "measured",
        "b1": "measured",
        "b2": "measured",
        "a3": "left out",
    }
    assert outcomes(20, two_parts)["a1"] == "measured"
    assert outcomes(20, two_parts)["b1"] == "measured", "every part gets its share"


def test_time_that_a_part_does_not_need_goes_to_what_was_left_out() -> None:
    def uneven(clock: Clock) -> list[Part]:
        return [
            Part("a", 1, [clock.case("a", "long", 30, 1), clock.case("a", "next", 10, 2)]),
            Part("b", 1, [clock.case("b", "short", 1, 1)]),
        ]

    assert outcomes(50, uneven) == {"long": "measured", "short": "measured", "next": "measured"}


def test_a_case_that_fails_stops_nothing() -> None:
    def broken() -> Values:
        raise RuntimeError("CUDA error:\n no kernel image")

    result = run_case(Case("a", "x", broken))
    assert (result.outcome, result.error) == ("error", "RuntimeError: CUDA error: no kernel image")
    assert run_case(Case("a", "x", lambda: {"passed": False})).outcome == "failed"
    assert run_case(Case("a", "x", lambda: {"passed": True})).outcome == "passed"


def made_up() -> Report:
    """A report with everything that a page can show."""
    speeds = [
        Result("speed", form, "measured", 1.0, {
            "model": "v2-release realtime 2", "size": [1080, 1920], "precision": "fp16", "form": form,
            "wall_ms": ms, "launches": count,
        })
        for form, ms, count in (("fused", 9.5, 120), ("eager form", 4.25, 60), ("CUDA graph", 3.0, 1))
    ]  # fmt: skip
    results = [
        *speeds,
        Result("correctness", "v1|x, fp16", "failed", 1.0, {"differences": {"untiled": 0.5}, "passed": False}),
        Result("memory", "realtime", "passed", 1.0, {"predicted": 100 << 20, "allocated": 90 << 20, "passed": True}),
        Result("real use", "20 pictures", "measured", 1.0, {"per_second": 12.345}),
        Result("memory", "pro", "error", 1.0, error="RuntimeError: x"),
        Result("speed", "left", "left out"),
    ]
    card = {"name": "NVIDIA X", "capability": "8.6", "memory": 12 << 30}
    return Report("cuda:0", 480, {"card": card, "packages": {"torch": "2.7"}, "system": "Linux"}, results, 470.0)


def test_the_page_shows_what_was_found(tmp_path: Path) -> None:
    made_up().write(tmp_path / "gpu.json")
    report = Report.read((tmp_path / "gpu.json").read_text())
    assert report == made_up()
    text = page.document(report, "images/gpu.svg")
    for words in (
        "NVIDIA X (capability 8.6, 12 GiB), Linux, PyTorch 2.7",
        "| v2-release realtime 2 | 1920 x 1080 | fp16 | 9.50 (120) | 4.25 (60) | 3.00 (1) |",
        "| correctness | v1/x, fp16 | differences untiled 0.5 |",
        "| memory | pro | RuntimeError: x |",
        "| realtime | 100 | 90 | 0.90 |",
        "| 20 pictures | measured | per_second 12.3 |",
        "1 cases, for which there was no time",
        "(images/gpu.svg)",
    ):
        assert words in text
    assert all("|" not in line or line.startswith("|") for line in text.splitlines())


def test_the_plot_has_a_bar_for_each_form() -> None:
    bars = ET.fromstring(page.svg(made_up())).findall("{http://www.w3.org/2000/svg}rect")[1:]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths == pytest.approx([480, 480 * 4.25 / 9.5, 480 * 3 / 9.5], abs=0.1)


def test_the_page_of_results_that_are_there(tmp_path: Path) -> None:
    made_up().write(tmp_path / "gpu.json")
    assert program.main(["--out", str(tmp_path), "--page", str(tmp_path / "docs")]) == 0
    assert "(images/gpu.svg)" in (tmp_path / "docs/gpu.md").read_text()
    assert (tmp_path / "docs/images/gpu.svg").is_file()


def test_every_part_has_cases_for_a_gpu() -> None:
    """None of them runs; that they can be listed without a GPU is what a first run on one relies on."""
    parts = program.parts(torch.device("cuda"), tiny=False, until=0)
    assert [part.name for part in parts] == ["correctness", "memory", "speed", "real use", "tests and training"]
    for part in parts:
        assert len({case.name for case in part.cases}) == len(part.cases) > 3


@pytest.mark.slow
def test_the_tiny_form_works_on_the_cpu(tmp_path: Path) -> None:
    """Everything but CUDA's own: each part once, nothing fails."""
    code = program.measure(tmp_path, 3000, torch.device("cpu"), tiny=True)
    report = Report.read((tmp_path / "gpu.json").read_text())
    assert {
        f"{item.name}: {item.error or item.values}" for item in report.results if item.outcome in ("failed", "error")
    } == set()
    assert code == 0
    assert {item.part for item in report.results} == {
        part.name for part in program.parts(torch.device("cpu"), tiny=True, until=0)
    }
    assert "## Speed" in (tmp_path / "gpu.md").read_text()
