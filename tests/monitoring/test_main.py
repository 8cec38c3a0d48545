import json
import re

import pytest
import yaml

from monitoring.__main__ import files, main


def test_the_runbooks_may_be_anywhere(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["monitoring", "--runbooks", "https://wiki/r/", "--out", str(tmp_path / "new")])
    main()
    written = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()}
    assert set(written) == set(files())
    assert capsys.readouterr().out.count("wrote ") == len(written)
    rules = [rule for group in yaml.safe_load(written["alerts.yml"])["groups"] for rule in group["rules"]]
    assert {rule["annotations"]["runbook_url"] for rule in rules} == {
        f"https://wiki/r/{rule['alert']}.md" for rule in rules
    }
    for text in written.values():
        assert all(url.startswith("https://wiki/r") for url in re.findall(r"https://[^\"'\s]+", text))
    assert json.loads(written["dashboard.json"])["uid"] == "quantum-rerank"


def test_a_word_too_many_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["monitoring", "--job", "x"])
    with pytest.raises(SystemExit):
        main()
    assert "--job" in capsys.readouterr().err
