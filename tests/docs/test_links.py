"""Every link of every page leads to a file, and every anchor to a heading."""

from urllib.parse import urlsplit

import pytest

from tests.docs.pages import BY_NAME, PAGES, Page
from tests.paths import ROOT

LINKS = [(page, target) for page in PAGES for target in page.links if not urlsplit(target).scheme]


@pytest.mark.parametrize(("page", "target"), LINKS, ids=[f"{page.name}->{target}" for page, target in LINKS])
def test_a_link_leads_somewhere(page, target):
    path, _, anchor = target.partition("#")
    file = (page.path.parent / path).resolve() if path else page.path
    assert file.is_relative_to(ROOT)
    assert file.exists()
    if anchor:
        assert anchor in BY_NAME[file.relative_to(ROOT).as_posix()].anchors


def test_every_page_of_docs_is_reached_from_the_index():
    reached, ahead = set(), ["docs/index.md"]
    while ahead:
        name = ahead.pop()
        if name in BY_NAME and name not in reached:
            reached.add(name)
            files = {(BY_NAME[name].path.parent / target.partition("#")[0]).resolve() for target in BY_NAME[name].links}
            ahead += [file.relative_to(ROOT).as_posix() for file in files if file.is_relative_to(ROOT)]
    assert {name for name in BY_NAME if name.startswith("docs/")} <= reached


def test_anchors_are_made_as_github_makes_them(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# `POST /v1/rerank`: a _stream_\n\n## What's in `a_b`?\n\n## Same\n\n## Same\n\n```\n# none\n```\n"
    )
    assert Page(page).anchors == {"post-v1rerank-a-stream", "whats-in-a_b", "same", "same-1"}
