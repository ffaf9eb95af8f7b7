"""`deploy/compose`, as Docker Compose itself reads it; Docker is not there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from redis import AuthenticationError, ConnectionError, Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.deploy.environment import of_the_image, settings_of, without_driver
from tests.e2e.newcomer import need
from tests.e2e.page_blocks import read_blocks
from tests.e2e.processes import REPOSITORY, clean_environment, wait_until
from tests.fakes.ollama import FakeOllama
from tests.fakes.redis_server import redis_program
from tests.service import ADMIN_KEY, serving, settings_for

DEPLOY: Final = REPOSITORY / "deploy"
FOLDER: Final = DEPLOY / "compose"
MOUNTED: Final = "/run/secrets"
ALONE: Final = ("compose.yaml",)
REPLICAS: Final = (*ALONE, "replicas.yaml")
_REPLICAS: Final = ("service", "second")
both = pytest.mark.parametrize("files", [ALONE, REPLICAS], ids=["alone", "replicas"])

Project = Mapping[str, Any]


def compose(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Docker Compose on the files of a folder, with nothing in its environment that they might take."""
    program = Path(sysconfig.get_path("scripts")) / "docker-compose"
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@cache
def project(files: tuple[str, ...]) -> Project:
    """All that the files come to; Compose says nothing besides."""
    named = [word for file in files for word in ("--file", file)]
    done = compose(FOLDER, *named, "config", "--format=json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    found: Project = json.loads(done.stdout)
    return found


def services(files: tuple[str, ...]) -> Mapping[str, Project]:
    """The services by name."""
    found: Mapping[str, Project] = project(files)["services"]
    return found


@pytest.fixture(scope="module", name="secrets")
def _secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `secrets.sh` writes, beside a copy of it."""
    return written(tmp_path_factory.mktemp("compose"))


def written(folder: Path) -> Path:
    """Let a copy of `secrets.sh` write its files."""
    shutil.copy2(FOLDER / "secrets.sh", folder)
    subprocess.run([folder / "secrets.sh"], check=True, env=clean_environment(), timeout=30)
    return folder / "secrets"


def texts(secrets: Path) -> dict[str, str]:
    """The files' texts by name."""
    return {file.name: file.read_text().strip() for file in secrets.iterdir()}


def test_a_fault_would_be_seen(tmp_path: Path) -> None:
    """Compose refuses a file with a misspelt word."""
    (tmp_path / "compose.yaml").write_text((FOLDER / "compose.yaml").read_text().replace("healthcheck:", "healthchek:"))
    done = compose(tmp_path, "config", "--quiet")
    assert done.returncode != 0
    assert "healthchek" in done.stderr


@both
def test_nothing_is_published_but_the_service(files: tuple[str, ...]) -> None:
    """The service alone is published, on loopback; before two replicas it is nginx in its place."""
    published = {name: one["ports"] for name, one in services(files).items() if one.get("ports")}
    if files == ALONE:
        ((name, (port,)),) = published.items()
        assert (name, port["host_ip"], port["published"], port["target"]) == ("service", "127.0.0.1", "8000", 8000)
    else:
        assert published.keys() == {"proxy"}


@both
def test_nobody_else_shares_a_network_with_ollama(files: tuple[str, ...]) -> None:
    """Ollama, which has no keys, is reached by the replicas of the service alone; so are the databases."""
    members: dict[str, set[str]] = {}
    for name, one in services(files).items():
        for network in one["networks"]:
            members.setdefault(network, set()).add(name)
    replicas = {"service"} if files == ALONE else {"service", "second"}
    assert {name for name, found in members.items() if "ollama" in found} == {"models"}
    assert members["models"] == {"ollama", *replicas}
    assert members["stores"] == {"database", "valkey", *replicas}
    networks = project(files)["networks"]
    assert {name for name in members if networks[name].get("internal")} >= {"stores", "watching"}


@both
def test_each_is_looked_after(files: tuple[str, ...]) -> None:
    """Each has a health check, the service that of its image; each starts again, and none can get more rights."""
    for name, one in services(files).items():
        assert "healthcheck" in one or one["image"] == "mlops_backend" or name == "proxy"
        assert one["restart"] == "unless-stopped"
        assert "no-new-privileges:true" in one.get("security_opt", ()) or name == "proxy"
        for other, wanted in one.get("depends_on", {}).items():
            assert wanted["condition"] == "service_healthy"
            assert "healthcheck" in services(files)[other] or services(files)[other]["image"] == "mlops_backend"
    assert "HEALTHCHECK" in (REPOSITORY / "Dockerfile").read_text("utf-8")


@both
def test_the_service_writes_nowhere(files: tuple[str, ...]) -> None:
    """The service has no right to spare, and only `/tmp` to write to."""
    for name in ("service", "second") if files == REPLICAS else ("service",):
        one = services(files)[name]
        assert (one["read_only"], one["tmpfs"], one["cap_drop"]) == (True, ["/tmp"], ["ALL"])
        assert "volumes" not in one


@both
def test_what_is_mounted_is_there(files: tuple[str, ...]) -> None:
    """Each folder or file of the host's that is mounted is in this repository, and is read only."""
    mounts = [volume for one in services(files).values() for volume in one.get("volumes", ())]
    bound = [volume for volume in mounts if volume["type"] == "bind"]
    assert all(Path(volume["source"]).exists() and volume["read_only"] for volume in bound)
    named = {volume["source"] for volume in mounts if volume["type"] == "volume"}
    assert named == project(files)["volumes"].keys()


@both
def test_no_secret_comes_with_the_files(files: tuple[str, ...], secrets: Path) -> None:
    """Every password and key is a file that `secrets.sh` writes, and no variable holds one."""
    asked = {Path(one["file"]).name for one in project(files)["secrets"].values()}
    assert asked == {file.name for file in secrets.iterdir()}
    assert all(Path(one["file"]).parent == FOLDER / "secrets" for one in project(files)["secrets"].values())
    for one in services(files).values():
        files_of = {secret["target"] for secret in one.get("secrets", ())}
        for name, value in one.get("environment", {}).items():
            if re.search("PASSWORD|KEY|SECRET", name):
                assert name.endswith("_FILE")
                assert value in files_of


def test_secrets_are_fresh_and_stay(secrets: Path, tmp_path: Path) -> None:
    """Each run in another place writes others; a second one in the same place changes nothing."""
    before = texts(secrets)
    assert texts(written(secrets.parent)) == before
    assert not set(before.values()) & set(texts(written(tmp_path)).values())
    own = {name: text for name, text in before.items() if name != "metrics_key"}
    assert len(set(own.values())) == len(own)
    assert secrets.stat().st_mode & 0o777 == 0o700
    # Others of the same machine are kept out by the folder; the containers' users are others too.
    assert {file.stat().st_mode & 0o777 for file in secrets.iterdir()} == {0o644}


@both
def test_the_service_takes_the_environment(
    files: tuple[str, ...], secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the variables and the files say are settings with values that it takes, and the others' addresses."""
    one, held = services(files)["service"], texts(secrets)
    own = {name: value.replace(MOUNTED, str(secrets)) for name, value in one["environment"].items()}
    settings = settings_of({**of_the_image(), **own}, monkeypatch)
    assert settings.api_key.get_secret_value() == held["api_key"]
    assert without_driver(settings.database_url.get_secret_value()) == (
        f"postgresql://mlops:{held['postgres_password']}@database/mlops"
    )
    password = held["valkey.conf"].removeprefix("requirepass ")
    assert settings.redis_url.get_secret_value() == f"redis://:{password}@valkey:6379/0"
    assert settings.ollama_base_url == ("http://ollama:11434",)
    told = services(files)["ollama"]["environment"]
    assert settings.max_concurrency == int(told["OLLAMA_NUM_PARALLEL"]) * int(told["OLLAMA_MAX_LOADED_MODELS"])
    minutes, seconds = map(int, re.findall(r"\d+", one["stop_grace_period"]))
    assert 60 * minutes + seconds >= settings.shutdown_delay + settings.drain_timeout + 10


def test_replicas_are_alike_but_for_their_name() -> None:
    """Both replicas have the same image, settings and secrets; nginx knows both by their names."""
    found = services(REPLICAS)
    different = {"networks"}
    one, two = ({key: value for key, value in found[name].items() if key not in different} for name in _REPLICAS)
    assert one == two
    names = {found[name]["networks"]["replicas"]["aliases"][0] for name in _REPLICAS}
    asked = set(re.findall(r"server (\w+):8000", (DEPLOY / "nginx" / "replicas.conf").read_text("utf-8")))
    assert names == asked
    assert found["proxy"]["depends_on"].keys() == set(_REPLICAS)


def test_the_pages_commands_find_the_files() -> None:
    """From the top of the repository the script is there, and Compose finds its file and the service that is named."""
    script, start, pull = read_blocks()["deploy-compose"].text.splitlines()
    assert os.access(REPOSITORY / script, os.X_OK)
    for line in (start, pull):
        docker, subcommand, *options, place = line.split()[:4]
        assert (docker, subcommand, options) == ("docker", "compose", ["--project-directory"])
        done = compose(REPOSITORY, *options, place, "config", "--services")
        assert (done.returncode, done.stderr) == (0, "")
        assert set(done.stdout.split()) == services(ALONE).keys()
    assert pull.split()[5] in services(ALONE)


def test_the_pages_own_file_shows_grafana(tmp_path: Path) -> None:
    """The page's file publishes Grafana besides, on loopback, and takes it out of no network."""
    (tmp_path / "own.yaml").write_text(read_blocks()["deploy-grafana"].text)
    done = compose(FOLDER, "--file=compose.yaml", f"--file={tmp_path}/own.yaml", "config", "--format=json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["services"]["grafana"]
    assert [(port["host_ip"], port["target"]) for port in found["ports"]] == [("127.0.0.1", 3000)]
    assert found["networks"].keys() == {"outside", "watching"}


def test_a_valkey_asks_for_the_password(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command and its file start a server that the address opens, and nobody who has no password."""
    _, mounted, *options = services(ALONE)["valkey"]["command"]
    folder = tmp_path_factory.mktemp("v")
    conf = mounted.replace(MOUNTED, str(secrets))
    command = [redis_program(), conf, *options, "--port", "0", "--unixsocket", str(folder / "s"), "--dir", str(folder)]
    (password,) = re.findall(r"//:(\w+)@", texts(secrets)["redis_url"])
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Redis(unix_socket_path=str(folder / "s"), retry=Retry(NoBackoff(), 0)) as stranger:
            wait_until(lambda: refuses(stranger), 10, lambda: f"{command} does not refuse")
        with Redis(unix_socket_path=str(folder / "s"), password=password) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    finally:
        server.kill()
        server.wait()


def refuses(stranger: Redis) -> bool:
    """Whether a server answers, and wants a password; one that is not there yet does not."""
    try:
        stranger.ping()
    except AuthenticationError:
        return True
    except ConnectionError:
        return False
    raise AssertionError("it answers without a password")


def test_prometheus_knows_where_to_ask() -> None:
    """Its file names the replicas by the name that they share, their port, and the key's file."""
    told = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text("utf-8"))
    assert all((DEPLOY / "prometheus" / name).exists() for name in told["rule_files"])
    (job,) = told["scrape_configs"]
    (places,) = job["dns_sd_configs"]
    watched = services(REPLICAS)
    assert places["names"] == watched["service"]["networks"]["watching"]["aliases"]
    assert places["names"] == watched["second"]["networks"]["watching"]["aliases"]
    assert str(places["port"]) == watched["service"]["environment"]["METRICS_PORT"]
    targets = {secret["target"] for secret in watched["prometheus"]["secrets"]}
    assert {job["authorization"]["credentials_file"]} == targets
    (mount,) = [volume for volume in watched["prometheus"]["volumes"] if volume["type"] == "bind"]
    assert f"--config.file={mount['target']}/prometheus.yaml" in watched["prometheus"]["command"]


async def test_prometheus_may_ask() -> None:
    """The key as Prometheus sends it, `Authorization: Bearer`, opens `/metrics`."""
    async with FakeOllama() as fake, serving(settings_for(fake.url)) as service:
        asked = await service.stranger.get("/metrics", headers={"Authorization": f"Bearer {ADMIN_KEY}"})
    assert asked.status_code == 200
    assert "mlops_" in asked.text


def test_promtool_takes_prometheus_file() -> None:
    """Prometheus's own tool finds no fault in its file."""
    need("promtool")
    file = DEPLOY / "prometheus" / "prometheus.yaml"
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", file], capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_knows_its_prometheus() -> None:
    """Grafana's files are where it looks for them, and its source is Prometheus at its own name and port."""
    grafana = services(ALONE)["grafana"]
    (mount,) = [volume for volume in grafana["volumes"] if volume["type"] == "bind"]
    place = grafana["environment"]["GF_PATHS_PROVISIONING"]
    folder = Path(place.replace(mount["target"], mount["source"]))
    assert sorted(one.name for one in folder.iterdir()) == ["dashboards", "datasources"]
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text("utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((folder / "dashboards" / "files.yaml").read_text("utf-8"))["providers"]
    dashboards = Path(provider["options"]["path"].replace(mount["target"], mount["source"]))
    assert [file.name for file in dashboards.glob("**/*.json")] == ["mlops_backend.json"]
