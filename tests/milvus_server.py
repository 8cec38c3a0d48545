"""A real Milvus for tests: the program of PyPI's `milvus`, which keeps its data in a folder."""

import os
import signal
import subprocess
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.waiting import eventually


class MilvusProcess:
    """A standalone Milvus. It may be killed, stopped for a while and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        """Start it. folder: for its data and its log."""
        from milvus import MilvusServer, MilvusServerConfig, _initialize_data_files

        config = MilvusServerConfig(data_dir=str(folder))
        config.resolve()
        metrics, reserved = config.resolve_port(9091)
        reserved.close()
        _initialize_data_files(str(folder))
        self._folder, self._program = folder, MilvusServer(config).get_milvus_executable_path()
        self.url = f"milvus://127.0.0.1:{config.get('proxy_port')}"  # as QRERANK_INDEX__URL has it
        self._health = f"http://127.0.0.1:{metrics}/healthz"
        self._environment = os.environ | {
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(metrics),
            "MILVUS_RUN_DIR": str(folder / "run"),
            "LD_LIBRARY_PATH": str(Path(self._program).parent),
        }
        self.start()

    def start(self) -> None:
        """Start it, and wait until it serves."""
        with (self._folder / "milvus.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [self._program, "run", "standalone"], cwd=self._folder, env=self._environment, stdout=log, stderr=log
            )
        eventually(self._is_healthy)

    def _is_healthy(self) -> bool:
        assert self.is_running(), f"Milvus ended, perhaps because another one uses port 2380; see {self._folder}"
        with suppress(OSError), urllib.request.urlopen(self._health, timeout=5) as answer:  # noqa: S310 - our own
            return b"OK" in answer.read()
        return False

    def is_running(self) -> bool:
        """Whether its process is there."""
        return self._process.poll() is None

    def hang(self) -> None:
        """Let it keep its connections and answer nothing."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it without a warning. It ends by a mere SIGTERM only after many seconds, if at all."""
        self._process.kill()
        self._process.wait()

    def revive(self) -> None:
        """Start it again if it was killed, and let it go on if it hangs."""
        if self.is_running():
            self._process.send_signal(signal.SIGCONT)
        else:
            self.start()
