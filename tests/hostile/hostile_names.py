"""Names that try to lead out of a folder, or that some system cannot have."""

from __future__ import annotations

NAMES: tuple[str, ...] = (
    # Upwards.
    "../evil", "../../evil", "../../../../../../../../tmp/evil", "..", ".", "./..", "a/../../evil", "a/b/../../../evil",
    "./../evil", "a/./../../evil", ".../../evil", "..//evil", "a//..//..//evil", "..\\evil", "..\\..\\evil",
    "a\\..\\..\\evil", "a/..\\../evil", "..\\/evil", "../", "..\\", "evil/..", "evil/../..",
    # Absolute.
    "/evil", "/tmp/paragonsr_evil", "//evil", "///evil", "\\evil", "\\\\evil", "/", "\\", "/etc/passwd",
    "/proc/self/mem", "/dev/null", "/dev/shm/paragonsr_evil",
    # Of other systems.
    "C:\\evil", "C:evil", "C:/evil", "c:", "\\\\server\\share\\evil", "//server/share/evil", "\\\\?\\C:\\evil",
    "\\\\.\\PhysicalDrive0", "CON", "NUL", "aux.txt", "COM1", "LPT1.safetensors", "evil:stream", "evil::$DATA",
    # Of shells, addresses and encodings.
    "~/evil", "~root/evil", "$HOME/evil", "%APPDATA%\\evil", "%2e%2e%2fevil", "..%2fevil", "file:///tmp/evil",
    "http://example.org/evil", "|touch evil", "$(touch evil)", "`touch evil`", "; touch evil", "-rf",
    # Characters.
    "evil\0.png", "\0", "evil\n../evil", "\u2024\u2024/evil", "\uff0e\uff0e/evil", "..\u2215evil", "..\u2044evil",
    "\u202eevil", "\ud800evil", "a" * 300, "a/" * 200 + "evil", "", " ", "\t", "<script>alert(1)</script>",
    # Through links that the folder has.
    "link/evil", "link/../evil", "link/../../evil", "file_link", "loop/evil", "loop",
)  # fmt: skip
