"""A signature covers every file of a release, and no key but the signer's checks it."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.cli import main
from deploy.exit_codes import ExitCode
from paragon_arch.errors import CheckpointNotFoundError, CorruptCheckpointError, InvalidOptionError
from paragon_engine.release.signing import SIGNATURE, check_signature, sign

pytest.importorskip("model_signing")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key."""
    private = ec.generate_private_key(ec.SECP256R1())
    secret, public = folder / f"{name}.pem", folder / f"{name}.pub"
    pem = serialization.Encoding.PEM
    secret.write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return secret, public


def test_what_was_signed_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"weights")
    secret, public = keys(tmp_path, "author")
    _, stranger = keys(tmp_path, "stranger")
    with pytest.raises(CheckpointNotFoundError, match=r"model\.sig"):
        check_signature(folder, public)
    assert sign(folder, secret) == folder / SIGNATURE
    check_signature(folder, public)
    sign(folder, secret)
    assert main(["verify", str(folder), "--signature", str(public), "-q"]) == ExitCode.OK
    with pytest.raises(CorruptCheckpointError, match="stranger"):
        check_signature(folder, stranger)
    (folder / "more.onnx").write_bytes(b"of somebody else")
    with pytest.raises(CorruptCheckpointError):
        check_signature(folder, public)
    (folder / "more.onnx").unlink()
    check_signature(folder, public)
    (folder / "model.onnx").write_bytes(b"Weights")
    assert main(["verify", str(folder), "--signature", str(public), "-q"]) == ExitCode.CHECKPOINT
    with pytest.raises(InvalidOptionError, match="private key"):
        sign(folder, public)


def test_verify_wants_to_know_how() -> None:
    assert main(["verify", "model.onnx", "-q"]) == ExitCode.OPTION
