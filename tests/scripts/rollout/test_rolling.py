import pytest

from scripts.rehearsal.keys import Key
from scripts.rehearse_rollout import rehearse
from scripts.rollout.records import Record
from scripts.rollout.rolling import info, reasons, takes
from tests.app.live import live

ANYBODY = Key("", "")


def test_a_server_says_its_version_and_the_setting_and_does_as_it_says(hash_settings, monkeypatch):
    settings = hash_settings.model_copy(update={"limits": hash_settings.limits.model_copy(update={"documents": 3})})
    with live(settings, monkeypatch) as here:
        assert info(here.port)["max_client_batch_size"] == 3
        assert info(here.port).keys() == {"version", "max_client_batch_size"}
        assert [takes(here.port, ANYBODY, documents) for documents in (3, 4)] == [200, 413]


def test_a_server_that_says_nothing_of_itself_is_an_error(hash_settings, monkeypatch):
    with live(hash_settings, monkeypatch) as here:
        here.app.state.engine.models = None
        with pytest.raises(RuntimeError, match="GET /info: 503"):
            info(here.port)


def test_reasons_are_told_once_each():
    failed = [Record("TEI", 0.0, 1.0, failures=["502"], answered=True), Record("TEI", 0.0, 1.0, failures=["502"])]
    assert reasons(failed) == "1 of 2 (502)"
    assert reasons([]) == "0 of 0"


@pytest.mark.soak
def test_the_whole_rehearsal_holds(capsys):
    assert rehearse("hash") == 0, capsys.readouterr().out
