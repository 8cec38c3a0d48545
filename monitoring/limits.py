"""From where on something is wrong, where the product's targets do not say it."""

from app.settings import EngineSettings

# Of the requests that may wait in one worker at once, as it is set by default.
WAITING = EngineSettings().queue_requests / 4

LAG_S = 0.1  # ten times what is measured under load
BAD_SHARE = 0.01  # of the requests: the error budget
FAULT_SHARE = 0.001
OVERLOADED_SHARE = 0.01
QUOTA_SHARE = 0.1
COLLAPSED_TO = 0.5  # of the hit ratio that was usual
COLLAPSE_FROM = 0.2  # a usual hit ratio below it has nothing to lose
LOOKUPS_PER_S = 1.0  # below, the ratio is chance
