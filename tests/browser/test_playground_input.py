"""The playground's fields: typing, files, the focus, what the address and the history keep."""

import json
import re
import subprocess

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import Services, Visit
from tests.browser.test_playground import PASSAGES, QUESTION, bring, bring_unsettled, choose_file, program, settled


def few_at_once(page: Page, services: Services, most: int) -> None:
    """Open the playground of a service that takes so many passages at once."""
    info = httpx.get(f"http://127.0.0.1:{services.open.port}/info", timeout=60).json() | {"max_client_batch_size": most}
    page.route("**/info", lambda route: route.fulfill(json=info))
    page.goto(f"http://127.0.0.1:{services.open.port}/")


def test_typing_passages_keeps_each_letter_and_the_caret(own):
    field = own.get_by_label("Passages, one a line")
    field.fill("an owl at n\nthe train is late")
    field.evaluate(
        """async (field) => {
            field.setSelectionRange(11, 11);
            for (const letter of "ight") {
                document.execCommand("insertText", false, letter);
                await Promise.resolve().then().then(); // drawn, but not painted: so fast are keys on a busy machine
            }
        }"""
    )
    field.press("!")
    assert field.input_value() == "an owl at night!\nthe train is late"


def test_a_narrower_window_leaves_the_options_open_and_the_focus_where_it_is(page):
    page.set_viewport_size({"width": 640, "height": 900})
    method = page.get_by_label("Method")
    method.focus()
    method.select_option("quantum")
    expect(page.locator(".chart .column.final")).to_have_text("quantum")
    expect(method).to_be_focused()


def test_what_is_chosen_while_a_file_is_read_stays(own):
    own.evaluate("""() => {
        const read = File.prototype.arrayBuffer;
        const released = new Promise((resolve) => (window.release = resolve));
        File.prototype.arrayBuffer = async function () { await released; return read.call(this); };
    }""")
    choose_file(own, "a.txt", "\n".join(PASSAGES).encode())
    own.get_by_label("Method").select_option("quantum")
    own.get_by_label("Question", exact=True).fill(QUESTION)
    own.evaluate("window.release()")
    settled(own, len(PASSAGES))
    expect(own.get_by_label("Method")).to_have_value("quantum")
    expect(own.get_by_label("Question", exact=True)).to_have_value(QUESTION)


def test_several_files_are_taken_together(own, visit):
    files = [{"name": f"{name}.txt", "mimeType": "", "buffer": f"passage {name}".encode()} for name in "ab"]
    own.locator("input[type=file]").set_input_files(files)
    settled(own, 2)
    assert sorted(visit.rows()) == ["passage a", "passage b"]
    expect(own.locator(".file")).to_contain_text("2 passages of a.txt, b.txt")


def test_of_too_many_passages_the_first_are_taken_pasted_or_of_a_file(visit, services):
    page = visit.page
    few_at_once(page, services, 3)
    bring_unsettled(page, PASSAGES)
    settled(page, 3)
    expect(page.locator(".count")).to_have_text("3, more are not taken at once")
    assert page.get_by_label("Passages, one a line").input_value() == "\n".join(PASSAGES)
    choose_file(page, "a.txt", "\n".join(PASSAGES).encode())
    expect(page.locator(".file")).to_contain_text("3 passages of a.txt: 4 are more than are taken at once")
    assert sorted(visit.rows()) == sorted(PASSAGES[:3])


def test_a_topic_to_exclude_counts_without_enter(page):
    bring(page, PASSAGES)
    page.get_by_label("Exclude", exact=True).fill("owl")
    page.get_by_role("button", name="Rank", exact=True).click()
    expect(page.locator(".chip")).to_have_text(["owl×"])
    expect(page.get_by_label("Exclude", exact=True)).to_have_value("")


def test_the_focus_stays_near_what_was_pressed(own):
    own.get_by_role("button", name="An exclusion").click()
    own.get_by_role("button", name=re.compile("^No longer exclude")).click()
    expect(own.get_by_label("Exclude", exact=True)).to_be_focused()
    choose_file(own, "a.txt", b"an owl")
    own.get_by_role("button", name="Edit as lines").click()
    expect(own.get_by_label("Passages, one a line")).to_be_focused()


def test_an_exclusion_that_was_removed_stays_so_after_a_reload(page):
    page.get_by_role("button", name="An exclusion").click()
    page.get_by_role("button", name=re.compile("^No longer exclude")).click()
    expect(page).to_have_url(re.compile("#scene=apple&exclude=$"))
    page.reload()
    settled(page, 10)
    expect(page.locator(".chip")).to_have_count(0)


