"""Telling what a file is from its first bytes, whatever its name says."""

from __future__ import annotations

from typing import Literal

from ..errors import CorruptCheckpointError, UnsupportedFormatError

Kind = Literal["safetensors", "zip", "pickle", "unknown"]

HEAD_SIZE = 512
"""Bytes of the file's beginning that `sniff` wants to see."""

_DOWNLOAD = "the download failed; download the file itself again"
_UNPACK = "unpack it and use the checkpoint inside"
_NOT_A_MODEL = "choose a .safetensors or .pth checkpoint"

_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run `git lfs pull` or download it again"),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"BZh", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", "an xz archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x89PNG\r\n", "a PNG image", _NOT_A_MODEL),
    (b"\xff\xd8\xff", "a JPEG image", _NOT_A_MODEL),
    (b"GIF8", "a GIF image", _NOT_A_MODEL),
    (b"RIFF", "a WebP image or another RIFF file", _NOT_A_MODEL),
    (b"%PDF", "a PDF document", _NOT_A_MODEL),
    (b"\x89HDF", "an HDF5 file", _NOT_A_MODEL),
    (b"\x93NUMPY", "a NumPy array", _NOT_A_MODEL),
    (b"GGUF", "a GGUF file", _NOT_A_MODEL),
    (b"ftrt", "a TensorRT engine", "use the checkpoint that it was built from"),
    (b"\x7fELF", "a program", _NOT_A_MODEL),
    (b"MZ", "a Windows program", _NOT_A_MODEL),
)
_ONNX_FIELDS = b"\x12\x1a\x22\x28\x32\x3a\x42"
"""Tags of the fields that may follow ir_version in an ONNX ModelProto: producer, domain, version, doc, graph, opset."""


def sniff(head: bytes) -> Kind:
    """Kind of a file that begins with these (up to `HEAD_SIZE`) bytes.

    ``"pickle"`` is one that starts with a protocol marker; older pickles are ``"unknown"``.

    Raises:
        CorruptCheckpointError: the file is empty, or an empty zip archive.
        UnsupportedFormatError: it is recognised as something else than a checkpoint; the message says what.
    """
    if not head:
        raise CorruptCheckpointError("the file is empty; download or save it again")
    if head[8:9] == b"{" and head[5:8] == b"\0\0\0":
        return "safetensors"
    if head.startswith(b"PK\x03\x04"):
        return "zip"
    if head.startswith(b"PK\x05\x06"):
        raise CorruptCheckpointError("an empty zip archive; save the checkpoint again")
    if head[0] == 0x80 and len(head) > 1 and head[1] <= 5:
        return "pickle"
    _refuse_foreign(head)
    return "unknown"


def _refuse_foreign(head: bytes) -> None:
    for magic, what, cure in _FOREIGN:
        if head.startswith(magic):
            raise UnsupportedFormatError(f"this is {what}: {cure}")
    if head[257:262] == b"ustar":
        raise UnsupportedFormatError(f"this is a tar archive: {_UNPACK}")
    if head[:1] == b"\x08" and head[1:2] <= b"\x20" and head[2:3] and head[2] in _ONNX_FIELDS:
        raise UnsupportedFormatError("this is an ONNX model: use the checkpoint that it was exported from")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise UnsupportedFormatError(f"this is a web page (HTML), not a model: {_DOWNLOAD}")
    if text.startswith((b"{", b"[")):
        raise UnsupportedFormatError(f"this is JSON text, not a model: {_DOWNLOAD}")
