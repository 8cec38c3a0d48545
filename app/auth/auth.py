"""Authentication of one process: keys, tokens and usage together."""

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

_THREADS = 4  # the size of the database's connection pool


class Auth:
    """Keys, tokens and usage, opened from the settings."""

    def __init__(self, settings: AuthSettings, data_dir: Path) -> None:
        """KeysMisconfigured if the settings are not usable. The database need not be reachable yet."""
        audit.open_log(settings.audit_file)
        records = open_records(settings, data_dir)
        self.keys, self.used = records.keys, records.usage
        self.usage = Usage(records.usage)
        self.database = records.database
        # A separate pool: waiting for the database must not delay the parsing of bodies.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="auth")
        environment = EnvironmentKeys((key.get_secret_value() for key in settings.keys), records.pepper)
        self.issuer: Jwks | None = None
        tokens = None
        if settings.jwt.taken:
            from app.auth.tokens import Tokens  # imported late: cryptography takes memory

            tokens = Tokens(settings.jwt, self.in_thread)
            self.issuer = tokens.issuer
        self.authenticator = Authenticator([environment, records.keys], records.pepper, self.in_thread, tokens)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work in a thread and return its result. Its log lines keep the request's context."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, copy_context().run, work)

    async def run(self) -> None:
        """Open the database, and write usage every second, until cancelled."""
        try:
            await self.in_thread(self.database.open)
        except KeysUnavailable:
            pass  # the database logged it, and is opened again on the next use
        except Exception:  # worker boundary: the next use of the database may succeed
            log.exception("the database of keys could not be opened")
        await self.usage.keep_writing(self.in_thread)

    async def close(self) -> None:
        """Write the remaining usage and close the database."""
        try:
            await self.in_thread(self.usage.write)
        except KeysUnavailable as error:
            log.warning("%d rows of usage are lost with this process: %s", self.usage.counts().waiting, error.reason)
        finally:
            self._threads.shutdown()
            self.database.close()
