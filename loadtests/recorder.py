"""Writes down every request of a Locust run, in one process or many; what workers saw, their master collects.

Only Locust's processes import this: Locust rewrites the standard library's sockets where it is imported.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests.answers import Refused
from loadtests.run import Mark, Outcome, Run, Sample

_FIELD = "qrerank_samples"  # of a worker's report


class Recorder:
    """What was seen since the start."""

    def __init__(self, environment: Environment, shape: str, result: Path | None) -> None:
        """Listen to a Locust environment; the run is saved to `result` in the end."""
        self.run = Run(shape, time.time(), time.time())
        self._environment, self._result = environment, result
        self._messages: Counter[str] = Counter()
        events = environment.events
        events.test_start.add_listener(self._start)
        events.request.add_listener(self._request)
        events.report_to_master.add_listener(self._report)
        events.worker_report.add_listener(self._take)
        events.test_stopping.add_listener(self._end)
        events.test_stop.add_listener(self._save)
        events.quitting.add_listener(self._save)  # again: workers report once more when they are done

    def mark(self, users: int) -> None:
        """So many users are asked for from now on."""
        marks = self.run.marks
        if not marks or marks[-1].users != users:
            marks.append(Mark(time.time(), users, bool(marks) and users < marks[-1].users))
        self.run.users.append((time.time(), self._environment.runner.user_count if self._environment.runner else 0))

    def _start(self, **_: Any) -> None:
        self.run = Run(self.run.shape, time.time(), time.time())
        self._messages.clear()

    def _request(
        self,
        name: str,
        response_time: float,
        exception: Exception | None,
        start_time: float,
        context: dict[str, Any],
        **_: Any,
    ) -> None:
        outcome: Outcome = "cut" if context.get("cut") else "ok"
        if exception is not None:
            outcome = "refused" if isinstance(exception, Refused) else "failed"
            self._messages[f"{name}: {exception}"] += 1
        self.run.samples.append(Sample(start_time, name, round(response_time, 2), outcome))

    def _report(self, data: dict[str, Any], **_: Any) -> None:
        data[_FIELD] = (self.run.samples, dict(self._messages))
        self.run.samples = []
        self._messages.clear()

    def _take(self, data: dict[str, Any], **_: Any) -> None:
        samples, messages = data.get(_FIELD, ((), {}))
        self.run.samples += [Sample(*row) for row in samples]
        self._messages.update(messages)

    def _end(self, **_: Any) -> None:
        self.run.ended = time.time()

    def _save(self, **_: Any) -> None:
        self.run.messages = dict(self._messages)
        self.run.samples.sort()
        if self._result and not isinstance(self._environment.runner, WorkerRunner):
            self.run.save(self._result)
