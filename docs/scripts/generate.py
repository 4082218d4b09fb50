"""Make what the documents show of the code and its data: ``python -m docs.scripts.generate [--check]``.

The pictures of imports, the tables of layouts, models and metadata, the exit codes, the help pages of the nodes, and
the page of the benchmark from ``docs/benchmarks.json``. All of it is committed; ``--check`` only says what is out of
date (exit code 1), and a test does the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.run_all import DATA, DOCUMENT, PLOT, page
from deploy.exit_codes import MEANINGS
from paragon_arch.files.atomic import atomic_path

from . import help_pages, layout_tables, metadata_table, pictures
from .blocks import with_block

ROOT = Path(__file__).resolve().parents[2]


def exit_codes() -> str:
    """All exit codes of the command line."""
    rows = [("Code", "Meaning"), *((str(code.value), meaning) for code, meaning in MEANINGS.items())]
    return layout_tables.table(rows)


def generated(root: Path = ROOT) -> dict[Path, str]:
    """Every file of the documents that is made from code or data, as it should be."""
    blocks = {
        "README.md": {"models": layout_tables.shipped("models")},
        "docs/cli.md": {"exit codes": exit_codes()},
        "docs/upscaling.md": {"metadata": metadata_table.carried()},
        "docs/models.md": {
            "models": layout_tables.shipped("../models"),
            "layouts": layout_tables.overview(),
            "detection": layout_tables.detection(),
        },
    }
    files = {root / "docs/images" / name: text for name, text in pictures.pictures().items()}
    files |= help_pages.pages(root)
    for name, contents in blocks.items():
        text = (root / name).read_text(encoding="utf-8")
        for block, content in contents.items():
            text = with_block(text, block, content)
        files[root / name] = text
    if (root / DATA).is_file():
        document, plot = page((root / DATA).read_text(encoding="utf-8"))
        files |= {root / DOCUMENT: document, root / PLOT: plot}
    return files


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; say what is out of date")
    args = parser.parse_args()
    stale = {file: text for file, text in generated().items() if not file.is_file() or file.read_text("utf-8") != text}
    for file, text in stale.items():
        print(file.relative_to(ROOT), "is out of date" if args.check else "written")
        if not args.check:
            file.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(file, overwrite=True) as temp:
                temp.write_text(text, encoding="utf-8")
    return int(args.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
