"""Whether a text says anything, and where its sentences lie."""

from __future__ import annotations

import re
import unicodedata

# What closes a sentence may be closed itself, by quotes and brackets. A full stop within a number or a name is none.
# A match begins only where a run of stops does: from each stop on, the time for a run would grow with its square.
_END = re.compile(r"""(?<![.!?…])[.!?…]++["'”’»)\]]*+(?=\s)|[。！？]++[」』”’）]*+|[\n\r\v\f\x85\u2028\u2029]""")

_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs"}  # Unicode categories: control and format characters, separators
_PLANES = (range(0x20000), range(0xE0000, 0xE1000))  # all others are letters, or nothing

# What there is to read in a text: any character but white space, control and format characters, such as zero width
# spaces and joiners, soft hyphens, byte order marks. A text without is blank.
_INVISIBLE = [chr(code) for plane in _PLANES for code in plane if unicodedata.category(chr(code)) in _UNSEEN]
VISIBLE = re.compile(f"[^{''.join(_INVISIBLE)}]")


def sentences(text: str) -> list[tuple[int, int]]:
    """The code points [start, end) of a text's s ≥ 0 sentences, in order, with no white space at either end.

    A sentence ends with . ! ? or … before white space, with 。！ or ？, or with the line. Between sentences there is
    nothing but white space; a blank text has none.
    """
    ends = [match.end() for match in _END.finditer(text)]
    found = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        piece = text[start:end]
        if sentence := piece.strip():
            first = start + len(piece) - len(piece.lstrip())
            found.append((first, first + len(sentence)))
    return found
