"""Which series the dashboard looks at: those of the job, the processes and the routes that are chosen on it."""

from monitoring.promql import RATE, Matches, View

HERE = View(RATE, where={"job": Matches("$job"), "instance": Matches("$instance")})
ROUTE = Matches("$route")
