"""The pages' files: what the browser is told to do with them, wherever the service lies."""

import re

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.pages.router import PAGES, static_files
from app.settings import PageSettings, Settings

MOST_BYTES = 120_000
ADDRESS = re.compile(r'(?:src|href)="([^"]+)"')
IMPORT = re.compile(r'(?:from|import)\s*"([^"]+)"')
OTHER_HOST = re.compile(r"https?://(?!www\.w3\.org)|[\"'(]//")  # the name of SVG's vocabulary is no address
FILES = static_files()


@pytest.fixture(scope="module")
def client():
    """Without its lifespan: no page waits for a model."""
    return TestClient(create_app(Settings(model="hash")))


def test_all_files_together_are_small():
    assert sum(len(file.content) for file in FILES.values()) < MOST_BYTES


@pytest.mark.parametrize("path", PAGES)
def test_a_page_allows_only_its_own_files(client, path):
    page = client.get(path)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["form-action"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"  # a text never becomes markup
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "style=" not in page.text
    assert "<style" not in page.text
    assert not re.search(r"<script(?![^>]*src=)", page.text)


@pytest.mark.parametrize(("scheme", "policy"), [("https", "same-origin"), ("http", None)])
def test_a_page_is_alone_in_its_window_where_browsers_take_that(client, scheme, policy):
    page = TestClient(client.app, base_url=f"{scheme}://testserver").get("/")
    assert page.headers.get("cross-origin-opener-policy") == policy


def test_no_file_names_another_host():
    for name, file in FILES.items():
        assert not OTHER_HOST.search(file.content.decode()), name


def test_no_file_makes_markup_or_code_of_a_text():
    for name, file in FILES.items():
        text = file.content.decode()
        assert not re.search(r"\beval\(|new Function|\.outerHTML|insertAdjacentHTML|document\.write", text), name
        if not name.startswith("vendor/"):
            assert "innerHTML" not in text.replace("dangerouslySetInnerHTML", "innerHTML"), name


@pytest.mark.parametrize("root", ["", "/qr", "/a/b"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_finds_its_files_below_a_sub_path(client, path, root):
    below = TestClient(client.app, root_path=root)
    addresses = ADDRESS.findall(below.get(path).text)
    assert len(addresses) > 2
    for address in addresses:
        assert address.startswith(f"{root}/") if root else not address.startswith(("/", "."))
        assert below.get(f"/{address.removeprefix(root).lstrip('/')}").status_code == 200


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".js") and not name.startswith("vendor/")])
def test_a_module_imports_files_that_are_there(name):
    for imported in IMPORT.findall(FILES[name].content.decode()):
        assert imported.removeprefix("./") in FILES, imported


def test_a_file_is_kept_and_asked_for_again(client):
    first = client.get("/pages/style.css")
    assert first.headers["cache-control"] == "no-cache"
    assert first.headers["content-type"].startswith("text/css")
    tag = first.headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}'):
        again = client.get("/pages/style.css", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    assert client.get("/pages/style.css", headers={"If-None-Match": '"other"'}).status_code == 200
    assert client.get("/pages/playground.js").headers["etag"] != tag


@pytest.mark.parametrize("path", ["none.js", "../router.py", "%2e%2e/router.py", "vendor/", "page.html", ""])
def test_there_is_no_other_file(client, path):
    assert client.get(f"/pages/{path}").status_code == 404


def test_the_pages_can_be_turned_off():
    client = TestClient(create_app(Settings(model="hash", pages=PageSettings(enabled=False))))
    assert [client.get(path).status_code for path in (*PAGES, "/pages/style.css", "/docs")] == [404] * (
        len(PAGES) + 1
    ) + [200]
