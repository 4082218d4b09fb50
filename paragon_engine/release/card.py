"""The model card and the manifest of a release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .settings import ReleaseSettings

Results = Mapping[str, Mapping[str, Any]]
"""Results of all steps by name."""

TITLES = {
    "fuse": "fused checkpoint",
    "fp32": "ONNX, FP32",
    "fp16": "ONNX, FP16",
    "int8": "ONNX, INT8",
    "video_fp32": "ONNX for video, FP32",
    "video_fp16": "ONNX for video, FP16",
}
"""Steps that make an artefact."""


def card(settings: ReleaseSettings, results: Results, sizes: Mapping[str, int]) -> str:
    """The card in Markdown.

    Args:
        settings: what was released.
        results: of every step.
        sizes: bytes of each file.
    """
    model = results["fuse"]["model"]
    parts = [f"# {settings.title or settings.stem}"]
    parts += [settings.description] if settings.description else []
    parts += ["\n".join(_facts(settings, model)), *_samples(results)]
    parts += ["## Files", "\n".join(_files(results, sizes)), *_failures(results)]
    parts += [
        "## Proof",
        _PROOF.format(pictures=results["fp32"]["verification"]["pictures"]),
        "\n".join(_proof(results)),
    ]
    parts += [*_quantization(results), *_speed(results), "## Use", _use(settings, results), *_tensorrt(results)]
    parts += [*(f"Note: {problem}." for problem in model["problems"])]
    return "\n\n".join(parts) + "\n"


_PROOF = """\
Each file was compared with the checkpoint as it was trained, before it got its name: on {pictures}, reduced by the
model's scale so that they are their own ground truth, and at six odd sizes (17 x 23, 8 x 513, 61 x 5, ...). Difference
and PSNR are between the two outputs, the worst of all inputs; losses are the mean change against the ground truth,
luma, 8 bits, and negative where the file is better."""


def _facts(settings: ReleaseSettings, model: Mapping[str, Any]) -> Iterator[str]:
    made_by = settings.export.credits
    rows = [
        ("architecture", f"{model['generation']} by Philip Hofmann, layout {model['layout']}"),
        ("variant", model["variant"]),
        *(
            (name.replace("_", " "), _plain(item["value"]))
            for name, item in model["values"].items()
            if item["value"] is not None
        ),
        ("parameters", f"{model['parameters']:,}"),
        ("input", "RGB, 0..1, (N, 3, H, W), any size"),
        ("looks at", _field(model["receptive_field"])),
        ("author", made_by.author or "not stated"),
        ("licence", made_by.license or "not stated"),
        ("made from", f"`{model['source']}`, sha256 `{model['source_sha256']}`"),
        ("date", model["date"]),
    ]
    yield from _table([("", ""), *rows])


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _field(radius: int | None) -> str:
    return "the whole image or a window grid" if radius is None else f"{radius} pixels around each pixel"


def _samples(results: Results) -> list[str]:
    return [
        f"![A part of a picture: bicubic, each file's result, original]({name})" for name in results["samples"]["files"]
    ]


def _files(results: Results, sizes: Mapping[str, int]) -> Iterator[str]:
    rows = [("file", "what", "size", "notes")]
    for step, title in TITLES.items():
        found = results.get(step, {})
        if "file" in found:
            size = f"{sizes[found['file']] / 1000:,.0f} kB"
            rows.append((f"`{found['file']}`", title, size, "; ".join(found.get("notes", ()))))
    if "engines" in results:
        rows.append((f"`{results['engines']['file']}`", "TensorRT commands", "", ""))
    rows.append(("`manifest.json`", "SHA-256 and figures of everything", "", ""))
    yield from _table(rows)


def _failures(results: Results) -> list[str]:
    return [
        f"**No {title} file**: {results[step]['failed']}."
        for step, title in TITLES.items()
        if "failed" in results.get(step, {})
    ]


def _proof(results: Results) -> Iterator[str]:
    rows = [("file", "max. difference", "PSNR", "loss in PSNR", "loss in SSIM")]
    for step in TITLES:
        found = results.get(step, {})
        if "file" in found:
            proof = found["verification"]
            cells = (_figure(proof["max_abs"]), _figure(proof["psnr"], " dB"), _figure(proof["loss_db"], " dB"))
            rows.append((f"`{found['file']}`", *cells, _figure(proof["loss_ssim"])))
    yield from _table(rows)


def _figure(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:.3g}{unit}"


def _quantization(results: Results) -> list[str]:
    report = results.get("int8", {}).get("quantization")
    if report is None:
        return []
    rows = [("layer", "precision", "loss alone", "share of the work")]
    rows += [
        (f"`{item['name']}`", item["precision"], f"{item['loss_db']:.3f} dB", f"{item['work']:.1%}")
        for item in report.get("layers", ())
    ]
    text = (
        f"{_ranges(report)} "
        f"{report['quantized_work']:.0%} of the arithmetic is in INT8. Loss: {report['loss_db']:.3f} dB."
    )
    return ["## INT8", text, "\n".join(_table(rows))]


def _ranges(report: Mapping[str, Any]) -> str:
    """Where the ranges of the activations come from."""
    if report["method"] == "checkpoint":
        return "The ranges are those that training left in the checkpoint; nothing was calibrated."
    calibration = report["calibration"]
    return (
        f"Calibrated by {report['method']} on {calibration.get('pictures', '?')} pictures (sha256 "
        f"`{str(calibration.get('sha256', ''))[:16]}`), none of which it was verified on."
    )


def _speed(results: Results) -> list[str]:
    found = results.get("speed")
    if found is None:
        return []
    rows = [("file", "runtime", "ms", "against FP32 on it")]
    fp32 = results["fp32"]["file"]
    baseline = {runtime: time for file, runtime, time in found["timings"] if file == fp32}
    for file, runtime, time in found["timings"]:
        rows.append(
            (f"`{file}`", runtime, f"{time:g}", f"{baseline[runtime] / time:.2f}x" if runtime in baseline else "")
        )
    text = f"One image of 256 x 256, medians, in turns, on {found['machine']}. Another machine has another order."
    return ["## Speed", text, "\n".join(_table(rows)), *_verdict(results, found["timings"])]


def _verdict(results: Results, timings: Sequence[Sequence[Any]]) -> list[str]:
    """Whether INT8 pays on the machine that measured."""
    int8 = results.get("int8", {}).get("file")
    times = {file: min(time for name, _, time in timings if name == file) for file, _, _ in timings}
    if int8 is None or int8 not in times:
        return []
    ratio = times[results["fp32"]["file"]] / times[int8]
    if ratio >= 1.05:
        return [f"INT8 pays here: {ratio:.2f} times as fast as FP32, each on its fastest runtime."]
    return [_PAYS_NOT.format(ratio=ratio)]


_PAYS_NOT = """\
INT8 does not pay here ({ratio:.2f} times FP32's speed): use FP32 on such a machine. It is meant for CPUs with VNNI or
AMX in OpenVINO, for NVIDIA GPUs through TensorRT, and for NPUs."""


def _use(settings: ReleaseSettings, results: Results) -> str:
    fused = results["fuse"]["file"]
    return f"""\
- ComfyUI and chaiNNer: put `{fused}` where upscale models go; the extension comfyui-paragonsr loads it.
- Any ONNX runtime: input `input`, output `output`, RGB in 0..1, not clamped; clamp the output yourself.

```python
import numpy, onnxruntime
session = onnxruntime.InferenceSession("{results["fp32"]["file"]}")
(enlarged,) = session.run(["output"], {{"input": image.astype(numpy.float32)}})  # (N, 3, H, W)
```"""


def _tensorrt(results: Results) -> list[str]:
    found = results.get("engines")
    if found is None:
        return []
    file = next(iter(found["commands"]))
    chosen = found["commands"].get(results.get("fp16", {}).get("file", file), found["commands"][file])
    text = f"```sh\n# TensorRT 10.x\n{chosen['10']}\n# TensorRT 11.x\n{chosen['11']}\n```"
    return ["## TensorRT", text]


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    header, *body = rows
    for row in (header, ["---"] * len(header), *body):
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |"
