"""The rows of the dashboard, in the order of troubleshooting."""

from monitoring.rows.inside import CACHE, DEPENDENCIES, PROCESSES, SATURATION, WORKLOAD
from monitoring.rows.requests import GLANCE, LATENCY, STAGES, TRAFFIC

ROWS = {
    "At a glance": GLANCE,
    "Traffic": TRAFFIC,
    "Latency": LATENCY,
    "Stages": STAGES,
    "Work": WORKLOAD,
    "Saturation": SATURATION,
    "Cache": CACHE,
    "Dependencies and collections": DEPENDENCIES,
    "Processes": PROCESSES,
}
