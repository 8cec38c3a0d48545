"""Runs that never were."""

from loadtests.run import Mark, Run, Sample


def steady(start, end, per_second, ms, outcome="ok", kind="small"):
    """Requests at even intervals."""
    count = round((end - start) * per_second)
    return [Sample(start + at / per_second, kind, ms, outcome) for at in range(count)]


def stress(calm_after=3.0, steps=(50, 60, 70), broken_ms=900.0):
    """Steps of ten seconds, the last of which is too much, then 30 seconds of 50 users."""
    marks = [Mark(10.0 * at, users, False) for at, users in enumerate(steps)]
    samples = [sample for mark in marks[:-1] for sample in steady(mark.at, mark.at + 10, mark.users, 100.0)]
    samples += steady(marks[-1].at, marks[-1].at + 10, marks[-1].users, broken_ms)
    back = marks[-1].at + 10
    samples += steady(back, back + calm_after, 50, 700.0) + steady(back + calm_after, back + 30, 50, 100.0)
    return Run("stress", 0.0, back + 30, samples, [*marks, Mark(back, 50, True)])
