"""A page that shows pictures before and after under a slider."""

from __future__ import annotations

import hashlib
import html
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from paragon_arch.errors import ImageError
from paragon_arch.files.atomic import atomic_path, make_folder
from paragon_arch.files.records import printable

from ..pictures import Picture, Pixels, read_image, to_bytes
from ..pictures.resample import resized
from ..progress import Progress, log
from .compare import detailed_part, enlarged, shown

PREVIEW = 1400
"""Longest side of the whole pictures on the page."""
CROP = 480
"""Longest side of the part that is shown pixel for pixel."""

_PAGE = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1480px; padding: 0 1rem;
  background: #16181c; color: #e6e6e6 }}
h1 {{ font-size: 1.4rem }} h2 {{ font-size: 1rem; margin: 2rem 0 .5rem; overflow-wrap: anywhere }}
.pair {{ display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start }}
.slider {{ position: relative; overflow: hidden; --at: 50%; max-width: 100%; line-height: 0 }}
.slider img {{ max-width: 100%; max-height: 80vh; height: auto; user-select: none }}
.slider .before {{ position: absolute; inset: 0; width: 100%; height: 100%;
  clip-path: inset(0 calc(100% - var(--at)) 0 0) }}
.slider::after {{ content: ""; position: absolute; top: 0; bottom: 0; left: var(--at); width: 2px; margin-left: -1px;
  background: #fff; pointer-events: none }}
.slider span {{ position: absolute; bottom: .4rem; padding: 0 .4rem; background: #000a; font-size: .8rem;
  line-height: 1.5; pointer-events: none }}
.slider .was {{ left: .4rem }} .slider .is {{ right: .4rem }}
input {{ position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: ew-resize }}
input:focus-visible {{ opacity: .25 }}
</style></head><body>
<h1>{title}</h1>
<p>{count} pictures. Left of the line: the input, enlarged bicubically. Right: the result.
Drag, or use the arrow keys.</p>
{entries}
<script>
for (const input of document.querySelectorAll("input"))
  input.addEventListener("input", () => input.parentNode.style.setProperty("--at", input.value + "%"));
</script>
</body></html>
"""
_ENTRY = (
    '<section><h2>{name} <small>{before} → {after}{note}</small></h2><div class="pair">{whole}{part}</div></section>'
)
_SLIDER = (
    '<div class="slider"><img src="{after}" alt="after" loading="lazy"><img class="before" src="{before}" alt="before"'
    ' loading="lazy"><span class="was">before</span><span class="is">after</span>'
    '<input type="range" min="0" max="100" step="0.5" value="50" aria-label="{label}"></div>'
)


def write_report(
    pairs: Iterable[tuple[Path, Path]],
    path: Path,
    *,
    overwrite: bool = False,
    note: Callable[[Picture], str] | None = None,
    progress: Progress | None = None,
) -> int:
    """Write an HTML page and, in the folder ``NAME_files`` beside it, the pictures that it shows.

    Each pair is shown as a whole, and its most detailed part pixel for pixel. One pair is in memory at a time; one that
    cannot be read is left out with a note.

    Args:
        pairs: inputs and their results.
        path: of the page.
        overwrite: replace an existing page.
        note: what to say about an input beside its name.
        progress: may cancel.

    Returns:
        Number of pairs on the page.

    Raises:
        OutputExistsError: the page exists and ``overwrite`` is False.
        OutputError: it cannot be written.
        CancelledError: progress was cancelled; there is no page then.
    """
    progress = progress or Progress()
    with atomic_path(path, overwrite=overwrite) as temporary:
        files = path.with_name(path.stem + "_files")
        make_folder(files)
        entries: list[str] = []
        for source, target in pairs:
            progress.raise_if_cancelled()
            try:
                entries.append(_entry(source, target, files, note))
            except ImageError as error:
                log.warning("left out of the report: %s", error)
        page = _PAGE.format(title=html.escape(printable(path.stem)), count=len(entries), entries="\n".join(entries))
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")
    return len(entries)


def _entry(source: Path, target: Path, files: Path, note: Callable[[Picture], str] | None) -> str:
    before, after = read_image(source), read_image(target, max_pixels=2**31)
    old, new = enlarged(before, after.size), shown(after)
    left, top, (width, height) = detailed_part(new, CROP)
    part = slice(top, top + height), slice(left, left + width)
    name = f"{printable(target.stem)[:40]}-{hashlib.sha256(os.fsencode(target)).hexdigest()[:8]}"
    return _ENTRY.format(
        name=html.escape(printable(target.name)),
        before="{} × {}".format(*before.size),
        after="{} × {}".format(*after.size),
        note=html.escape(f"; {note(before)}") if note is not None else "",
        whole=_slider(_reduced(old), _reduced(new), files, name),
        part=_slider(old[part], new[part], files, name + "-part"),
    )


def _slider(before: Pixels, after: Pixels, files: Path, name: str) -> str:
    links: dict[str, str] = {}
    for kind, pixels in (("before", before), ("after", after)):
        file = files / f"{name}-{kind}.webp"
        with atomic_path(file, overwrite=True) as temporary:
            Image.fromarray(to_bytes(pixels)).save(temporary, format="WEBP", quality=92)
        links[kind] = html.escape(quote(os.fsencode(f"{files.name}/{file.name}")))
    return _SLIDER.format(label=html.escape(name), **links)


def _reduced(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    factor = PREVIEW / max(height, width)
    return pixels if factor >= 1 else resized(pixels, (max(1, round(width * factor)), max(1, round(height * factor))))
