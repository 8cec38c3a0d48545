"""The playground, as a person uses it."""

import json
import os
import re
import subprocess
import sys
import threading
import time

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Services, violations
from tests.browser.proxy import PREFIX, Proxy
from tests.waiting import PATIENT_S

PASSAGES = ["stock prices fell again", "an owl hunts mice at night", "the train to the coast is late", "night trains"]
QUESTION = "which bird hunts at night"


def bring(page: Page, passages: list[str], question: str = QUESTION) -> None:
    """Rank passages of one's own."""
    bring_unsettled(page, passages, question)
    settled(page, len(passages))


def bring_unsettled(page: Page, passages: list[str], question: str = QUESTION) -> None:
    page.get_by_label("Search in").select_option("your own passages")
    page.get_by_label("Question", exact=True).fill(question)
    page.evaluate("(text) => navigator.clipboard.writeText(text)", "\n".join(passages))
    page.get_by_label("Passages, one a line").press("Control+V")


def settled(page: Page, count: int) -> None:
    expect(page.get_by_text(re.compile(f"^{count} passages? ranked"))).to_be_visible()


def texts_of(services: Services, **changes) -> list[str]:
    """The passages in the order in which the service ranks them."""
    body = {"query": QUESTION, "documents": PASSAGES} | changes
    rows = httpx.post(f"http://127.0.0.1:{services.open.port}/rerank", json=body, timeout=PATIENT_S).json()["results"]
    return [body["documents"][row["index"]] for row in rows]


def test_the_first_view_is_a_ranking_of_the_demo(page, visit, services):
    assert page.evaluate("document.activeElement.id") == "question"
    question = page.get_by_label("Question", exact=True)
    selected = "(field) => field.value.slice(field.selectionStart, field.selectionEnd)"
    assert question.evaluate(selected) == question.input_value() != ""
    assert page.locator(".line").count() == len(visit.rows()) == 12
    assert page.locator(".chart .column").all_text_contents() == ["cosine", "quantum", "hybrid"]
    assert page.locator(".line.best").count() == 5
    assert {httpx.URL(url).netloc for url in visit.urls} == {f"127.0.0.1:{services.open.port}".encode()}
    assert visit.faults == []


def test_pasted_passages_are_ranked_as_the_service_ranks_them(page, visit, services):
    bring(page, PASSAGES)
    assert visit.rows() == texts_of(services)
    page.get_by_label("Method").select_option("quantum")
    expect(page.locator(".chart .column.final")).to_have_text("quantum")
    assert visit.rows() == texts_of(services, method="quantum")
    assert page.locator(".chart .column").all_text_contents() == ["cosine", "quantum"]
    assert "QRERANK_API_KEY" in program(page)
    assert '"min_score"' not in program(page)


def program(page: Page) -> str:
    details = page.locator("details.snippets")
    if details.get_attribute("open") is None:
        page.get_by_text("Copy as a program").click()
    return page.locator("pre").text_content() or ""


def test_the_copied_programs_are_the_request_on_the_screen(page, services):
    passages = ['it\'s an "owl" $HOME `ls` \\n', "the night train", "owls hunt at night"]
    bring(page, passages, "which 'bird' hunts?")
    page.get_by_label("Exclude", exact=True).fill("trains")
    page.keyboard.press("Enter")
    page.get_by_label("Threshold").fill("0.05")
    expect(page.locator(".chip")).to_have_count(1)
    environment = {"PATH": os.environ["PATH"], "QRERANK_API_KEY": "any"}
    shown = program(page)
    run = subprocess.run(["bash"], input=shown.encode(), env=environment, capture_output=True, check=True)  # noqa: S607
    expected = texts_of(services, query="which 'bird' hunts?", documents=passages, exclude=["trains"], min_score=0.05)
    assert [passages[row["index"]] for row in json.loads(run.stdout)["results"]] == expected
    page.get_by_role("button", name="Python (httpx)").click()
    run = subprocess.run([sys.executable, "-c", program(page)], env=environment, capture_output=True, check=True)  # noqa: S603
    assert [passages[int(line.split()[0])] for line in run.stdout.decode().splitlines()] == expected
    for name in ("Cohere SDK", "LangChain"):
        page.get_by_role("button", name=name).click()
        compile(program(page), name, "exec")
        assert "\t" not in program(page)
        assert "which 'bird' hunts?" in program(page)
    page.get_by_role("button", name="Copy", exact=True).click()
    assert page.evaluate("navigator.clipboard.readText()") == program(page)


