"""Characters that must not be printed on a terminal or be part of a name."""

from __future__ import annotations

import re

# Control characters (C0, DEL, C1), Unicode's Bidi_Control, and the line and paragraph separators.
CONTROLS = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"

_UNPRINTABLE = re.compile(rf"[{CONTROLS}\ud800-\udfff]")  # a lone surrogate stands for a byte that is not UTF-8
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def escaped(text: str, *, lines: bool = False) -> str:
    r"""Escape every unprintable character as JSON does, such as `\u001b`.

    lines: whether line feeds are kept.
    """
    return _UNPRINTABLE.sub(lambda match: match[0] if lines and match[0] == "\n" else _escape(match[0]), text)


def _escape(character: str) -> str:
    return _SHORT.get(character) or f"\\u{ord(character):04x}"
