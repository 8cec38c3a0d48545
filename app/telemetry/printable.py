"""Which characters must not reach a terminal, or stand in a name."""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), what reorders text (Unicode's Bidi_Control), and the two separators that end a line.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"

_UNPRINTABLE = re.compile(rf"[{CONTROLS}\ud800-\udfff]")  # half a surrogate pair stands for a byte that is not UTF-8
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escaped(text: str, *, lines: bool = False) -> str:
    r"""Text with every unprintable character written as JSON would write it, as `\u001b`.

    lines: whether line feeds stay as they are.
    """
    return _UNPRINTABLE.sub(lambda found: found[0] if lines and found[0] == "\n" else _written(found[0]), text)


def _written(character: str) -> str:
    return _SHORT.get(character) or f"\\u{ord(character):04x}"
