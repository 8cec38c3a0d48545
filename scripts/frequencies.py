"""Make retrieval/text/frequencies.npz from wordfreq: `pip install wordfreq==3.1.1`, `python -m scripts.frequencies`.

wordfreq's data are Creative Commons Attribution-ShareAlike 4.0; retrieval/text/FREQUENCIES.md names the sources.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import typer
from wordfreq import available_languages, get_frequency_dict

from retrieval.text.languages import FILE, LEAST_DECADE, NONE, STEPS_PER_DECADE, terms
from retrieval.text.words import words_of

_MOST = 12_000  # words of a language
_CODES = {"nb": "no", "sh": "sr", "fil": "tl"}  # wordfreq's codes, and ours


def decades_of(language: str, code: str) -> dict[int, float]:
    """The most common words of a language, as terms, with log10 of their stem's occurrences per billion words."""
    words: dict[str, float] = defaultdict(float)
    for text, frequency in get_frequency_dict(language, "small").items():
        for word in words_of(text):
            words[word] += frequency
    stems: dict[int, float] = defaultdict(float)
    stem_of = dict(zip(words, terms(words, code).tolist(), strict=True))
    for word, frequency in words.items():
        stems[stem_of[word]] += frequency
    common = sorted(words, key=lambda word: -words[word])[:_MOST]
    of = zip(terms(common, NONE).tolist(), common, strict=True)
    return {term: np.log10(min(1, stems[stem_of[word]])) + 9 for term, word in of}


def main() -> None:
    """Write the file."""
    codes, entries = [], list[tuple[int, int, int]]()
    for language in sorted(available_languages("small")):
        code = _CODES.get(language, language)
        codes.append(code)
        decades = decades_of(language, code)
        entries += [
            (term, len(codes) - 1, max(0, round((d - LEAST_DECADE) * STEPS_PER_DECADE))) for term, d in decades.items()
        ]
        print(code, len(decades), flush=True)
    rows = np.array(sorted(entries), dtype=np.int64)
    words, counts = np.unique(rows[:, 0], return_counts=True)
    np.savez_compressed(
        FILE,
        codes=np.array(codes),
        steps=np.diff(words, prepend=0).astype(np.uint32),
        counts=counts.astype(np.uint8),
        languages=rows[:, 1].astype(np.uint8),
        decades=rows[:, 2].astype(np.uint8),
    )
    print(f"{FILE}: {len(words)} words, {len(rows)} entries, {FILE.stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    typer.run(main)
