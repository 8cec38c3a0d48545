"""Any values within the schema: manifests that a cluster takes and that hold together, or a reason why not."""

import hypothesis
import hypothesis.strategies as st
import pytest

from scripts.chart import merged
from scripts.chart.engine import VERSIONS, Refused, faults, lint
from scripts.chart.examples import examples
from tests.helm.drawn import DEFAULTS, HIDDEN, LEAVES, PARTS, STORES, coherent, nested, wild
from tests.helm.laws import LAWS

hypothesis.settings.register_profile(
    "chart",
    deadline=None,
    derandomize=True,
    max_examples=100,
    suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
)
hypothesis.settings.load_profile("chart")


@hypothesis.given(coherent(), st.sampled_from(VERSIONS))
def test_values_that_belong_together_give_what_a_cluster_takes(helm, values, minor):
    manifests = helm.manifests(values, minor)
    assert [fault for made in manifests for fault in faults(made, minor)] == []
    for law in LAWS:
        law(values, manifests)


@pytest.mark.parametrize("minor", VERSIONS)
@pytest.mark.parametrize("name", examples())
def test_the_examples_keep_the_laws_and_please_helm_and_the_cluster(helm, name, minor):
    values = examples()[name]
    manifests = helm.manifests(values, minor)
    assert lint(values, minor) == []
    assert [fault for made in manifests for fault in faults(made, minor)] == []
    for law in LAWS:
        law(values, manifests)


@pytest.mark.parametrize("store", STORES)
def test_every_store_goes_with_every_part_and_its_notes_tell_no_secret(helm, store):
    for part in [{}, *PARTS]:
        notes = helm.render(merged(store, part))["templates/NOTES.txt"]
        assert "/rerank" in notes
        assert not [hidden for hidden in HIDDEN if hidden in notes]


@hypothesis.given(wild())
def test_values_of_the_schema_are_rendered_or_refused_with_their_names(helm, values):
    try:
        helm.render(values)
    except Refused as error:
        reasons = [line for line in str(error).splitlines() if line.startswith("  - ")]
        assert reasons, error
        for reason in reasons:
            assert reason.removeprefix("  - ").partition(":")[0].split(".")[0] in DEFAULTS


@hypothesis.given(st.sampled_from(sorted(LEAVES)), st.text("abcdefghij_", min_size=1, max_size=8))
def test_a_name_that_does_not_exist_is_refused_at_any_depth(helm, path, name):
    hypothesis.assume((*path[:-1], name) not in LEAVES)
    with pytest.raises(Refused, match=rf"additional properties '{name}' not allowed"):
        helm.render(nested((*path[:-1], name), 3))
