"""What a rehearsal found, printed as it goes."""

from __future__ import annotations

from time import monotonic


class Findings:
    """Counts what held and what did not."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.held, self.failed = 0, list[str]()
        self._since = monotonic()

    def begin(self, chapter: str) -> None:
        """Print a heading."""
        print(f"\n{chapter}", flush=True)

    def check(self, what: str, held: object, told: object = "") -> None:
        """Note whether something holds. told: the counts behind it."""
        if held:
            self.held += 1
        else:
            self.failed.append(what)
        print(f"  {'ok    ' if held else 'FAILED'}  {what}{f': {told}' if told else ''}", flush=True)

    def verdict(self) -> int:
        """Print what came of it all; the exit status, 0 where everything held."""
        said = "all held" if not self.failed else f"{len(self.failed)} did not hold: {'; '.join(self.failed)}"
        print(f"\n{self.held + len(self.failed)} checks in {monotonic() - self._since:.0f} s, {said}", flush=True)
        return min(1, len(self.failed))
