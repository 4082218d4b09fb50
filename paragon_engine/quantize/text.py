"""A report as tables for a terminal, and as a document."""

from __future__ import annotations

from .report import QuantizationReport

Rows = list[tuple[str, ...]]


def layer_rows(report: QuantizationReport) -> Rows:
    """One line for each layer, in the order of the graph, the header first."""
    rows = [
        (layer.name, layer.precision, f"{layer.loss_db:.3f}", f"{100 * layer.work:.1f} %") for layer in report.layers
    ]
    return [("layer", "precision", "loss alone (dB)", "work"), *rows]


def speed_rows(report: QuantizationReport) -> Rows:
    """One line for each runtime, the header first."""
    rows = [
        (item.backend, f"{1000 * item.fp32:.1f}", f"{1000 * item.quantized:.1f}", f"{item.ratio:.2f}x")
        for item in report.speeds
    ]
    return [("runtime", "FP32 (ms)", f"{report.kind.upper()} (ms)", "speed-up"), *rows]


def picture_rows(report: QuantizationReport) -> Rows:
    """One line for each measured picture, the header first."""
    rows = [(item.name, f"{item.psnr:.2f}", f"{item.loss_db:.3f}", f"{item.ssim_loss:.4f}") for item in report.pictures]
    return [("picture", "PSNR of FP32 (dB)", "loss (dB)", "loss of SSIM"), *rows]


def summary(report: QuantizationReport) -> list[str]:
    """What matters, in sentences."""
    source = report.calibration
    ranges = (
        "ranges from quantisation-aware training"
        if report.method == "checkpoint"
        else f"{report.method}, {source['crops']} crops of {source['pictures']} pictures (set {source['sha256'][:12]})"
    )
    loss = (
        f"loss on {len(report.pictures)} pictures that were not calibrated on: {report.loss_db:.3f} dB of PSNR, "
        f"{report.ssim_loss:.4f} of SSIM"
    )
    lines = [f"{report.kind.upper()}: {100 * report.quantized_work:.0f} % of the work; {ranges}", loss]
    lines += [f"not measured: {name}: {reason}" for name, reason in report.unmeasured.items()]
    return [*lines, report.verdict]


def conditions(report: QuantizationReport) -> str:
    """Where the speed was measured."""
    facts = report.machine
    size = f", input {report.speeds[0].size} x {report.speeds[0].size}" if report.speeds else ""
    return f"{facts['processor']} ({facts['int8']}), {facts['system']}, {facts['threads']} threads{size}"


def markdown(report: QuantizationReport, *, plot: str | None = None) -> str:
    """The report as a document.

    Args:
        report: what was measured.
        plot: path of the plot, relative to the document.
    """
    parts = ["# Quantisation report", *summary(report)]
    if plot is not None:
        parts.append(f"![Loss of each layer quantised alone]({plot})")
    parts += ["## Layers", _table(layer_rows(report)), "## Pictures", _table(picture_rows(report))]
    if report.speeds:
        parts += ["## Speed", conditions(report), _table(speed_rows(report))]
    return "\n\n".join(parts) + "\n"


def _table(rows: Rows) -> str:
    header, *body = rows
    lines = [header, tuple("---" for _ in header), *body]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
