"""The site's sources: every page of docs/, what it links to, and links that follow."""

import tomllib

import pytest

from scripts.site import staging
from tests.docs.pages import Page
from tests.paths import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    staging.stage(folder)
    return folder


def test_every_link_of_every_staged_page_leads_to_a_staged_file(staged):
    made = {staging.place(path).as_posix() for path in (DOCS / "notebooks").glob("*.py")}
    for path in staged.rglob("*.md"):
        for target, _ in staging._LINK.findall(path.read_text()) and [(link, None) for link in Page(path).links]:
            file = target.partition("#")[0]
            if file and ":" not in file:
                at = (path.parent / file).resolve()
                assert at.exists() or at.relative_to(staged).as_posix() in made, (path, target)


def test_the_navigation_has_every_page_of_docs_once():
    def files(entries):
        for entry in entries:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else files(value)

    listed = list(files(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"]))
    pages = [path for path in DOCS.rglob("*.md") if "runbooks" not in path.parts]
    notebooks = list((DOCS / "notebooks").glob("*.py"))
    expected = {staging.place(path).as_posix() for path in (*pages, *notebooks)} | {"api.html"}
    assert len(listed) == len(set(listed))
    assert {name for name in listed if not name.startswith("repository/")} == expected


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ("docs/http.md", "http.md"),
        ("docs/operations/README.md", "operations/index.md"),
        ("README.md", "repository/index.md"),
        ("tests/clients/errors.txt", "repository/tests/clients/errors.txt.md"),
        ("docs/openapi.json", "openapi.json"),
        ("docs/notebooks/1-quickstart.py", "notebooks/1-quickstart.md"),
        ("docs/operations/runbooks", "operations/runbooks/index.md"),
    ],
)
def test_files_have_their_places(file, place):
    assert staging.place(ROOT / file).as_posix() == place


def test_links_follow_and_code_stays():
    text = "[a](../README.md#b) [c](http.md) [d](#e) [f](https://g.example/h)\n```sh\n[i](../README.md)\n```\n[j](errors.md)\n"
    assert staging.rewritten(DOCS / "cli.md", text) == (
        "[a](repository/index.md#b) [c](http.md) [d](#e) [f](https://g.example/h)\n```sh\n[i](../README.md)\n```\n[j](errors.md)\n",
        [ROOT / "README.md", DOCS / "http.md", DOCS / "errors.md"],
    )


def test_what_belongs_to_an_item_is_indented_as_python_markdown_wants_it():
    text = "- a\n  ```sh look\n  b\n    c\n  ```\n\n```json x\n  d\n```\n"
    assert staging.in_python_markdown(text) == "- a\n    ```sh\n    b\n      c\n    ```\n\n```json\n  d\n```\n"
