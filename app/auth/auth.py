"""Everything that lets callers in, for one process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from app.auth import audit
from app.auth.authenticator import Authenticator
from app.auth.environment import EnvironmentKeys
from app.auth.settings import AuthSettings
from app.auth.stores import open_records
from app.auth.usage import Usage
from app.errors import KeysUnavailable

if TYPE_CHECKING:
    from app.auth.jwks import Jwks

T = TypeVar("T")
log = logging.getLogger(__name__)

_THREADS = 4  # as many as the database takes connections


class Auth:
    """Keys, tokens and usage, opened from the settings."""

    def __init__(self, settings: AuthSettings, data_dir: Path) -> None:
        """KeysMisconfigured where the settings do not do. The database need not answer yet."""
        audit.open_log(settings.audit_file)
        records = open_records(settings, data_dir)
        self.keys, self.used = records.keys, records.usage
        self.usage = Usage(records.usage)
        self.database = records.database
        # Of its own: what waits for the database must not keep bodies from being parsed.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="auth")
        environment = EnvironmentKeys((key.get_secret_value() for key in settings.keys), records.pepper)
        self.issuer: Jwks | None = None
        tokens = None
        if settings.jwt.taken:
            from app.auth.tokens import Tokens  # not before: cryptography takes memory

            tokens = Tokens(settings.jwt, self.in_thread)
            self.issuer = tokens.issuer
        self.authenticator = Authenticator([environment, records.keys], records.pepper, self.in_thread, tokens)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """What work that may block gives; what it logs is of the request that asked for it."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work)

    async def run(self) -> None:
        """Open the database, and write usage every second, until cancelled."""
        try:
            await self.in_thread(self.database.open)
        except KeysUnavailable:
            pass  # the database said so in the log, and is asked again
        except Exception:  # worker boundary: what fails now may go well when somebody asks for a key
            log.exception("the database of keys could not be opened")
        await self.usage.keep_writing(self.in_thread)

    async def close(self) -> None:
        """Write what is left of usage, and let go of the database."""
        try:
            await self.in_thread(self.usage.write)
        except KeysUnavailable as error:
            log.warning("%d rows of usage are lost with this process: %s", self.usage.counts().waiting, error.reason)
        finally:
            self._threads.shutdown()
            self.database.close()
