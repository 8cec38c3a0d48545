"""The playground where something goes wrong: what it says, where, and what stays."""

import re

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Services, Visit
from tests.browser.proxy import Proxy
from tests.browser.test_playground import PASSAGES, QUESTION, bring, enter_key, settled


@pytest.fixture
def broken(visit: Visit, proxy: Proxy) -> Page:
    """The playground, whose service went away after the first ranking."""
    visit.page.goto(proxy.url)
    settled(visit.page, 12)
    proxy.broken = True
    yield visit.page
    proxy.broken = False


def test_a_fault_comes_into_view_wherever_the_page_is(broken):
    broken.set_viewport_size({"width": 1280, "height": 500})
    broken.locator(".passage").last.scroll_into_view_if_needed()
    broken.get_by_label("Method").select_option("classical")
    expect(broken.locator(".result > .problem p")).to_be_in_viewport()


def test_the_focus_stays_at_a_fault_that_is_tried_again(broken, proxy):
    broken.get_by_label("Method").select_option("classical")
    again = broken.get_by_role("button", name="Try again")
    expect(again).to_be_visible()  # or the first answer would be taken for the second, which says the same
    with broken.expect_response("**/v1/rerank/stream"):
        again.press("Enter")
    expect(broken.locator(".result > .problem")).to_be_focused()
    expect(broken.locator(".result > .problem")).to_contain_text("answered 502")
    proxy.broken = False
    again.press("Enter")
    expect(broken.locator(".result > .problem")).to_be_empty()
    expect(broken.locator(".result > .problem")).to_be_focused()


def test_an_exclusion_that_is_the_question_is_named_in_view(page):
    page.set_viewport_size({"width": 1280, "height": 720})
    bring(page, PASSAGES)
    page.get_by_label("Exclude", exact=True).fill(QUESTION)
    page.keyboard.press("Enter")
    problem = page.locator(".controls .problem p")
    expect(problem).to_have_text(re.compile(f"^“{QUESTION}” means the same as the query"))
    expect(problem).to_be_in_viewport(ratio=1)


def test_what_is_wrong_still_is_said_again(page):
    page.get_by_label("Question", exact=True).fill("")
    page.keyboard.press("Enter")
    problem = page.get_by_text("Type a question first.")
    expect(problem).to_be_visible()
    page.set_viewport_size({"width": 640, "height": 500})
    page.locator(".passage").last.scroll_into_view_if_needed()
    expect(problem).not_to_be_in_viewport()
    page.locator("form.ask").evaluate("(form) => form.requestSubmit()")
    expect(problem).to_be_in_viewport()


def test_no_passages_yet_is_no_fault(page):
    page.get_by_label("Search in").select_option("your own passages")
    expect(page.locator(".source .problem .asked")).to_contain_text("There is nothing to rank yet")


def test_a_collection_without_documents_is_said_to_hold_nothing(visit, services: Services):
    url = f"http://127.0.0.1:{services.open.port}"
    httpx.put(f"{url}/v1/collections/empty", timeout=60)
    visit.page.goto(f"{url}/#collection=empty")
    visit.page.get_by_label("Question", exact=True).fill("owl")
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_text("Nothing was found.")).to_be_visible()
    assert "0 passages" not in visit.page.locator(".result").inner_text()
    httpx.delete(f"{url}/v1/collections/empty", timeout=60)


def test_matched_tokens_are_asked_for_again(visit, services: Services):
    page = visit.page
    page.route("**/v1/matches", lambda route: route.fulfill(status=503, json={"message": "too busy", "status": 503}))
    page.goto(f"http://127.0.0.1:{services.open.port}/")
    expect(page.get_by_text("Matched tokens cannot be shown: Too busy.")).to_be_visible()
    page.unroute("**/v1/matches")
    page.get_by_role("button", name="Rank", exact=True).click()
    expect(page.locator("mark").first).to_be_visible()
    expect(page.get_by_text("Matched tokens cannot be shown")).to_have_count(0)


def test_a_sign_in_page_of_a_proxy_is_told(visit, services: Services):
    login = {"status": 200, "content_type": "text/html; charset=utf-8", "body": "<html>login"}
    visit.page.route("**/info", lambda route: route.fulfill(**login), times=1)
    visit.page.goto(f"http://127.0.0.1:{services.open.port}/")
    expect(visit.page.get_by_text("A proxy answered with a page: sign in there")).to_be_visible()
    settled(visit.page, 12)
    visit.page.route("**/v1/rerank/stream", lambda route: route.fulfill(**login))
    visit.page.route("**/v1/collections/demo/**", lambda route: route.fulfill(**login))
    visit.page.get_by_label("Method").select_option("quantum")
    expect(visit.page.locator(".result > .problem")).to_contain_text("A proxy answered with a page")


def test_a_script_that_does_not_come_is_told(visit, services: Services):
    visit.page.route("**/pages/chart.js", lambda route: route.fulfill(status=502))
    visit.page.goto(f"http://127.0.0.1:{services.open.port}/")
    expect(visit.page.get_by_text("If this stays")).to_be_visible()


def test_without_a_key_each_try_asks_for_one(visit, services: Services):
    page = visit.page
    page.goto(f"http://127.0.0.1:{services.keyed.port}/")
    asked = page.locator(".key .problem .asked")
    expect(asked).to_contain_text("This service takes a key")
    assert page.evaluate("document.activeElement.id") == "question"
    page.get_by_label("API key").press("Escape")
    expect(asked).to_have_count(0)
    expect(page.get_by_role("button", name="Key: needed")).to_be_focused()
    page.get_by_role("button", name="An exclusion").click()
    expect(asked).to_contain_text("This service takes a key")
    enter_key(page, "qr_wrong")
    expect(page.locator(".key .problem")).to_contain_text("This key is not accepted")
    expect(page.get_by_label("API key")).to_be_focused()
    page.get_by_role("button", name="Forget it").click()
    expect(asked).to_contain_text("This service takes a key")
    expect(page.get_by_label("API key")).to_be_focused()
