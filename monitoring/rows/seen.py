"""Which series the dashboard looks at: those of the job, the processes and the routes that are chosen on it."""

from monitoring.promql import RATE, Matches, Query, View, one_of, share
from monitoring.registry import RERANK, UP_TO_100, WORK, metrics

HERE = View(RATE, where={"job": Matches("$job"), "instance": Matches("$instance")})
ROUTE = Matches("$route")

# The part of the requests that were answered 5xx.
BAD = share(
    HERE.rate(metrics.requests_total, route=WORK, status=Matches("5..")),
    HERE.rate(metrics.requests_total, route=WORK),
)


def reranking(part: float) -> Query:
    """In how long this part of the answers for up to 100 documents came."""
    return HERE.quantile(part, metrics.request_seconds, route=one_of(RERANK), documents=one_of(UP_TO_100), outcome="ok")
