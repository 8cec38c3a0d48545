"""What an image must hold to, and whether it did, printed as it is found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A figure that may not be exceeded."""

    what: str
    most: float
    unit: str


SIZE = Target("image size", 900, "MB")
READY = Target("start to ready", 5, "s")
IDLE = Target("memory once ready (RSS)", 600, "MB")


class Judgement:
    """Counts what was missed."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.missed = list[str]()

    def measured(self, target: Target, value: float) -> None:
        """Print a figure beside its target."""
        told = f"{value:.3g}" if value < 100 else f"{value:.0f}"
        self.found(target.what, f"{told} {target.unit} (target: ≤ {target.most:g} {target.unit})", value <= target.most)

    def found(self, what: str, told: str, held: bool) -> None:
        """Print whether something held."""
        if not held:
            self.missed.append(what)
        print(f"  {'ok    ' if held else 'MISSED'}  {what}: {told}", flush=True)

    def told(self, what: str, value: object) -> None:
        """Print a figure that has no target."""
        print(f"          {what}: {value}", flush=True)

    def verdict(self) -> int:
        """Print what came of it; the exit status, 0 where nothing was missed."""
        print(f"\nmissed: {', '.join(self.missed)}" if self.missed else "\nall held", flush=True)
        return min(1, len(self.missed))
