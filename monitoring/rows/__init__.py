"""The rows of the dashboard, in the order in which trouble is looked for."""

from monitoring.rows.glance import GLANCE
from monitoring.rows.inside import DEPENDENCIES, PROCESS, SATURATION
from monitoring.rows.requests import LATENCY, STAGES, TRAFFIC
from monitoring.rows.work import CACHE, WORK

ROWS = (GLANCE, TRAFFIC, LATENCY, STAGES, WORK, SATURATION, CACHE, DEPENDENCIES, PROCESS)
