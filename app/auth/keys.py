"""Keys: how they are made, and what is kept of them."""

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

_FORM = re.compile(r"(qr_[a-z0-9]{8})_[\w-]{43}", re.ASCII)
_ALPHABET = string.ascii_lowercase + string.digits
_PEPPER_FILE = "pepper"
_SHORTEST = 32


def new_key() -> tuple[str, str]:
    """A random key of 256 bits, and its prefix, which may be shown."""
    prefix = "qr_" + "".join(secrets.choice(_ALPHABET) for _ in range(8))
    return f"{prefix}_{secrets.token_urlsafe(32)}", prefix


def prefix_of(text: str) -> str | None:
    """The prefix of what has a key's form."""
    found = _FORM.fullmatch(text)
    return found and found[1]


class Pepper:
    """The secret without which the kept hashes are of no use. It shows itself to nobody."""

    def __init__(self, secret: str) -> None:
        """Take the secret in plain text."""
        # As long as BLAKE2b takes keys.
        self._key = hashlib.blake2b(secret.encode("utf-8", "surrogatepass")).digest()

    def hash(self, text: str) -> bytes:
        """The keyed hash of a key or token. These are long and random, so a fast hash is as good as a slow one."""
        return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=self._key, digest_size=32).digest()

    def derive(self, use: str) -> bytes:
        """A secret for another use, 32 bytes; no key or token hashes to it."""
        return hashlib.blake2b(use.encode(), key=self._key, digest_size=32, person=b"qrerank-derived").digest()


def open_pepper(settings: AuthSettings, data_dir: Path) -> Pepper | None:
    """The pepper that the settings mean; None where nobody is asked for a key and none is set."""
    if settings.pepper:
        return Pepper(settings.pepper.get_secret_value())
    return pepper_in(data_dir) if settings.enabled else None


def pepper_in(folder: Path) -> Pepper:
    """The pepper in a folder's file, made where there is none; KeysMisconfigured where that cannot be."""
    path = folder / _PEPPER_FILE
    try:
        if not path.exists():
            _make(path)
        secret = path.read_text("utf-8", "replace").strip()
    except OSError as error:
        raise KeysMisconfigured(
            f"the file {path} can be neither read nor made ({error.strerror}): make the data folder (QRERANK_DATA_DIR) "
            "writable, or set QRERANK_AUTH__PEPPER"
        ) from error
    if len(secret) < _SHORTEST:
        raise KeysMisconfigured(f"the file {path} is no pepper any more: put the right one there, from a copy")
    return Pepper(secret)


def _make(path: Path) -> None:
    """Make the file whole or not at all, and never in the place of one that another process just made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{_PEPPER_FILE}")  # for the owner alone
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(handle)
    with suppress(FileExistsError):
        path.hardlink_to(name)
    Path(name).unlink()
