"""A real Milvus for tests: the program of PyPI's `milvus`, which keeps its data in a folder."""

import os
import signal
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.waiting import eventually


class MilvusProcess:
    """A standalone Milvus. It may be killed, stopped for a while and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        """Start it. folder: for its data."""
        from milvus import MilvusServer

        self._server = MilvusServer(wait_for_started=False)
        self._server.set_base_dir(str(folder))
        self.start()
        config = self._server.config
        ports = {key: config.get(key) for key in config.configurable_items if key.endswith("_port")}
        config.configs.update(ports)  # it gets them again when it is started again
        self.port = ports["proxy_port"]

    @property
    def url(self) -> str:
        """As QRERANK_INDEX__URL has it."""
        return f"milvus://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self._server.start()
        eventually(self._is_healthy)

    def _is_healthy(self) -> bool:
        assert self._server.server_proc.poll() is None, "Milvus ended; its log is in its folder"
        with (
            suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self._server.webservice_port}/healthz", timeout=5) as answer,
        ):
            return b"OK" in answer.read()
        return False

    def kill(self) -> None:
        """End it without a warning. It ends by a mere SIGTERM only after many seconds, if at all."""
        self.send(signal.SIGKILL)
        self._server.server_proc.wait()

    def send(self, number: int) -> None:
        """Send a signal: SIGSTOP lets it hang, SIGCONT go on."""
        os.kill(self._server.server_proc.pid, number)

    def close(self) -> None:
        """End it for good."""
        with suppress(ProcessLookupError):
            self.kill()
        self._server.stop()
