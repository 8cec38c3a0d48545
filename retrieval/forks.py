"""What each process needs of its own: locks, threads, connections. A forked process cannot use those of its parent."""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakKeyDictionary


class Begins(Protocol):
    """Has threads or connections."""

    def begin(self) -> None:
        """Make new ones, and forget those there were."""


_BEGUN: WeakKeyDictionary[Begins, None] = WeakKeyDictionary()  # in the order in which they began


def begin(of: Begins) -> None:
    """Let it begin, now and in each process that is forked from this one."""
    of.begin()
    _BEGUN[of] = None


def _begin_again() -> None:
    for each in list(_BEGUN):
        each.begin()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_begin_again)
