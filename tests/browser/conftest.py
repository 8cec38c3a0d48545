"""A real Chromium, Debian's, and the real application with the weight-free model."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.auth.settings import AuthSettings
from app.settings import Settings
from tests.app.live import Live, live
from tests.browser.proxy import Proxy, proxied
from tests.paths import ROOT

DEMO = [
    {"id": "owl", "title": "Owls", "text": "An owl hunts mice at night when an exception is not caught."},
    {"id": "evil", "title": "<b>Evil</b>", "text": "<img src=x onerror='window.hacked = 1'> what happens at night"},
    *({"id": f"{i}", "title": "Trains", "text": f"The train number {i} to the coast is late."} for i in range(10)),
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need Chromium."""
    for item in items:
        if "tests/browser/" in item.nodeid:
            item.add_marker("browser")


expect.set_options(timeout=30_000)  # only reached if the page is wrong, also on a busy machine


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "Chromium is missing: `make browser` installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])  # CI runs as root
        yield browser
        browser.close()


@dataclass(frozen=True)
class Services:
    """Two services: one that anybody may use, with the collection demo, and one that takes keys."""

    open: Live
    keyed: Live


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("data")
    with (
        pytest.MonkeyPatch.context() as patch,
        live(Settings(model="hash", data_dir=folder / "open"), patch) as opened,
        live(Settings(model="hash", data_dir=folder / "keyed", auth=AuthSettings(enabled=True)), patch) as keyed,
    ):
        with httpx.Client(base_url=f"http://127.0.0.1:{opened.port}", timeout=60) as client:
            assert client.put("/v1/collections/demo").status_code == 201
            body = {"documents": DEMO, "wait": "searchable"}
            assert client.post("/v1/collections/demo/documents", json=body).status_code == 200
        yield Services(opened, keyed)


@pytest.fixture(scope="session")
def proxy(services: Services) -> Iterator[Proxy]:
    with proxied(services.open.port) as proxy:
        yield proxy


@dataclass
class Visit:
    """A page in a browser window of its own, and what its console and network said."""

    page: Page
    faults: list[str]
    urls: list[str]

    def rows(self) -> list[str]:
        """The texts of the passages, as they stand."""
        return self.page.locator(".passage .text").all_text_contents()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    visit = Visit(page, [], [])
    page.on("console", lambda message: visit.faults.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: visit.faults.append(str(error)))
    page.on("request", lambda request: visit.urls.append(request.url))
    yield visit
    context.close()


@pytest.fixture
def page(visit: Visit, services: Services) -> Page:
    """The playground, after its first ranking."""
    visit.page.goto(f"http://127.0.0.1:{services.open.port}/")
    expect(visit.page.locator(".passage").first).to_be_visible()
    expect(visit.page.locator("mark").first).to_be_visible()
    return visit.page


@pytest.fixture
def own(page: Page) -> Page:
    """The playground with passages of one's own."""
    page.get_by_label("Search in").select_option("your own passages")
    return page


AXE = (ROOT / "tests" / "browser" / "axe.min.js").read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """What axe-core finds that is serious or critical: rule, and where."""
    page.evaluate(AXE)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    grave = [each for each in found if each["impact"] in {"serious", "critical"}]
    return [
        f"{each['id']}: {node['html'][:160]}: {node['failureSummary'][:300]}"
        for each in grave
        for node in each["nodes"][:3]
    ]
