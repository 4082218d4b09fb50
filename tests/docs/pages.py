"""All documents, and the code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(file for file in [ROOT / "SECURITY.md"] if file.is_file()),
    ROOT / "training/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "models").glob("*.md")),
    *sorted((ROOT / "web/docs").rglob("*.md")),
]
SHELL = ("bash", "sh", "console")
PROGRAM = re.compile(
    r"(\$ )?((?P<variables>([A-Z_]+=\S+ )+)?)(paragonsr|python|PYTHON|pip|mkdocs|torchrun|trtexec|\.ci/run)( |$)"
)
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """A command line of a document."""

    line: str
    place: str
    """Where it stands first."""
    mention: bool
    """It stands within a sentence, and may name a command without its arguments."""


def fences(text: str) -> Iterator[tuple[str, str]]:
    """(language, text) of each fenced block."""
    yield from ((match["language"], match["text"]) for match in FENCE.finditer(text))


def lines(block: str) -> Iterator[str]:
    """The commands of a block: without comments and prompts, and with continued lines joined."""
    for line in block.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s+)#.*", "", line).strip()
        if command:
            yield re.sub(r"\s+", " ", command.removeprefix("$ "))


def examples() -> list[Example]:
    """Every command line of every document and of the help texts, once."""
    found: dict[str, Example] = {}
    for page in PAGES:
        place = page.relative_to(ROOT).as_posix()
        text = page.read_text(encoding="utf-8")
        for language, block in fences(text):
            for line in lines(block):
                if language in SHELL or (
                    not language and PROGRAM.match(line) and "[" not in line and "..." not in line
                ):
                    found.setdefault(line, Example(line, place, mention=False))
        for span in re.findall(r"`([^`]+)`", FENCE.sub("", text)):
            line = " ".join(span.split())
            if PROGRAM.match(line) and line not in found:
                found[line] = Example(line, place, mention=True)
    for command in COMMANDS:
        for line in lines(command.examples.replace("%(prog)s", f"paragonsr {command.name}")):
            found.setdefault(line, Example(line, f"paragonsr {command.name} --help", mention=False))
    return list(found.values())


def synopses() -> Iterator[tuple[str, str]]:
    """(name of the command, its synopsis) of every synopsis in docs/cli.md."""
    for language, block in fences((ROOT / "docs/cli.md").read_text(encoding="utf-8")):
        if not language and "[" in block:
            for text in re.split(r"^(?=paragonsr )", block, flags=re.MULTILINE):
                if text.startswith("paragonsr "):
                    yield text.split()[1], text
