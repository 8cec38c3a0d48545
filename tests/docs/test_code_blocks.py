"""Code that pages show runs: Python, and shell that asks a service, against a real one in the order of the page."""

import re
import subprocess
import threading

import pytest
import uvicorn

from app.cli.index import DEMO, build_demo
from app.main import create_app
from app.server.asgi import options
from app.settings import Settings
from retrieval.encoder.hash_encoder import HashEncoder
from tests.docs.pages import PAGES
from tests.docs.test_page_commands import simple_commands
from tests.paths import ROOT
from tests.waiting import eventually

HERE = "127.0.0.1:8000"  # where pages say that the service is
# Packages of clients (`make clients` runs those), a model (test_library.py), and a broken state.
ELSEWHERE = {"README.md", "docs/library.md"}
QUOTED = re.compile(r"'[^']*'|> *\S+")
PLACEHOLDER = re.compile(r"\b(?:KEY|NAME|HOST|ID|URL|MODEL|TOKEN)\b|\$\w|…")


def asks_the_service(text):
    """Whether shell only asks the service on this machine, with nothing to be filled in."""
    commands = list(simple_commands(QUOTED.sub("''", text)))  # a quoted body may have many lines
    return (
        bool(commands)
        and {words[0] for words in commands} == {"curl"}
        and HERE in text
        and not PLACEHOLDER.search(text)
    )


def runnable(page):
    """The blocks of a page that run here, in their order: (language, line, text)."""
    return [
        (language, line, text)
        for language, line, text in page.fences
        if language == "python" or (language == "sh" and asks_the_service(text))
    ]


RUN = {page.name: blocks for page in PAGES if page.name not in ELSEWHERE and (blocks := runnable(page))}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A service with the demo collection, without a model's weights."""
    settings = Settings(model="hash", data_dir=tmp_path_factory.mktemp("data"), default_collection=DEMO)
    build_demo(settings, HashEncoder(), lambda *_: None)
    app = create_app(settings, {"hash": HashEncoder()})
    server = uvicorn.Server(uvicorn.Config(app, port=0, **options(settings)))
    thread = threading.Thread(target=server.run)
    thread.start()
    eventually(lambda: server.started and app.state.dependencies.engine.state.phase == "ready")
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder: what a page sends it has made before."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", RUN)
def test_the_code_of_a_page_runs(name, address, folder):
    known = {}
    for language, line, text in RUN[name]:
        code = text.replace(HERE, address)
        if language == "python":
            exec(compile("\n" * line + code, ROOT / name, "exec"), known)  # noqa: S102 - our own page
        else:
            code = code.replace("curl ", "curl --silent --fail-with-body --max-time 60 ")
            ran = subprocess.run(["/bin/bash", "-ec", code], cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
            assert ran.returncode == 0, f"{name}:{line}: {code}\n{ran.stdout}{ran.stderr}"
            found_nothing = '"results":[]' in ran.stdout and "min_score" not in code  # scores need a model's weights
            assert not found_nothing, f"{name}:{line}: {code}\nfinds nothing"
    if name == "docs/tutorial.md":
        assert "Question: q" in known["prompt"]("q", known["search"]("shoes", url=f"http://{address}", min_score=0))
        assert known["prompt"]("q", []) is None


def test_pages_of_requests_are_among_them():
    assert {"docs/tutorial.md", "docs/http.md", "docs/streaming.md", "docs/quantum.md"} <= set(RUN)
