"""The lock files satisfy pyproject.toml on every Python and platform of the image."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
BASE = PROJECT["dependencies"]
BUILD = [line for line in (ROOT / "requirements" / "build.in").read_text().splitlines() if not line.startswith("#")]
ASKED = {
    "serve": BASE + EXTRAS["postgres"] + EXTRAS["tracing"],
    "prepare": BASE + [one for one in EXTRAS["prepare"] if not one.startswith("torch")],
    "build": BUILD,
}
PLACES = [
    {"python_version": version, "python_full_version": f"{version}.9", "sys_platform": "linux", "platform_machine": cpu}
    for version in ("3.11", "3.12", "3.13")
    for cpu in ("x86_64", "aarch64")
]


def locked(name: str) -> list[tuple[Requirement, list[str]]]:
    """A lock file's requirements with their hashes."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(Requirement(line.split("--hash")[0]), re.findall(r"--hash=(\S+)", line)) for line in lines]


def versions(name: str, place: dict[str, str]) -> dict[str, Version]:
    """The packages that a lock file installs in an environment."""
    found = {}
    for requirement, _ in locked(name):
        if requirement.marker is None or requirement.marker.evaluate(place):
            (specifier,) = requirement.specifier
            assert specifier.operator == "=="
            assert canonicalize_name(requirement.name) not in found, requirement.name
            found[canonicalize_name(requirement.name)] = Version(specifier.version)
    return found


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place['python_version']}-{place['platform_machine']}")
@pytest.mark.parametrize("name", ASKED)
def test_a_lock_has_what_is_asked_for(name, place):
    installed = versions(name, place)
    for text in ASKED[name]:
        asked = Requirement(text)
        if asked.marker is None or asked.marker.evaluate(place):
            assert installed[canonicalize_name(asked.name)] in asked.specifier, text


@pytest.mark.parametrize("name", ASKED)
def test_a_lock_pins_every_file_by_its_hash_and_names_no_place(name):
    for requirement, hashes in locked(name):
        assert hashes, requirement.name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement.name
        assert requirement.url is None
    assert not re.search(r"://|--(extra-)?index|--find-links", (ROOT / "requirements" / f"{name}.txt").read_text())


def test_what_does_not_belong_is_in_no_lock_and_openvino_has_one_version():
    training = {"torch", "transformers", "sentence-transformers", "huggingface-hub"}
    for place in PLACES:
        served, prepared = versions("serve", place), versions("prepare", place)
        assert not served.keys() & (training | {"setuptools", "pip", "openvino-telemetry"})
        assert "torch" not in prepared
        assert served["openvino"] == prepared["openvino"]  # a model is prepared and served by one version
