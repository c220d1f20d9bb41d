"""deploy/kubernetes against the published schemas, and against the program that it runs."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import kubernetes_validate
import pytest
import yaml

from api_gateway.cli.exit_codes import CHECK_FAILED
from enrollment.runtime.setting_names import VARIABLES
from enrollment.runtime.settings import from_env

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
RELEASES = ("1.29.0", "1.33.0", "1.37.0")
PROCESSES = ("beat", "gateway", "worker")


def documents():
    files = [FOLDER / name for name in KUSTOMIZATION["resources"]]
    return [one for file in files for one in yaml.safe_load_all(file.read_text())]


OBJECTS = {(one["kind"], one["metadata"]["name"]): one for one in documents()}
WORKLOADS = [key for key in OBJECTS if key[0] in {"Deployment", "Job"}]
names = pytest.mark.parametrize("key", WORKLOADS, ids="/".join)


def pod(key):
    return OBJECTS[key]["spec"]["template"]["spec"]


def container(key):
    (one,) = pod(key)["containers"]
    return one


def option_names(words):
    """The spellings of the options of the command that the words name."""
    from api_gateway.cli import main

    command, rest = main, list(words)
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    return {spelling for parameter in command.params for spelling in parameter.opts}, rest


def violations(document, release):
    """What the schemas of a release say of a document; an unknown kind is refused too."""
    try:
        kubernetes_validate.validate(document, release, strict=True)
    except (
        kubernetes_validate.ValidationError,
        kubernetes_validate.SchemaNotFoundError,
        kubernetes_validate.InvalidSchemaError,
    ) as refused:
        return [refused]
    return []


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("key", OBJECTS, ids="/".join)
def test_each_object_is_as_the_schema_of_the_release_says(key, release):
    assert violations(OBJECTS[key], release) == []


@pytest.mark.parametrize("release", RELEASES)
def test_mistakes_are_found(release):
    """The schemas are those of the release, and unknown members and kinds are no warnings."""
    deployment = OBJECTS["Deployment", "gateway"]
    spec = deployment["spec"]
    wrong = [
        {**deployment, "spec": {**spec, "replica": 2}},
        {**deployment, "spec": {**spec, "selector": "gateway"}},
        {**deployment, "kind": "Deploy"},
        {**deployment, "apiVersion": "extensions/v1beta1"},
    ]
    assert [bool(violations(one, release)) for one in wrong] == [True] * len(wrong)


def test_no_file_is_forgotten_and_no_object_is_there_twice():
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])
    assert len(OBJECTS) == len(documents())


def test_it_is_everything_that_a_production_has():
    assert set(OBJECTS) == {
        ("Namespace", "enrollment"),
        ("ConfigMap", "enrollment"),
        ("Job", "migrate"),
        *(("Deployment", name) for name in PROCESSES),
        ("Service", "gateway"),
        *(("PodDisruptionBudget", name) for name in ("gateway", "worker")),
        *(("HorizontalPodAutoscaler", name) for name in ("gateway", "worker")),
        *(("NetworkPolicy", name) for name in ("default", "callers", "metrics")),
    }


@names
def test_each_pod_runs_an_existing_command(key):
    known, words = option_names(container(key)["args"])
    assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_workers_and_beat_are_asked_for_their_heartbeat(name):
    one = container(("Deployment", name))
    ready, alive = (one[probe]["exec"]["command"] for probe in ("readinessProbe", "livenessProbe"))
    assert ready == ["enroll", "workers", "--here"]
    assert alive == ["sh", "-c", f"{' '.join(ready)}; test $? -ne {CHECK_FAILED}"]
    known, words = option_names(ready[1:])
    assert set(words) <= known


@names
def test_no_pod_may_do_more_than_it_must(key):
    """The Pod Security Standard "restricted", a read-only image and no credential of the API."""
    outer, inner = pod(key)["securityContext"], container(key)["securityContext"]
    assert outer["runAsNonRoot"] is True
    assert outer["runAsUser"] == 10001
    assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inner["allowPrivilegeEscalation"] is False
    assert inner["readOnlyRootFilesystem"] is True
    assert inner["capabilities"] == {"drop": ["ALL"]}
    assert pod(key)["automountServiceAccountToken"] is False
    assert pod(key)["enableServiceLinks"] is False  # no variables that look like settings


@names
def test_each_pod_is_bounded_and_writes_to_its_temporary_folder_only(key):
    assert container(key)["resources"]["limits"]["memory"]
    assert container(key)["resources"]["requests"]["cpu"]
    (volume,) = pod(key)["volumes"]
    assert volume["emptyDir"]["sizeLimit"]
    assert container(key)["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}]


@names
def test_settings_come_from_the_map_and_the_secret(key):
    assert "env" not in container(key)
    assert container(key)["envFrom"] == [
        {"configMapRef": {"name": "enrollment"}},
        {"secretRef": {"name": "enrollment"}},
    ]


def test_the_settings_of_the_map_exist_and_are_valid():
    data = OBJECTS["ConfigMap", "enrollment"]["data"]
    assert set(data) <= set(VARIABLES)
    assert from_env(data, requires_database=True).log_level == "info"
    assert not any("KEY" in name or "SECRET" in name for name in data)


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_metrics_are_served_where_prometheus_may_connect(name):
    served = OBJECTS["ConfigMap", "enrollment"]["data"]["ENROLL_METRICS_PORT"]
    (port,) = container(("Deployment", name))["ports"]
    assert served == f"0.0.0.0:{port['containerPort']}"
    policy = OBJECTS["NetworkPolicy", "metrics"]["spec"]
    assert name in policy["podSelector"]["matchExpressions"][0]["values"]
    (rule,) = policy["ingress"]
    assert [one["port"] for one in rule["ports"]] == [port["name"]]


def test_the_autoscaler_follows_a_metric_that_there_is():
    (metric,) = OBJECTS["HorizontalPodAutoscaler", "worker"]["spec"]["metrics"]
    name = metric["external"]["metric"]["name"]
    page = (FOLDER.parents[1] / "docs" / "operations.md").read_text()
    assert f"`{name}`" in page.partition("| served by |")[2].partition("\n\n")[0]


def test_every_variable_that_a_comment_names_is_a_setting():
    text = "".join(path.read_text() for path in FOLDER.glob("*.yaml"))
    assert set(re.findall(r"\bENROLL_[A-Z_]+", text)) <= set(VARIABLES)


def test_a_gateway_is_asked_where_it_listens_and_has_the_time_to_drain():
    key = ("Deployment", "gateway")
    one, words = container(key), container(key)["args"]
    (port,) = one["ports"]
    assert str(port["containerPort"]) == words[words.index("--port") + 1]
    asked = {probe: one[probe]["httpGet"]["path"] for probe in one if probe.endswith("Probe")}
    assert asked == {
        "startupProbe": "/livez",
        "readinessProbe": "/readyz",
        "livenessProbe": "/livez",
    }
    drains = float(words[words.index("--drain-seconds") + 1])
    ready = one["readinessProbe"]
    assert drains > ready["periodSeconds"] * ready["failureThreshold"]
    assert pod(key)["terminationGracePeriodSeconds"] >= drains + 30
    (service,) = OBJECTS["Service", "gateway"]["spec"]["ports"]
    assert service["targetPort"] == port["name"]


@pytest.mark.parametrize("name", PROCESSES)
def test_selectors_find_their_pods(name):
    labels = OBJECTS["Deployment", name]["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app.kubernetes.io/name": name}
    for (_, other), one in OBJECTS.items():
        selector = one["spec"].get("selector") if "spec" in one else None
        if other == name and selector is not None:
            assert selector.get("matchLabels", selector) == labels


def test_kubectl_makes_one_whole_of_it():
    """`kubectl kustomize` needs no cluster."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl here")
    made = subprocess.run(
        ["kubectl", "kustomize", FOLDER], capture_output=True, text=True, check=True
    )
    assert made.stderr == ""
    built = list(yaml.safe_load_all(made.stdout))
    assert len(built) == len(OBJECTS)
    for one in built:
        assert violations(one, RELEASES[-1]) == []
        if one["kind"] != "Namespace":
            assert one["metadata"]["namespace"] == KUSTOMIZATION["namespace"]
