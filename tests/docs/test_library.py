"""The program of docs/library.md prints what the page says."""

import contextlib
import io

from tests.docs.pages import BY_NAME

BLOCKS = BY_NAME["docs/library.md"].blocks
PROGRAM = "\n".join(text for language, text in BLOCKS if language == "python")
(PRINTED,) = [text for language, text in BLOCKS if not language]


def test_the_program_prints_what_the_page_says(real_encoder):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(PROGRAM, "docs/library.md", "exec"), {})  # noqa: S102 - our own page
    assert printed.getvalue() == PRINTED
