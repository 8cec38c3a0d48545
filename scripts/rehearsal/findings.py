"""What a rehearsal or a trial found, printed as it goes. Nothing but Python is needed."""

from __future__ import annotations

from time import monotonic


class Findings:
    """Counts what held and what did not."""

    def __init__(self) -> None:
        """Start the clock."""
        self.held, self.failed = 0, list[str]()
        self._since = monotonic()

    def begin(self, chapter: str) -> None:
        """Print a heading."""
        print(f"\n{chapter}", flush=True)

    def check(self, what: str, held: object, detail: object = "") -> None:
        """Note whether something holds. detail: the figures behind it."""
        if held:
            self.held += 1
        else:
            self.failed.append(what)
        print(f"  {'ok    ' if held else 'FAILED'}  {what}{f': {detail}' if detail else ''}", flush=True)

    def at_most(self, what: str, value: float, limit: float, unit: str) -> None:
        """Note whether a figure keeps within its target."""
        self.check(what, value <= limit, f"{value:.3g} {unit} (target: ≤ {limit:g} {unit})")

    def note(self, what: str, value: object) -> None:
        """Print a figure that has no target."""
        print(f"          {what}: {value}", flush=True)

    def verdict(self) -> int:
        """Print the result; the exit status, 0 where everything held."""
        said = "all held" if not self.failed else f"{len(self.failed)} did not hold: {'; '.join(self.failed)}"
        print(f"\n{self.held + len(self.failed)} checks in {monotonic() - self._since:.0f} s, {said}", flush=True)
        return min(1, len(self.failed))
