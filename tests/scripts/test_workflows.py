"""The GitHub workflows: actionlint, and the use of make."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ACTIONLINT = Path(sys.executable).with_name("actionlint")
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
JOBS = [(name, job, content) for name, flow in WORKFLOWS.items() for job, content in flow["jobs"].items()]
STEPS = [(f"{name}-{job}", step) for name, job, content in JOBS for step in content["steps"]]
VERBS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_actionlint_has_nothing_to_say():
    run = subprocess.run([ACTIONLINT, "-no-color"], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    assert (run.returncode, run.stdout) == (0, "")


@pytest.mark.parametrize(("where", "step"), STEPS)
def test_every_step_is_a_verb_of_make_or_an_action_that_is_pinned_by_its_commit(where, step):
    if "uses" in step:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step["uses"])
        return
    verb = re.fullmatch(r"make ([a-z-]+)", step["run"])
    assert verb, "arguments go into the environment, where nobody can write a command into them"
    assert verb[1] in VERBS


def test_nothing_may_be_written_but_where_a_job_says_so_and_no_job_runs_forever():
    assert [flow["permissions"] for flow in WORKFLOWS.values()] == [{"contents": "read"}] * len(WORKFLOWS)
    assert all(0 < content["timeout-minutes"] <= 90 for _, _, content in JOBS)


def test_checked_on_every_python_that_is_promised():
    assert WORKFLOWS["ci"]["jobs"]["check"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]


def test_a_release_has_image_chart_and_wheel_with_their_provenance():
    jobs = WORKFLOWS["release"]["jobs"]
    told = {
        name: [step.get("run") or step["uses"].split("@")[0] for step in job["steps"]] for name, job in jobs.items()
    }
    assert {"make wheel", "make chart-package"} <= set(told["files"])
    for name in ("image", "publish"):
        assert "actions/attest-build-provenance" in told[name]
        assert jobs[name]["permissions"]["id-token"] == jobs[name]["permissions"]["attestations"] == "write"
    assert told["image"].index("make image") < told["image"].index("make image-push")
    assert set(jobs["publish"]["needs"]) == {"files", "image"}


def test_dependabot_looks_after_locks_image_and_actions():
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text())["updates"]
    assert {one["package-ecosystem"] for one in updates} == {"pip", "docker", "github-actions"}
    (pip,) = (one for one in updates if one["package-ecosystem"] == "pip")
    assert pip["directories"] == ["/", "/requirements"]
