"""The page that the `help` of every problem leads to."""

from html.parser import HTMLParser

import pytest

from app.api.error_catalogue import CATALOGUE
from app.auth.settings import AuthSettings
from app.settings import Settings
from tests.conftest import serving


class Read(HTMLParser):
    """The ids, the addresses and the code of a page."""

    def __init__(self):
        super().__init__()
        self.ids, self.addresses, self.code, self._is_code = set(), set(), set(), False

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.ids |= {told["id"]} if "id" in told else set()
        self.addresses |= {told[name] for name in ("src", "href") if name in told}
        self._is_code = tag == "code"

    def handle_data(self, data):
        if self._is_code:
            self.code.add(data)
        self._is_code = False


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = Settings(model="hash", data_dir=tmp_path_factory.mktemp("data"), auth=AuthSettings(enabled=True))
    with serving(settings) as client:
        yield client


def test_a_problem_leads_to_its_entry(client):
    for response in (client.post("/rerank", json={}), client.get("/nothing"), client.get("/rerank")):
        path, _, code = response.json()["help"].partition("#")
        page = Read()
        page.feed(client.get(path).text)  # without a key
        assert code == response.json()["code"]
        assert code in page.ids


def test_the_page_has_every_code_and_needs_no_other_file(client):
    page = Read()
    page.feed(client.get("/errors").text)
    assert page.ids == set(CATALOGUE)
    assert page.addresses == {f"#{code}" for code in CATALOGUE}
    assert {"Authorization: Bearer KEY", "/docs", "Retry-After"} <= page.code


def test_help_has_the_path_below_which_the_service_is(client):
    client.app.root_path = "/ranking"
    try:
        assert client.get("/nothing").json()["help"] == "/ranking/errors#not-found"
    finally:
        client.app.root_path = ""