def test_an_exclusion_ranks_anew_and_back_takes_it_back(page, visit, services):
    bring(page, PASSAGES)
    plain = visit.rows()
    page.get_by_label("Exclude", exact=True).fill("owl")
    page.keyboard.press("Enter")
    excluded = texts_of(services, exclude=["owl"])
    assert excluded != plain
    expect(page.locator(".passage .text").first).to_have_text(excluded[0])
    assert visit.rows() == excluded
    assert "owl" not in page.url  # texts stay out of the address
    page.go_back()
    expect(page.locator(".passage .text").first).to_have_text(plain[0])
    expect(page.locator(".chip")).to_have_count(0)
    page.go_forward()
    page.get_by_role("button", name="No longer exclude owl").click()
    expect(page.locator(".passage .text").first).to_have_text(plain[0])


def test_back_shows_each_setting_also_after_a_reload(page):
    method, deadline = page.get_by_label("Method"), page.get_by_label("Deadline")
    method.select_option("quantum")
    deadline.select_option("none")
    page.reload()
    settled(page, 12)
    method.select_option("classical")
    deadline.select_option("2 s")
    for chosen in (("classical", "0"), ("quantum", "0"), ("quantum", ""), ("hybrid", "")):
        page.go_back()
        expect(method).to_have_value(chosen[0])
        expect(deadline).to_have_value(chosen[1])
    assert page.url.endswith("#scene=docs")


def test_a_reload_keeps_the_language_that_was_taken_from_a_scene(page):
    page.get_by_role("button", name="Another language").click()
    page.get_by_label("Language").select_option("service’s own")
    expect(page).to_have_url(re.compile("language="))
    page.reload()
    settled(page, 9)
    expect(page.get_by_label("Language")).to_have_value("")


def test_after_a_reload_the_demo_has_a_question(page, visit):
    question = page.get_by_label("Question", exact=True)
    offered = question.input_value()
    question.fill("night trains")
    question.press("Enter")
    expect(page).to_have_url(re.compile("#collection=demo$"))
    page.reload()
    settled(page, 12)
    assert question.input_value() == offered
    assert page.locator(".problem p").count() == 0


def test_the_program_has_the_question_that_was_ranked(page):
    question = page.get_by_label("Question", exact=True)
    ranked = question.input_value()
    question.fill("not ranked yet")
    page.get_by_label("Threshold").fill("0.2")
    assert ranked in program(page)
    assert '"min_score": 0.2' in program(page)
    assert question.input_value() == "not ranked yet"
    page.get_by_label("Method").select_option("quantum")
    expect(page.locator("pre")).to_contain_text("not ranked yet")


def test_the_threshold_greys_what_is_below_without_asking(page, visit):
    bring(page, PASSAGES)
    scores = [float(text) for text in page.locator(".number").all_text_contents()]
    asked = [url for url in visit.urls if url.endswith("/stream")]
    middle = round((scores[1] + scores[2]) / 2, 2)
    page.get_by_label("Threshold").fill(str(middle))
    expect(page.locator(".passage.below")).to_have_count(sum(score < middle for score in scores))
    expect(page.get_by_text("2 of 4 below it")).to_be_visible()
    assert f"threshold={middle}" in page.url
    assert [url for url in visit.urls if url.endswith("/stream")] == asked
    assert f'"min_score": {middle}' in program(page)


def test_a_control_without_effect_says_so(page):
    bring(page, PASSAGES)
    page.get_by_label("Deadline").select_option("none")
    expect(page.get_by_text("No effect on this list")).to_be_visible()
    assert "deadline=0" in page.url


def test_the_address_brings_a_setting_back(page, visit, services):
    visit.page.goto(f"http://127.0.0.1:{services.open.port}/#scene=apple&method=classical&threshold=0.3")
    visit.page.reload()
    settled(visit.page, 10)
    assert visit.page.get_by_label("Method").input_value() == "classical"
    assert visit.page.get_by_label("Threshold").input_value() == "0.3"
    expect(visit.page.locator(".chip")).to_have_count(1)


def test_with_the_keyboard_alone(page):
    page.keyboard.press("Control+A")
    page.keyboard.type("night train")
    page.keyboard.press("Enter")
    expect(page.locator(".question")).to_have_text(re.compile("night train$"))
    settled(page, 12)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('plot')"):
            break
    page.keyboard.press("ArrowDown")
    expect(page.locator(".line.strong")).to_have_count(1)
    expect(page.locator(".chart [role=status]")).to_have_text(
        re.compile(r": \w+ by cosine, \w+ by quantum, first by hybrid\.$")
    )
    page.keyboard.press("ArrowDown")
    expect(page.locator(".chart [role=status]")).to_have_text(re.compile(r"second by hybrid\.$"))
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.classList.contains('passage')")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".why")).to_contain_text("by meaning")


