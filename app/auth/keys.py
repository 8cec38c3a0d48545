"""Generation and hashing of keys, and the pepper of the hashes."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import string
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import KeysMisconfigured

if TYPE_CHECKING:
    from app.auth.settings import AuthSettings

_FORMAT = re.compile(r"(qr_[a-z0-9]{8})_[\w-]{43}", re.ASCII)
_ALPHABET = string.ascii_lowercase + string.digits
_PEPPER_FILE = "pepper"
_MIN_CHARACTERS = 32


def new_key() -> tuple[str, str]:
    """A random key of 256 bits and its prefix. The prefix is not secret."""
    prefix = "qr_" + "".join(secrets.choice(_ALPHABET) for _ in range(8))
    return f"{prefix}_{secrets.token_urlsafe(32)}", prefix


def prefix_of(text: str) -> str | None:
    """The prefix of a key; None if the text does not have the format of a key."""
    match = _FORMAT.fullmatch(text)
    return match and match[1]


class Pepper:
    """The secret of the stored key hashes, which are useless without it. It is never shown."""

    def __init__(self, secret: str) -> None:
        """secret: in plain text."""
        # 64 bytes, the maximum length of a BLAKE2b key.
        self._key = hashlib.blake2b(secret.encode("utf-8", "surrogatepass")).digest()

    def hash(self, text: str) -> bytes:
        """The keyed hash of a key or token, 32 bytes. A fast hash is safe because keys are long and random."""
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()

    def derive(self, use: str) -> bytes:
        """A derived secret for another use, 32 bytes. No key or token has it as hash."""
        return hashlib.blake2b(use.encode(), key=self._key, digest_size=32, person=b"qrerank-derived").digest()


def open_pepper(settings: AuthSettings, data_dir: Path) -> Pepper | None:
    """The configured pepper, or the one of the data folder; None if none is set and authentication is off."""
    if settings.pepper:
        return Pepper(settings.pepper.get_secret_value())
    return pepper_in(data_dir) if settings.enabled else None


def has_file(folder: Path) -> bool:
    """Whether a folder holds the file of a pepper."""
    return (folder / _PEPPER_FILE).exists()


def pepper_in(folder: Path) -> Pepper:
    """The pepper in a folder's file, which is created if missing; KeysMisconfigured if it cannot be read or created."""
    path = folder / _PEPPER_FILE
    try:
        if not path.exists():
            _make(path)
        secret = path.read_text("utf-8", "replace").strip()
    except OSError as error:
        raise KeysMisconfigured(
            f"the file {path} can be neither read nor created ({error.strerror}): make the data folder "
            "(QRERANK_DATA_DIR) writable, or set QRERANK_AUTH__PEPPER"
        ) from error
    if len(secret) < _MIN_CHARACTERS:
        raise KeysMisconfigured(f"the file {path} is damaged: it contains no pepper; restore it from a backup")
    return Pepper(secret)


def _make(path: Path) -> None:
    """Create the file atomically. A file that another process has just created is kept."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{_PEPPER_FILE}")  # mode 0600
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(handle)
    with suppress(FileExistsError):
        path.hardlink_to(name)
    Path(name).unlink()
