"""The manual, the dashboard and the alert rules speak of the metrics that there are."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from image_cri_shim.admin.families import FAMILIES
from image_cri_shim.measurements import Measurements
from tests.support.metrics import parsed
from tests.support.promql import Selector, grouped_by, selectors

DOCS = Path(__file__).parent.parent / "docs"
MANUAL = (DOCS / "metrics.md").read_text()
DASHBOARD = json.loads((DOCS / "grafana-dashboard.json").read_text())
ALERTS = yaml.safe_load((DOCS / "alerts.yaml").read_text())
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\| ([^|]+) \|$", re.MULTILINE)
LABELS = {one.full_name: set(one.labels) for one in FAMILIES} | {
    f"{one.full_name}{part}": {*one.labels, *(["le"] if part == "_bucket" else [])}
    for one in FAMILIES
    if one.kind == "histogram"
    for part in ("_bucket", "_sum", "_count")
}
# What Prometheus itself says, and what every process has.
LABELS |= {"up": set()} | {
    sample.name: set(sample.labels)
    for name, family in parsed(Measurements(lambda: 0.0)).items()
    if name.startswith(("process_", "python_"))
    for sample in family.samples
}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in ALERTS["groups"][0]["rules"]:
        yield rule["alert"], rule["expr"]
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], variable["query"]["query"].replace(", instance)", ")")


EXPRESSIONS = [pytest.param(expr, id=title) for title, expr in expressions()]


def test_every_family_is_in_the_manual_and_nothing_else() -> None:
    written = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, _ in ROW.findall(MANUAL)
    ]
    assert written == [(one.full_name, one.kind, one.labels) for one in FAMILIES]


def test_every_label_is_explained() -> None:
    explained = MANUAL.partition("## What the labels say")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", explained, re.MULTILINE)
    words = set(re.findall(r"`(\w+)`", " ".join(rows)))
    used = {label for one in FAMILIES for label in one.labels}
    # What they say of a runtime's names is plain.
    assert used - words == {"name", "cri_version"}
    assert words <= used


def test_the_manual_names_no_metric_that_is_not_there() -> None:
    names = set(re.findall(r"\bimage_cri_shim_\w+", MANUAL))
    assert names == {one.full_name for one in FAMILIES}
    short = set(re.findall(r"`([a-z_]+_(?:total|seconds))`", MANUAL))
    assert {f"image_cri_shim_{one.removeprefix('image_cri_shim_')}" for one in short} <= names


def test_an_expression_is_taken_apart() -> None:
    expression = (
        'histogram_quantile(0.9, sum by (job, le) (rate(a_bucket{x!="1(",instance="n"}[5m]))) > 2 '
        "and on (job) b:c / ignoring (y) count(d) or vector(0)"
    )
    assert list(selectors(expression)) == [
        Selector("a_bucket", (("x", "1("),)),
        Selector("b:c", ()),
        Selector("d", ()),
    ]
    assert grouped_by(expression) == {"le", "y"}
    for bad in ("sum(nonsense(a))", "a{x}", 'a{x=="1"}'):
        with pytest.raises(ValueError):
            list(selectors(bad))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_and_label_of_an_expression_exists(expression: str) -> None:
    found = list(selectors(expression))
    assert found
    for one in found:
        assert one.name in LABELS
        assert {label for label, _ in one.matched} <= LABELS[one.name]
    assert grouped_by(expression) <= set().union(*(LABELS[one.name] for one in found))


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_value_that_is_selected_is_one_that_the_manual_has(expression: str) -> None:
    for one in selectors(expression):
        for _, wanted in one.matched:
            for value in wanted.split("|"):
                assert f"`{value}`" in MANUAL


@pytest.mark.parametrize("rule", ALERTS["groups"][0]["rules"], ids=lambda rule: rule["alert"])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert "$labels.instance" in rule["annotations"]["summary"]
    known = LABELS | {"": set()}
    labels = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) - {"instance"}
    assert labels <= set().union(*(known[one.name] for one in selectors(rule["expr"])))


def test_the_dashboard_can_be_imported() -> None:
    assert "id" not in DASHBOARD, "Grafana gives it one"
    panels = DASHBOARD["panels"]
    assert len({one["id"] for one in panels}) == len(panels)
    (source,) = (one for one in DASHBOARD["templating"]["list"] if one["type"] == "datasource")
    wanted = {"type": "prometheus", "uid": f"${{{source['name']}}}"}
    covered: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & covered, "no panel lies on another"
        covered |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == wanted
            assert all(one["datasource"] == wanted for one in panel["targets"])


def promtool(*arguments: str) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("needs promtool (Debian's package prometheus)")
    ended = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_prometheus_takes_the_alert_rules() -> None:
    promtool("check", "rules", str(DOCS / "alerts.yaml"))


def test_alerts_fire_when_they_should_and_only_then() -> None:
    promtool("test", "rules", str(Path(__file__).parent / "data" / "alerts_test.yaml"))


def test_every_alert_has_a_test() -> None:
    tests = yaml.safe_load((Path(__file__).parent / "data" / "alerts_test.yaml").read_text())
    fired = {
        one["alertname"]
        for test in tests["tests"]
        for one in test["alert_rule_test"]
        if one.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in ALERTS["groups"][0]["rules"]}


def test_prometheus_takes_the_dashboards_expressions(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:number{number}", "expr": _filled_in(target["expr"])}
        for number, target in enumerate(
            target for panel in DASHBOARD["panels"] for target in panel.get("targets", ())
        )
    ]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    promtool("check", "rules", str(file))


def _filled_in(expression: str) -> str:
    """Return an expression as Grafana sends it."""
    return expression.replace("$__rate_interval", "5m").replace("$__range", "6h")
