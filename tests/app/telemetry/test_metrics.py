from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from app.telemetry.catalogue import FAMILIES
from app.telemetry.metrics import Metrics

BODY = {"query": "owl song", "documents": ["market prices", "an owl song"]}


def series(name: str, **labels: str) -> str:
    """The name of a series in these tests."""
    return name.removeprefix("qrerank_") + "".join(f" {label}={of}" for label, of in sorted(labels.items()))


def parsed(text: str) -> dict[str, float]:
    """The value of each series."""
    found = [sample for family in parse(text) for sample in family.samples]
    return {series(sample.name, **sample.labels): sample.value for sample in found}


def values(client) -> dict[str, float]:
    """The values that a client reads from `/metrics`."""
    return parsed(client.get("/metrics").text)


def test_every_metric_of_the_catalogue_is_an_attribute_and_is_rendered():
    metrics = Metrics()
    assert list(Metrics.__annotations__) == [family.short for family in FAMILIES]
    text, media_type = metrics.render()
    assert media_type.startswith("text/plain; version=0.0.4")
    found = {family.name: family for family in parse(text.decode())}
    for family in FAMILIES:
        rendered = found.pop(family.name.removesuffix("_total"))
        assert (rendered.type, rendered.documentation) == (family.type, family.help)
        assert getattr(metrics, family.short)._labelnames == family.labels
    assert not found


def test_who_asks_for_openmetrics_gets_it(client):
    client.post("/rerank", json=BODY)
    asked = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = client.get("/metrics", headers={"Accept": asked})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    names = {family.name for family in parse_openmetrics(answer.text)}
    assert names == {family.name.removesuffix("_total") for family in FAMILIES}
    assert client.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_who_asks_for_a_version_that_is_none_gets_the_oldest(client):
    for kind in ("text/plain", "application/openmetrics-text"):
        answer = client.get("/metrics", headers={"Accept": f"{kind};version=newest"})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")


def test_histograms_are_had_without_the_rest():
    metrics = Metrics()
    metrics.request_seconds.labels("/rerank", "hybrid", "21-50", "ok").observe(0.3)
    (samples,) = [found.samples for found in metrics.histograms() if found.name == "qrerank_request_seconds"]
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert (buckets["0.2"], buckets["0.3"], buckets["+Inf"]) == (0, 1, 1)
    assert len(list(metrics.histograms())) == sum(family.type == "histogram" for family in FAMILIES)