def test_a_word_of_the_question_shows_what_it_met(page):
    bring(page, PASSAGES)
    expect(page.locator("mark").first).to_be_visible()
    outlined = """[...document.querySelectorAll("mark")]
        .filter((mark) => getComputedStyle(mark).outlineStyle === "solid").map((mark) => mark.textContent)"""
    page.get_by_role("button", name="hunts", exact=True).hover()
    assert page.evaluate(outlined) == ["hunts"]
    page.locator("mark", has_text="night").first.hover()
    assert set(page.evaluate(outlined)) == {"night"}
    page.get_by_role("button", name="night", exact=True).click()
    page.get_by_role("heading", level=1).hover()
    assert set(page.evaluate(outlined)) == {"night"}


def test_a_long_question_leaves_room_for_the_passages(page):
    bring(page, PASSAGES, f"{QUESTION} " * 40)
    expect(page.locator(".token").first).to_be_visible()
    assert page.locator(".question").bounding_box()["height"] <= 900 / 4 + 1


def test_the_chart_is_drawn_for_the_width_that_it_has(page):
    for width, labels in ((1280, 5), (1000, 0), (900, 0), (700, 5), (360, 0)):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator(".line.best text")).to_have_count(labels)
        page.wait_for_function("Math.abs(document.querySelector('.plot svg').getScreenCTM().a - 1) < 0.01")


def test_a_thousand_passages(page, visit):
    page.get_by_label("Deadline").select_option("400 ms")
    bring(page, [f"passage number {i} about the night" if i % 3 else f"train {i}" for i in range(1000)])
    expect(page.locator(".passage")).to_have_count(100)
    assert page.locator(".line").count() == 40
    expect(page.get_by_text("960 more below these 40")).to_be_visible()
    page.get_by_role("button", name="Show all 1000 passages").click()
    expect(page.locator(".passage")).to_have_count(1000)
    assert visit.faults == []


def test_texts_are_text_whatever_they_hold(page, visit):
    evil = ["<img src=x onerror='window.hacked = 1'>", "<script>window.hacked = 1</script>", "javascript:alert(1)//"]
    bring(page, evil, "<img src=x onerror='window.hacked = 1'>")
    page.get_by_label("Exclude", exact=True).fill(evil[1])
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_count(1)
    page.get_by_role("button", name="As a table").click()
    assert sorted(visit.rows()) == sorted(evil)
    page.get_by_label("Search in").select_option("collection demo")
    settled(page, 12)
    assert "<b>Evil</b>" in page.locator(".passage h3").all_text_contents()
    assert page.locator("img, .passage b:not(.bar b), iframe").count() == 0
    assert page.evaluate("window.hacked") is None
    assert not [url for url in visit.urls if url.endswith("/x")]


def test_scripts_of_others_are_refused_by_the_policy(page):
    refused = """new Promise((resolve) => {
        addEventListener('securitypolicyviolation', (event) => resolve(event.violatedDirective));
        const script = document.createElement('script');
        try {
            script.textContent = 'window.hacked = 1';
            document.body.append(script);
        } catch {
            resolve('trusted types');
        }
    })"""
    assert page.evaluate(refused) in {"trusted types", "require-trusted-types-for", "script-src-elem"}
    assert page.evaluate("window.hacked") is None


def test_languages_are_laid_out_as_they_are_read(page):
    bring(page, ["البومة تصطاد ليلا", "猫头鹰在夜间捕猎", "owl " * 2500], "owl 猫")
    direction = "(element) => getComputedStyle(element).direction"
    arabic = page.locator(".passage .text", has_text="البومة")
    assert arabic.evaluate(direction) == "rtl"
    chinese = page.locator(".passage .text", has_text="猫头鹰")
    assert (chinese.evaluate(direction), chinese.evaluate("(e) => getComputedStyle(e).textAlign")) == ("ltr", "start")
    long = page.locator(".passage .text", has_text="owl owl")
    assert len(long.text_content()) < 1000
    page.get_by_role("button", name="Show all 9,999 characters").click()
    assert len(long.text_content()) > 9000


