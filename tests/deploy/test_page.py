"""docs/deployment.md names nothing that does not exist."""

import re

import pytest

from app.settings import Settings
from tests.deploy.files import ROOT, compose

PAGE = ROOT / "docs" / "deployment.md"
TEXT = PAGE.read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(set(re.findall(r"QRERANK_(\w+)", TEXT))))
def test_a_named_setting_is_one(name):
    found = Settings
    for part in name.lower().split("__"):
        found = found.model_fields[part].annotation


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"make ([a-z-]+)", TEXT)) - {"sure"}))
def test_a_named_verb_is_one(verb):
    assert re.search(rf"^{verb}:", MAKEFILE, re.MULTILINE)


def test_every_image_of_the_compose_file_is_carried():
    images = {service["image"] for service in compose("docker-compose.yml")["services"].values()}
    saved = re.search(r"docker save (.*?) \|", TEXT)[1].split()
    assert set(saved) == images