def test_the_browser_asks_before_passages_of_ones_own_are_lost(page):
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.reload()
    settled(page, 12)
    bring(page, PASSAGES)
    page.reload()
    settled(page, 12)
    assert asked == ["beforeunload"]


def test_ranking_the_same_again_is_no_step_back(page):
    steps = page.evaluate("history.length")
    for _ in range(3):
        with page.expect_request("**/stream"):
            page.get_by_role("button", name="Rank", exact=True).click()
    assert page.evaluate("history.length") == steps


def test_the_last_step_of_a_slider_is_in_the_address_though_another_control_follows(page):
    threshold = page.get_by_label("Threshold")
    threshold.fill("0.2")
    threshold.fill("0.3")
    page.get_by_label("Method").select_option("quantum")
    page.go_back()
    expect(page).to_have_url(re.compile("threshold=0.3$"))


def test_a_scene_keeps_how_to_rank(page, visit, services):
    page.get_by_label("Method").select_option("quantum")
    page.get_by_label("Threshold").fill("0.4")
    page.get_by_role("button", name="Another language").click()
    settled(page, 9)
    expect(page.get_by_label("Method")).to_have_value("quantum")
    expect(page.get_by_label("Threshold")).to_have_value("0.4")
    page.goto(f"http://127.0.0.1:{services.keyed.port}/#scene=docs&method=quantum")
    expect(page.get_by_label("Method")).to_have_value("quantum")


def test_the_program_is_in_the_first_view_and_takes_many_passages(page, services):
    expect(page.get_by_text("Copy as a program")).to_be_in_viewport()
    passages = [f"passage {number} " + "of the night " * 16 for number in range(800)]
    bring(page, passages)
    shown = program(page)
    assert len(shown) > 131_072  # the longest argument that Linux takes
    run = subprocess.run(["bash"], input=shown.encode(), capture_output=True, check=True)  # noqa: S607
    assert len(json.loads(run.stdout)["results"]) == len(passages)


@pytest.mark.parametrize(
    "text", ["夜のフクロウは森で静かにネズミを狩る" * 4, "ינשוף צד עכברים בלילה " * 6, "WIDE LETTERS " * 8]
)
def test_labels_of_the_chart_are_cut_by_themselves(page, text):
    bring(page, [text, "an owl"])
    left = """(labels) => labels.map((label) => {
        const {x, width} = label.getBBox();
        return label.ownerSVGElement.viewBox.baseVal.width - x - width;
    })"""
    ends = page.locator(".line text").evaluate_all(left)
    assert len(ends) == 2
    assert min(ends) >= 0


def test_text_without_spaces_makes_no_page_wider(own):
    own.set_viewport_size({"width": 360, "height": 740})
    bring(own, ["night" * 60, "an owl"])
    own.get_by_role("button", name="As a table").click()
    choose_file(own, f"{'long' * 45}.pdf", b"")
    expect(own.locator(".source [role=alert]")).to_contain_text("is not a .txt")
    assert own.evaluate("document.documentElement.scrollWidth") <= 360


def test_what_is_chosen_while_the_collections_come_stays(visit: Visit, services: Services):
    page = visit.page
    _, key = services.keyed.app.state.dependencies.auth.keys.create("slow", "user", "unlimited", None)
    held: list[Route] = []
    page.route("**/v1/collections", lambda route: held.append(route))  # noqa: PLW0108 - Playwright reads its signature
    page.goto(f"http://127.0.0.1:{services.keyed.port}/")
    page.get_by_label("Question", exact=True).fill("typed before")
    page.get_by_label("API key").fill(key)
    with page.expect_request("**/v1/collections"):
        page.keyboard.press("Enter")
    settled(page, 10)  # it waits for nothing else
    page.get_by_role("button", name="Another language").click()
    with page.expect_response("**/v1/collections"):
        held[0].continue_()
    settled(page, 9)
    expect(page.get_by_role("button", name="Another language")).to_have_attribute("aria-pressed", "true")


def test_what_has_the_focus_is_not_below_the_question(page):
    page.set_viewport_size({"width": 1280, "height": 500})
    page.get_by_role("button", name="Why here?").last.focus()
    hidden = """() => document.querySelector(".question").getBoundingClientRect().bottom
        - document.activeElement.getBoundingClientRect().top"""
    for _ in range(9):
        page.keyboard.press("Shift+Tab")
        assert page.evaluate("document.activeElement.textContent") == "Why here?"
        assert page.evaluate(hidden) <= 0
