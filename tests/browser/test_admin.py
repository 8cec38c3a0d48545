"""The admin page, as an administrator uses it."""

import re
from dataclasses import dataclass

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Services, Visit, violations
from tests.browser.test_playground import enter_key
from tests.waiting import PATIENT_S


@dataclass
class Admin:
    """The page with an administrator's key, and a client that has it, too."""

    page: Page
    client: httpx.Client
    faults: list[str]


@pytest.fixture
def admin(visit: Visit, services: Services) -> Admin:
    url = f"http://127.0.0.1:{services.keyed.port}"
    _, key = services.keyed.app.state.dependencies.auth.keys.create("boss", "admin", "unlimited", None)
    with httpx.Client(base_url=url, headers={"X-API-Key": key}, timeout=60) as client:
        if client.get("/v1/collections/papers").status_code == 404:
            client.put("/v1/collections/papers")
        body = {"documents": [{"id": "owl", "text": "an owl hunts at night"}], "wait": "searchable"}
        assert client.post("/v1/collections/papers/documents", json=body).status_code == 200
        assert client.post("/v1/collections/papers/search", json={"query": "owl"}).status_code == 200
        visit.page.goto(f"{url}/admin")
        expect(visit.page.get_by_role("alert").get_by_text("Enter a key with the role admin")).to_be_visible()
        expect(visit.page.get_by_label("API key")).to_be_focused()
        enter_key(visit.page, key)
        expect(visit.page.get_by_role("heading", name="Health: works")).to_be_visible()
        yield Admin(visit.page, client, visit.faults)


def keys(admin: Admin) -> dict[str, dict]:
    return {key["name"]: key for key in admin.client.get("/v1/admin/keys").json()["data"]}


def test_a_key_is_made_shown_once_and_revoked(admin):
    page = admin.page
    page.get_by_text("Make a key").click()
    page.get_by_label("Name").fill("<b>search</b> team")
    page.get_by_label("Tier").select_option("premium")
    page.get_by_role("textbox", name="Collections").fill("papers, team-*")
    page.get_by_role("button", name="Make it").click()
    key = page.locator(".made code").text_content()
    assert (
        httpx.get(f"{admin.client.base_url}/v1/models", headers={"X-API-Key": key}, timeout=PATIENT_S).status_code
        == 200
    )
    made = keys(admin)["<b>search</b> team"]
    assert (made["tier"], made["collections"]) == ("premium", ["papers", "team-*"])
    page.get_by_role("button", name="I have it").click()
    expect(page.get_by_text(key)).to_have_count(0)
    row = page.locator("tr", has_text="<b>search</b> team")
    row.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("alertdialog")).to_contain_text("Revoke the key “<b>search</b> team” for good?")
    page.keyboard.press("Escape")
    assert keys(admin)["<b>search</b> team"]["status"] == "active"
    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("alertdialog").get_by_role("button", name="Revoke").click()
    expect(row).to_have_count(0)
    assert keys(admin)["<b>search</b> team"]["status"] == "revoked"
    page.get_by_role("button", name="Show expired and revoked keys").click()
    expect(row).to_contain_text("revoked")
    assert [fault for fault in admin.faults if "404" not in fault] == []  # feedback is off


def test_a_new_key_comes_into_view_and_stays_until_it_was_taken(admin):
    page, made = admin.page, admin.page.locator(".made")
    page.set_viewport_size({"width": 1280, "height": 400})
    page.get_by_text("Make a key").click()
    for count in (1, 2):
        page.get_by_label("Name").fill(f"maker {count}")
        page.get_by_role("button", name="Make it").click()
        expect(made).to_have_count(count)
        expect(made.last).to_contain_text(f"“maker {count}”")
        expect(made.last).to_be_focused()
        expect(made.last.locator("code")).to_be_in_viewport()
    made.first.get_by_role("button", name="I have it").click()
    expect(made).to_have_count(1)
    expect(made).to_contain_text("“maker 2”")


def test_a_question_takes_the_focus_and_gives_it_back(admin):
    row = admin.page.locator("tr", has_text="boss").first
    rotate, height = row.get_by_role("button", name="Rotate").first, row.bounding_box()["height"]
    rotate.focus()
    admin.page.keyboard.press("Enter")
    expect(admin.page.get_by_role("alertdialog")).to_be_visible()
    assert row.bounding_box()["height"] == height
    expect(admin.page.get_by_role("button", name="Leave it")).to_be_focused()
    admin.page.keyboard.press("Enter")
    expect(admin.page.get_by_role("alertdialog")).to_have_count(0)
    expect(rotate).to_be_focused()


def test_a_double_click_makes_one_key(admin):
    admin.page.get_by_text("Make a key").click()
    admin.page.get_by_label("Name").fill("twice")
    admin.page.get_by_role("button", name="Make it").dblclick()
    expect(admin.page.locator(".made")).to_have_count(1)
    expect(admin.page.get_by_role("button", name="Make it", exact=True)).to_be_visible()
    names = [key["name"] for key in admin.client.get("/v1/admin/keys").json()["data"]]
    assert names.count("twice") == 1


def test_while_something_is_done_it_says_so_and_is_not_done_again(admin):
    page, held = admin.page, []
    admin.client.put("/v1/collections/slow")
    row = page.locator("tr", has_text="slow")
    expect(row).to_be_visible()
    page.route("**/v1/collections/slow", lambda route: held.append(route))  # noqa: PLW0108 - Playwright reads its signature
    with page.expect_request("**/v1/collections/slow"):
        row.get_by_role("button", name="Delete").click()
        page.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
    doing = row.get_by_role("button", name="Delete …")
    expect(doing).to_have_attribute("aria-disabled", "true")
    doing.click(force=True)
    expect(page.get_by_role("alertdialog")).to_have_count(0)
    held[0].continue_()
    expect(row).to_have_count(0)
    assert len(held) == 1
    expect(page.get_by_role("heading", name="Collections")).to_be_focused()


