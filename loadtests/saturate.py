"""Users who never wait, with the PRD's mix: `locust -f loadtests/saturate.py`. `loadtests.scaling` uses it.

Their keys have no limits: what is measured is how much the service can answer.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # Locust adds only the file's own folder

from locust import events
from locust.env import Environment

from loadtests import users
from loadtests.mix import PRD
from loadtests.recorder import Recorder


class TirelessUser(users.Caller):
    """Sends the next request as soon as the last one is answered."""

    tier, seconds, asks = "unlimited", (0.0, 0.0), dict(PRD)


@events.init.add_listener
def _record(environment: Environment, **_: Any) -> None:
    result = os.environ.get(users.RESULT)
    Recorder(environment, "saturate", Path(result) if result else None)
