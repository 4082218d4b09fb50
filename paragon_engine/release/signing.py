"""Signatures of whole releases, by OpenSSF's model-signing: who made a folder, and that nothing in it has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from paragon_arch.errors import CheckpointNotFoundError, CorruptCheckpointError, InvalidOptionError
from paragon_arch.files.atomic import atomic_path

from ..packages import require

SIGNATURE = "model.sig"
"""Name of the signature in the folder; it is not part of what is signed."""


def sign(folder: Path, key: Path) -> Path:
    """Sign every file of a folder.

    Args:
        folder: a finished release.
        key: private key of an elliptic curve, in PEM, without a password.

    Returns:
        The signature, a Sigstore bundle.

    Raises:
        InvalidOptionError: the key cannot be used, or the package model-signing is missing.
        OutputError: the signature cannot be written.
    """
    signing = require("model_signing", "signing a release").signing
    try:
        config = signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(_hashing(folder))
    except Exception as error:  # the package's errors share no base class
        raise InvalidOptionError(f"{key}: not a private key that signs ({error}): give one of an elliptic curve, in PEM"
                                 ) from error  # fmt: skip
    with atomic_path(folder / SIGNATURE, overwrite=True) as temporary:
        config.set_hashing_config(_hashing(folder, temporary)).sign(folder, temporary)
    return folder / SIGNATURE


def check_signature(folder: Path, key: Path) -> None:
    """Hold a folder against its signature.

    Args:
        folder: with `SIGNATURE`.
        key: the signer's public key, in PEM.

    Raises:
        CheckpointNotFoundError: there is no signature.
        CorruptCheckpointError: it is not of this key, or a file is missing, changed or was added.
        InvalidOptionError: the key cannot be read, or the package model-signing is missing.
    """
    if not (folder / SIGNATURE).is_file():
        raise CheckpointNotFoundError(f"{folder}: has no signature ({SIGNATURE})")
    verifying = require("model_signing", "checking a signature").verifying
    try:
        config = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except Exception as error:  # the package's errors share no base class
        raise InvalidOptionError(f"{key}: not a public key ({error}): give one of an elliptic curve, in PEM") from error
    try:
        config.set_hashing_config(_hashing(folder)).verify(folder, folder / SIGNATURE)
    except Exception as error:
        raise CorruptCheckpointError(f"{folder}: is not as it was signed by {key.name}: {error}") from error


def _hashing(folder: Path, *others: Path) -> Any:
    hashing = require("model_signing", "signing a release").hashing
    return hashing.Config().set_ignored_paths(paths=[folder / SIGNATURE, *others], ignore_git_paths=False)