def test_the_focus_goes_to_the_heading_once_a_key_was_taken(admin):
    admin.page.get_by_text("Make a key").click()
    admin.page.get_by_role("button", name="Make it").click()
    admin.page.get_by_role("button", name="I have it").press("Enter")
    expect(admin.page.get_by_role("heading", name="Keys", exact=True)).to_be_focused()


def test_a_key_that_sees_much_leaves_the_buttons_in_view(admin):
    names = [f"collection-of-the-department-{number}" for number in range(4)]
    made = admin.client.post("/v1/admin/keys", json={"name": "wide", "collections": [*names, "long" * 15]})
    assert made.status_code == 201
    admin.page.reload()
    enter_key(admin.page, admin.client.headers["X-API-Key"])
    row = admin.page.locator("tr", has_text="wide")
    expect(row.get_by_role("button", name="Revoke")).to_be_visible()
    scrolls = "(table) => table.scrollWidth - table.clientWidth"
    assert admin.page.locator(".scroll").first.evaluate(scrolls) <= 0


def test_what_cannot_be_made_says_why(admin):
    admin.page.get_by_text("Make a key").click()
    admin.page.get_by_label("Role").select_option("admin")
    admin.page.get_by_role("textbox", name="Collections").fill("papers")
    admin.page.get_by_role("button", name="Make it").click()
    alert = admin.page.locator(".create [role=alert]")
    expect(alert).to_contain_text("admin cannot be limited")
    admin.page.get_by_label("Role").select_option("user")
    admin.page.get_by_role("textbox", name="Collections").fill("papers, Not+a+Name")
    admin.page.get_by_role("button", name="Make it").click()
    expect(alert).to_have_text(re.compile("^Collections: "))


def test_figures_collections_and_jobs_are_those_of_the_service(admin):
    page = admin.page
    row = page.locator("tr", has_text="papers")
    expect(row).to_contain_text("hash")
    expect(row).to_contain_text(re.compile("sound|checked"))
    expect(page.locator(".jobs li").first).to_contain_text("papers: write")
    expect(page.locator(".jobs time").first).to_have_text(re.compile(r"\d\d:\d\d UTC$"))
    expect(page.locator(".meters")).to_have_count(2)
    expect(page.locator(".meters").first).to_contain_text("fidelity")
    httpx.get(f"{admin.client.base_url}/v1/models", timeout=PATIENT_S)  # without a key
    expect(page.locator(".meters").last).to_contain_text("unauthorized")
    expect(page.locator("tr", has_text="boss").first).to_contain_text("admin, unlimited")


def test_a_collection_is_deleted_after_it_was_named(admin):
    admin.client.put("/v1/collections/old")
    damaged = {"message": "the collection is damaged", "status": 503}
    admin.page.route("**/old/jobs", lambda route: route.fulfill(status=503, json=damaged))  # hides no others
    admin.page.reload()
    enter_key(admin.page, admin.client.headers["X-API-Key"])
    expect(admin.page.locator(".jobs li").first).to_contain_text("papers: write")
    row = admin.page.locator("tr", has_text="old")
    row.get_by_role("button", name="Delete").click()
    expect(admin.page.get_by_role("alertdialog")).to_contain_text("“old” with its 0 documents")
    admin.page.get_by_role("alertdialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert admin.client.get("/v1/collections/old").status_code == 404


def test_a_users_key_is_not_enough(visit, services: Services):
    _, key = services.keyed.app.state.dependencies.auth.keys.create("person", "user", "unlimited", None)
    visit.page.clock.install()
    visit.page.goto(f"http://127.0.0.1:{services.keyed.port}/admin")
    enter_key(visit.page, key)
    message = visit.page.get_by_role("alert").get_by_text("This key is not an administrator’s.")
    expect(message).to_be_visible()
    for _ in range(2):  # rounds that ask for little and are answered
        with visit.page.expect_response("**/metrics"):
            visit.page.clock.fast_forward(2000)
        assert message.is_visible()
    expect(visit.page.get_by_role("heading", name="Keys")).to_have_count(0)


def test_nothing_stays_of_what_a_key_showed_once_it_is_forgotten(admin):
    page = admin.page
    expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    page.get_by_role("button", name="Key:").click()
    page.get_by_role("button", name="Forget it", exact=True).first.click()
    for heading in ("Keys", "Collections"):
        expect(page.get_by_role("heading", name=heading, exact=True)).to_have_count(0)


def test_without_authentication_it_says_so(visit, services: Services):
    visit.page.goto(f"http://127.0.0.1:{services.open.port}/admin")
    expect(visit.page.get_by_text("Authentication is off")).to_be_visible()
    expect(visit.page.locator("tr", has_text="demo")).to_be_visible()
    assert [text for text in visit.page.get_by_role("alert").all_text_contents() if text] == []
    assert visit.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(admin, scheme):
    admin.page.emulate_media(color_scheme=scheme)
    admin.page.get_by_text("Make a key").click()
    admin.page.get_by_role("button", name="Rotate").first.click()
    for width in (1280, 390):
        admin.page.set_viewport_size({"width": width, "height": 900})
        assert violations(admin.page) == []
        assert admin.page.evaluate("document.documentElement.scrollWidth") <= width
