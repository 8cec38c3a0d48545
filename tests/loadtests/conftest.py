"""The load tests are not installed with the packages, so the tests are told where they are."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