@pytest.mark.parametrize(
    ("name", "content", "passages"),
    [
        ("a.txt", "an owl\n\nа сова\n", ["an owl", "а сова"]),
        ("a.jsonl", '{"title": "Owls", "text": "hunt\\nmice"}\n"plain"\n', ["Owls hunt\nmice", "plain"]),
        ("a.csv", 'id,Text\r\n1,"an ""owl"", at night"\r\n2,trains\r\n', ['an "owl", at night', "trains"]),
    ],
)
def test_files_are_passages(page, visit, name, content, passages):
    page.get_by_label("Search in").select_option("your own passages")
    page.locator("input[type=file]").set_input_files(
        {"name": name, "mimeType": "text/plain", "buffer": content.encode()}
    )
    settled(page, len(passages))
    assert sorted(visit.rows()) == sorted(passages)


def test_a_bad_file_says_which_line(page, visit):
    before = visit.rows()
    page.get_by_label("Search in").select_option("your own passages")
    page.locator("input[type=file]").set_input_files({"name": "a.jsonl", "mimeType": "", "buffer": b'"good"\n{bad\n'})
    expect(page.get_by_role("alert").get_by_text("Line 2 is not JSON.")).to_be_visible()
    assert visit.rows() == before


def choose_file(page: Page, name: str, content: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "", "buffer": content})


def test_files_of_other_programs_are_read_as_they_are_meant(own):
    for name, content, passages in (
        ("semicolons.csv", b"id;text\r\n1;an owl, at night\r\n", ["an owl, at night"]),
        ("tabs.csv", b"id\ttext\n1\ta train, late\n", ["a train, late"]),
        ("old.csv", b"text\rone mouse\rtwo mice\r", ["one mouse", "two mice"]),
        ("old.txt", b"a bird\rtwo birds", ["a bird", "two birds"]),
        ("marked.csv", "\ufefftext,id\nan oak,1\n".encode(), ["an oak"]),
        ("large.csv", b'text\n"' + b'a ""b"" ' * 100_000 + b'"\n"the end"\n', ["the end"]),
    ):
        choose_file(own, name, content)
        for passage in passages:
            expect(own.locator(".passage .text").get_by_text(passage, exact=True)).to_be_visible()
        expect(own.locator(".file")).to_contain_text(name)


def test_a_file_that_would_be_ranked_wrong_says_why(own, visit):
    before, alert = visit.rows(), own.locator(".source [role=alert]")
    for name, content, message in (
        ("latin.txt", "Käuze jagen".encode("latin-1"), "not in UTF-8"),
        ("a.pdf", b"%PDF-1.4", "a.pdf is not a .txt, .jsonl or .csv file."),
        ("a.json", b"[]", "a.json is not"),
        ("wide.csv", b"id,text\n1,fine\n2,an owl, at night\n", "Row 3 has more cells than the first"),
        ("columns.csv", b"id,score\n1,2\n", "call the one with passages “text”"),
        ("empty.txt", b"", "empty.txt holds no passages."),
    ):
        choose_file(own, name, content)
        expect(alert).to_contain_text(message)
    assert visit.rows() == before
    own.get_by_role("button", name="Another language").click()
    expect(alert).to_be_empty()


def test_a_file_may_be_dropped_anywhere_and_text_falls_into_fields(own):
    drop = """([content, name]) => {
        const data = new DataTransfer();
        if (name) data.items.add(new File([content], name));
        else data.setData("text/plain", content);
        const drop = new DragEvent("drop", {bubbles: true, cancelable: true, dataTransfer: data});
        document.querySelector(name ? "h1" : "#passages").dispatchEvent(drop);
        return drop.defaultPrevented;
    }"""
    assert not own.evaluate(drop, ["an owl", None])
    assert own.evaluate(drop, ["an owl\na train", "dropped.txt"])
    settled(own, 2)
    expect(own.locator(".file")).to_contain_text("2 passages of dropped.txt")


def test_in_one_column_a_fault_opens_what_hides_it(visit, services: Services):
    visit.page.set_viewport_size({"width": 390, "height": 800})
    visit.page.goto(f"http://127.0.0.1:{services.open.port}/#collection=gone")
    expect(visit.page.get_by_label("Search in")).to_be_hidden()
    visit.page.get_by_label("Question", exact=True).fill("owl")
    visit.page.keyboard.press("Enter")
    expect(visit.page.locator(".source [role=alert]")).to_contain_text("gone")
    expect(visit.page.locator(".source [role=alert] p")).to_be_in_viewport()


