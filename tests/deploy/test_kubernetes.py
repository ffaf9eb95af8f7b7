"""`deploy/kubernetes` is what Kubernetes takes, fits together, and says what the service says of itself."""

from __future__ import annotations

import copy
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from mlops_backend.app import create_app
from mlops_backend.config import Settings
from tests.deploy.environment import of_the_image, settings_of, without_driver
from tests.deploy.manifests import BUILDS, FOLDER, Manifest, built, kubectl, named, of_kind, pods, selects
from tests.e2e.page_blocks import read_blocks
from tests.e2e.processes import REPOSITORY
from tests.service import settings_for

# The oldest that its own project still mended when this was written, and the newest that has schemas here.
VERSIONS = ("1.34", "1.37")
SERVICE = {"app.kubernetes.io/name": "mlops-backend", "app.kubernetes.io/part-of": "mlops-backend"}
SECRETS = "/run/secrets/mlops-backend"
each = pytest.mark.parametrize("name", BUILDS)
HELD = {"api-key": "k" * 32, "database-url": "postgresql://mlops:p@db/mlops", "redis-url": "redis://:p@redis:6379/0"}


def service_pod(name: str) -> Manifest:
    """The specification of the service's pods."""
    spec: Manifest = named(name, "Deployment", "mlops-backend")["spec"]["template"]["spec"]
    return spec


def variables_of_the_map(name: str) -> dict[str, str]:
    """What the map of settings puts into the service's environment."""
    (settings,) = of_kind(name, "ConfigMap")
    found: dict[str, str] = settings["data"]
    return found


def environment(name: str, secrets: Path) -> dict[str, str]:
    """The service's variables in a pod: the image's, the map's, the container's own."""
    (container,) = service_pod(name)["containers"]
    assert [source["configMapRef"]["name"] for source in container["envFrom"]] == [
        manifest["metadata"]["name"] for manifest in of_kind(name, "ConfigMap")
    ]
    own = {variable["name"]: variable["value"].replace(SECRETS, str(secrets)) for variable in container["env"]}
    return {**of_the_image(), **variables_of_the_map(name), **own}


@pytest.fixture(name="secrets")
def _secrets(tmp_path: Path) -> Path:
    """The secret's files, as a pod sees them."""
    for key, text in HELD.items():
        (tmp_path / key).write_text(text)
    return tmp_path


@each
@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_it(name: str, version: str) -> None:
    """Each object is one that this version's API knows, and has no field that it does not know."""
    for manifest in built(name):
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


@pytest.mark.parametrize(
    ("place", "value"),
    [("replica", 2), ("strategy", "Recreate"), ("replicas", "two")],
    ids=["a misspelt field", "a text for an object", "a text for a number"],
)
def test_a_fault_would_be_seen(place: str, value: Any) -> None:
    """The schemas refuse a field that is misspelt or of another kind."""
    wrong = copy.deepcopy(dict(named("base", "Deployment", "mlops-backend")))
    wrong["spec"][place] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


def test_every_file_is_used() -> None:
    """No file lies there that none of the builds reads."""
    listed = set()
    for file in FOLDER.glob("**/kustomization.yaml"):
        kustomization = yaml.safe_load(file.read_text("utf-8"))
        names = [*kustomization.get("resources", ()), *kustomization.get("components", ())]
        names += [patch["path"] for patch in kustomization.get("patches", ()) if "path" in patch]
        names += [env for made in kustomization.get("configMapGenerator", ()) for env in made["envs"]]
        listed |= {(file.parent / name).resolve() for name in names}
    there = {file for file in FOLDER.glob("*/**/*") if file.is_file() and file.name != "kustomization.yaml"}
    components = set(FOLDER.glob("components/*"))
    assert there | components <= listed
    assert {folder.name for folder in FOLDER.iterdir() if (folder / "kustomization.yaml").exists()} == set(BUILDS)


