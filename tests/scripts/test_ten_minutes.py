"""The steps of docs/quickstart.md are read as the page has them, and its table is theirs."""

import re

from scripts import ten_minutes


def test_the_steps_are_the_pages_and_the_first_one_serves():
    (first, serving), *others = ten_minutes.steps()
    assert (first, serving) == ("Serve", "make run\n")
    assert [title for title, _ in others][-1] == "Keep and search your documents"
    assert all(shell.strip() for _, shell in others)


def test_the_table_has_every_step_and_ten_minutes_suffice():
    rows = dict(re.findall(r"^\| ([\w ]+) \| (\d+) \|$", ten_minutes.PAGE.read_text(), re.MULTILINE))
    seconds = [int(value) for value in rows.values()]
    assert abs(sum(seconds[:-1]) - seconds[-1]) <= len(seconds)  # rounded
    assert seconds[-1] <= 600
    assert list(rows) == [*(title for title, _ in ten_minutes.steps()), "all"]