def test_the_page_works_below_a_sub_path(visit, proxy: Proxy):
    proxy.paths.clear()
    visit.page.goto(proxy.url)
    settled(visit.page, 12)
    expect(visit.page.locator("mark").first).to_be_visible()
    assert all(path.startswith(f"{PREFIX}/") for path in proxy.paths)
    assert f"{PREFIX}/v1/rerank/stream" in proxy.paths
    assert f"{proxy.url}rerank" in program(visit.page)
    assert visit.faults == []


def test_a_fault_leaves_the_last_good_ranking(visit, proxy: Proxy):
    visit.page.goto(proxy.url)
    settled(visit.page, 12)
    before = visit.rows()
    alert = visit.page.locator(".result > .problem")
    proxy.broken = True
    visit.page.get_by_label("Method").select_option("classical")
    expect(alert).to_contain_text("answered 502")
    assert visit.rows() == before
    proxy.broken, proxy.cut_after = False, 40
    visit.page.get_by_role("button", name="Try again").click()
    expect(alert).to_contain_text("connection was lost")
    assert visit.rows() == before
    proxy.cut_after = None
    visit.page.get_by_role("button", name="Try again").click()
    expect(alert).to_be_empty()
    expect(visit.page.locator(".summary")).to_contain_text("classical")


def test_a_slow_ranking_says_what_it_does_and_shows_what_is_known(visit, proxy: Proxy):
    visit.page.goto(proxy.url)
    settled(visit.page, 12)
    proxy.held = threading.Event()
    bring_unsettled(visit.page, PASSAGES)
    expect(visit.page.locator(".result .busy")).to_have_text(re.compile("Ranked by words|read so far"))
    expect(visit.page.locator(".passage")).to_have_count(len(PASSAGES))
    proxy.held.set()
    proxy.held = None
    settled(visit.page, len(PASSAGES))


def test_a_key_is_asked_for_and_kept_in_memory_only(visit, services: Services):
    page, auth = visit.page, services.keyed.app.state.dependencies.auth
    made, key = auth.keys.create("person", "user", "unlimited", None)
    page.goto(f"http://127.0.0.1:{services.keyed.port}/")
    expect(page.get_by_role("alert").get_by_text("This service takes a key")).to_be_visible()
    expect(page.get_by_text("This ranking was recorded")).to_be_visible()
    assert visit.rows()[0] == "Unworn shoes can be returned within 30 days of delivery."
    assert page.locator(".line").count() == 10
    assert not [url for url in visit.urls if "/v1/" in url and not url.endswith("/cluster/auth")]
    assert violations(page) == []
    _, expired = auth.keys.create("late", "user", "unlimited", time.time() - 1)
    enter_key(page, expired)
    expect(page.get_by_role("alert").get_by_text("This key is not accepted")).to_be_visible()
    assert len(visit.rows()) == 10  # the recorded ones
    enter_key(page, key)
    settled(page, 10)
    stored = page.evaluate(
        "JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}, history.state])"
    )
    assert key not in stored
    assert not [url for url in visit.urls if key in url]
    before = visit.rows()
    auth.keys.revoke(made.id)
    auth.authenticator.forget()
    page.get_by_label("Method").select_option("quantum")
    expect(page.get_by_role("alert").get_by_text("This key is not accepted")).to_be_visible()
    assert visit.rows() == before
    page.reload()
    expect(page.get_by_role("alert").get_by_text("This service takes a key")).to_be_visible()


def enter_key(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Use it").click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_serious(page, scheme, width):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_role("button", name="An exclusion").click()
    settled(page, 10)
    page.get_by_role("button", name="Why here?").first.click()
    page.get_by_role("button", name="As a table").click()
    program(page)
    page.get_by_role("button", name=re.compile("^Key")).click()
    page.get_by_label("Threshold").fill("0.6")
    expect(page.locator("mark").first).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # nothing is cut at the side


def test_the_theme_can_be_chosen(page):
    for theme, paper in (("light", "rgb(255, 255, 255)"), ("dark", "rgb(21, 24, 28)")):
        page.get_by_role("button", name=re.compile("^Theme")).click()
        expect(page.get_by_role("button", name=f"Theme: {theme}")).to_be_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == paper
    page.reload()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()


def test_a_slow_model_says_what_is_happening(visit, services: Services):
    info = json.dumps({"error_type": "not-ready", "status": 503, "message": "loading", "retry_after_s": 1})
    answers = iter([True, False])
    visit.page.route(
        "**/info", lambda route: route.fulfill(status=503, body=info) if next(answers) else route.continue_()
    )
    visit.page.goto(f"http://127.0.0.1:{services.open.port}/")
    expect(visit.page.get_by_text("The model is loading")).to_be_visible()
    settled(visit.page, 12)