@each
def test_the_service_takes_the_environment(name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the pod's variables and files say are settings, all of them, with values that it takes."""
    variables = environment(name, secrets)
    settings = settings_of(variables, monkeypatch)
    assert settings.api_key.get_secret_value() == HELD["api-key"]
    shared = name == "several"
    database = without_driver(settings.database_url.get_secret_value())
    assert database == (HELD["database-url"] if shared else variables["DATABASE_URL"])
    assert settings.redis_url.get_secret_value() == (HELD["redis-url"] if shared else "")


@each
def test_a_pod_is_given_time_to_drain(name: str) -> None:
    """A pod is killed ten seconds after the delay and the drain at the earliest."""
    settings = variables_of_the_map(name)
    waited = float(settings["SHUTDOWN_DELAY"]) + float(settings["DRAIN_TIMEOUT"]) + 10
    assert service_pod(name)["terminationGracePeriodSeconds"] >= waited
    # Endpoints have to notice before the drain begins.
    probe = service_pod(name)["containers"][0]["readinessProbe"]
    assert float(settings["SHUTDOWN_DELAY"]) >= probe["periodSeconds"] * probe["failureThreshold"]


def test_probes_ask_routes_that_are_there() -> None:
    """Liveness and start are asked of the process, readiness of its backends too; each path is a route."""
    (container,) = service_pod("base")["containers"]
    paths = {kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}
    assert set(paths.values()) <= {rule.rule for rule in create_app(settings_for()).url_map.iter_rules()}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    metrics = int(variables_of_the_map("base")["METRICS_PORT"])
    assert ports == {"http": Settings.model_fields["port"].default, "metrics": metrics}


@each
def test_no_pod_may_more_than_it_needs(name: str) -> None:
    """Pods fit the strictest of Kubernetes's own standards, write to named places alone, and hold no token."""
    (namespace,) = of_kind(name, "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for _, pod in pods(name):
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] >= 10001
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not pod["automountServiceAccountToken"]
        assert not named(name, "ServiceAccount", pod["serviceAccountName"])["automountServiceAccountToken"]
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert {kind for volume in pod["volumes"] for kind in volume} <= {
            "name",
            "secret",
            "emptyDir",
            "persistentVolumeClaim",
        }


def test_the_pods_user_is_the_images() -> None:
    """The service's pods run as the user that owns the image's folder for data."""
    (user,) = re.findall(r"^USER (\d+):(\d+)$", (REPOSITORY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    context = service_pod("base")["securityContext"]
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == user


@each
def test_no_secret_is_in_the_files(name: str) -> None:
    """Secrets come from an object that the operator makes; none is here, nor a key among the settings."""
    assert of_kind(name, "Secret") == []
    assert not {"API_KEY", "API_KEYS", "DATABASE_URL", "REDIS_URL"} & variables_of_the_map(name).keys()


@each
def test_names_lead_to_what_is_there(name: str) -> None:
    """Services, budgets and policies select pods of this build; volumes and claims have their names."""
    labels = [found for found, _ in pods(name)]
    selectors = [service["spec"]["selector"] for service in of_kind(name, "Service")]
    selectors += [deployment["spec"]["selector"] for deployment in of_kind(name, "Deployment")]
    selectors += [budget["spec"]["selector"] for budget in of_kind(name, "PodDisruptionBudget")]
    selectors += [policy["spec"]["podSelector"] for policy in of_kind(name, "NetworkPolicy")]
    assert all(any(selects(selector, found) for found in labels) for selector in selectors)
    claims = {claim["metadata"]["name"] for claim in of_kind(name, "PersistentVolumeClaim")}
    used = set()
    for _, pod in pods(name):
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == volumes.keys()
        used |= {
            one["persistentVolumeClaim"]["claimName"] for one in volumes.values() if "persistentVolumeClaim" in one
        }
    assert used == claims
    assert {manifest["metadata"].get("namespace", "mlops") for manifest in built(name)} == {"mlops"}


def allowed(name: str, labels: Manifest) -> list[tuple[Manifest, str]]:
    """From where the policies let somebody in to the pods with these labels, and to which of their ports."""
    policies = [one["spec"] for one in of_kind(name, "NetworkPolicy") if selects(one["spec"]["podSelector"], labels)]
    assert all(policy["policyTypes"] == ["Ingress"] for policy in policies)
    assert policies
    # A rule without `from` would be everybody, one without `ports` all of them; no policy at all is both.
    rules = [rule for policy in policies for rule in policy.get("ingress", ())]
    return [(peer, port["port"]) for rule in rules for peer in rule["from"] for port in rule["ports"]]


@each
def test_only_the_ingress_and_prometheus_reach_the_service(name: str) -> None:
    """The ingress's namespace is let in to the service, and Prometheus to its numbers; nobody of its own is."""
    assert allowed(name, SERVICE) == [
        ({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}, "http"),
        (
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}},
            },
            "metrics",
        ),
    ]
    assert allowed(name, {"app.kubernetes.io/name": "another"}) == []


@pytest.mark.parametrize("name", ["one", "several"])
def test_only_the_service_reaches_ollama(name: str) -> None:
    """Ollama's one peer is the service's pods in its own namespace, on its own port."""
    ((peer, port),) = allowed(name, {"app.kubernetes.io/name": "ollama"})
    assert (port, list(peer)) == ("http", ["podSelector"])
    assert [labels for labels, _ in pods(name) if selects(peer["podSelector"], labels)] == [
        {"app.kubernetes.io/name": "mlops-backend"}
    ]


