"""Results of the checks of a rehearsal or smoke test, printed as they come. Uses the standard library alone."""

from __future__ import annotations

from time import monotonic


class Findings:
    """Counts passed and failed checks."""

    def __init__(self) -> None:
        """Start the clock."""
        self.held, self.failed = 0, list[str]()
        self._since = monotonic()

    def begin(self, chapter: str) -> None:
        """Print a heading."""
        print(f"\n{chapter}", flush=True)

    def check(self, what: str, held: object, detail: object = "") -> None:
        """Record and print a check. detail: the figures behind it."""
        if held:
            self.held += 1
        else:
            self.failed.append(what)
        print(f"  {'ok    ' if held else 'FAILED'}  {what}{f': {detail}' if detail else ''}", flush=True)

    def at_most(self, what: str, value: float, limit: float, unit: str) -> None:
        """Check that a figure is within its target."""
        self.check(what, value <= limit, f"{value:.3g} {unit} (target: ≤ {limit:g} {unit})")

    def note(self, what: str, value: object) -> None:
        """Print a figure without a target."""
        print(f"          {what}: {value}", flush=True)

    def verdict(self) -> int:
        """Print the summary; return the exit status: 0 if all checks passed."""
        summary = "all passed" if not self.failed else f"{len(self.failed)} failed: {'; '.join(self.failed)}"
        print(f"\n{self.held + len(self.failed)} checks in {monotonic() - self._since:.0f} s, {summary}", flush=True)
        return min(1, len(self.failed))