@pytest.mark.parametrize("name", ["one", "several"])
def test_the_service_knows_its_ollama(name: str) -> None:
    """The address is that of Ollama's Service, and the bound what Ollama takes at a time."""
    settings = variables_of_the_map(name)
    service = named(name, "Service", "ollama")
    assert settings["OLLAMA_BASE_URL"] == f"http://ollama:{service['spec']['ports'][0]['port']}"
    container = named(name, "Deployment", "ollama")["spec"]["template"]["spec"]["containers"][0]
    told = {variable["name"]: variable["value"] for variable in container["env"]}
    streams = int(told["OLLAMA_NUM_PARALLEL"]) * int(told["OLLAMA_MAX_LOADED_MODELS"])
    assert int(settings["MAX_CONCURRENCY"]) == streams


def test_one_replica_is_never_two() -> None:
    """A database in a file has one pod at a time, and nothing that would make more of them."""
    for name in ("base", "one"):
        spec = named(name, "Deployment", "mlops-backend")["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
        assert of_kind(name, "HorizontalPodAutoscaler") == []
        assert {"name": "data", "mountPath": "/data"} in service_pod(name)["containers"][0]["volumeMounts"]


def test_several_replicas_are_the_autoscalers() -> None:
    """With PostgreSQL and Redis the autoscaler says how many there are, and no file of a replica's own is left."""
    scaler = named("several", "HorizontalPodAutoscaler", "mlops-backend")["spec"]
    deployment = named("several", "Deployment", "mlops-backend")
    assert "replicas" not in deployment["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "mlops-backend"}
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    mounts = {mount["mountPath"] for mount in service_pod("several")["containers"][0]["volumeMounts"]}
    assert mounts == {SECRETS, "/tmp"}


async def test_the_autoscalers_metric_is_one_of_the_services() -> None:
    """The queue's metric has one name in the autoscaler, in the adapter's rules and at `/metrics`."""
    scaler = named("several", "HorizontalPodAutoscaler", "mlops-backend")["spec"]
    (metric,) = [one["pods"]["metric"]["name"] for one in scaler["metrics"] if one["type"] == "Pods"]
    (rule,) = yaml.safe_load((FOLDER / "adapter-rules.yaml").read_text("utf-8"))
    assert rule["seriesQuery"].partition("{")[0] == metric
    app = create_app(settings_for("http://127.0.0.1:1", auth_enabled=False))
    answer = await app.test_client().get("/metrics", headers={"X-API-Key": settings_for().api_key.get_secret_value()})
    assert re.search(rf"^{metric} ", await answer.get_data(as_text=True), re.MULTILINE)


def test_the_pages_commands_make_what_pods_look_for() -> None:
    """The page's three commands make the namespace, the secret with its key, and one of the builds."""
    commands = [shlex.split(line) for line in read_blocks()["deploy-kubernetes"].text.splitlines()]
    ((namespace,), (secret,)) = [kubectl(*line[1:], "--dry-run=client", "--output=yaml") for line in commands[:2]]
    assert namespace["metadata"]["name"] == secret["metadata"]["namespace"] == "mlops"
    (volume,) = [one["secret"] for one in service_pod("one")["volumes"] if "secret" in one]
    assert volume["secretName"] == secret["metadata"]["name"]
    assert f"{SECRETS}/{next(iter(secret['data']))}" == service_pod("one")["containers"][0]["env"][0]["value"]
    assert commands[2][:3] == ["kubectl", "apply", "-k"]
    assert REPOSITORY / commands[2][3] in {FOLDER / name for name in BUILDS}


def test_the_pages_own_kustomization_changes_what_it_says(tmp_path: Path) -> None:
    """Beside a checkout the page's Kustomization builds, with its image, its settings and its patches."""
    shutil.copytree(FOLDER, tmp_path / "mlops_backend" / "deploy" / "kubernetes")
    (tmp_path / "kustomization.yaml").write_text(read_blocks()["deploy-kustomization"].text)
    made = kubectl("kustomize", tmp_path)
    for manifest in made:
        assert kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True) == VERSIONS[-1]
    (settings,) = [manifest["data"] for manifest in made if manifest["kind"] == "ConfigMap"]
    assert settings == {**variables_of_the_map("several"), "MAX_CONCURRENCY": "8", "DRAIN_TIMEOUT": "300"}
    pods_of = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in made if one["kind"] == "Deployment"}
    service, ollama = pods_of["mlops-backend"], pods_of["ollama"]
    assert service["containers"][0]["image"] == "registry.example/mlops_backend:1.0"
    waited = float(settings["SHUTDOWN_DELAY"]) + float(settings["DRAIN_TIMEOUT"]) + 10
    assert service["terminationGracePeriodSeconds"] >= waited
    assert ollama["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": 1}
