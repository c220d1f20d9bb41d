"""What the container files say fits the program that they run."""

import re
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import yaml

from enrollment.runtime.setting_names import VARIABLES
from enrollment.runtime.settings import from_env
from tests.support.production import environment_of
from tests.support.servers import AS_IN_PRODUCTION

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAND_INS = (ROOT / "deploy" / "stand_ins" / "images.sh").read_text()
HAPROXY = ROOT / "deploy" / "haproxy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGE = "enrollment-service:${IMAGE_TAG:-local}"
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == IMAGE)


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that the words name, and the options that they leave for it."""
    from api_gateway.cli import main

    command, rest = main, list(words)
    while isinstance(command, click.Group) and rest:
        name = rest.pop(0)
        assert name in command.commands, f"`enroll` knows no {name!r} in {words}"
        command = command.commands[name]
    return command, rest


def option(service: dict, name: str) -> str:
    command = service["command"]
    return command[command.index(name) + 1]


def test_the_stack_is_complete():
    assert OURS == ["beat", "gateway", "migrate", "worker"]
    assert set(SERVICES) == {*OURS, "postgres", "proxy", "redis"}


def test_postgresql_has_what_is_measured_with():
    program, *words = SERVICES["postgres"]["command"]
    assert program == "postgres"
    assert words[::2] == ["-c"] * len(AS_IN_PRODUCTION)
    assert tuple(words[1::2]) == AS_IN_PRODUCTION


@pytest.mark.parametrize("name", OURS)
def test_each_service_runs_an_existing_command(name):
    command, rest = command_of(SERVICES[name]["command"])
    assert not isinstance(command, click.Group)
    known = {spelling for parameter in command.params for spelling in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_one_service_builds_the_image_and_all_use_it():
    assert [name for name, service in SERVICES.items() if "build" in service] == ["migrate"]
    assert {SERVICES[name]["pull_policy"] for name in OURS} == {"never"}


@pytest.mark.parametrize("name", OURS)
def test_every_setting_is_passed_and_nothing_else(name):
    passed = {key for key in SERVICES[name]["environment"] if key.startswith("ENROLL_")}

    assert passed == set(VARIABLES)
    for variable in VARIABLES:
        assert environment_of(name, **{variable: "given"})[variable] == "given"


@pytest.mark.parametrize("name", OURS)
def test_a_file_of_settings_is_read_if_there_is_one(name):
    assert SERVICES[name]["env_file"] == [{"path": ".env", "required": False}]


@pytest.mark.parametrize("name", OURS)
def test_what_is_passed_by_default_is_valid(name):
    environment = environment_of(name)

    settings = from_env(environment, requires_database=True)
    assert settings.log_level == "info"
    for variable in ("ENROLL_DATABASE_URL", "ENROLL_REDIS_URL"):
        assert urlsplit(environment[variable]).hostname in SERVICES


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_runs_as_root_or_writes_its_image(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert int(service["user"].partition(":")[0]) > 0
    assert any(place.split(":")[0] == "/tmp" for place in service["tmpfs"])


def test_no_password_has_a_default():
    """PostgreSQL's image refuses an empty one; commands such as `ps` need none."""
    text = (ROOT / "docker-compose.yml").read_text()
    uses = re.findall(r"\$\{POSTGRES_PASSWORD([^}]*)\}", text)
    assert uses == [":-"] * 2


def test_the_proxy_has_the_published_port_and_the_gateways():
    gateway, proxy = SERVICES["gateway"], SERVICES["proxy"]
    assert "ports" not in gateway  # there may be several
    (published,) = proxy["ports"]
    assert published == "127.0.0.1:8000:8000"
    assert set(proxy["networks"]) <= set(gateway["networks"])
    assert f"EXPOSE {option(gateway, '--port')}" in DOCKERFILE
    servers = (HAPROXY / "compose.cfg").read_text()
    assert f"gateway:{option(gateway, '--port')}" in servers
    assert 'bind "${ENROLL_PROXY_BIND-:8000}"' in (HAPROXY / "haproxy.cfg").read_text()


@pytest.mark.parametrize("name", OURS)
def test_each_process_reaches_the_servers_beside_it_and_those_outside(name):
    """Beat sends webhooks and states, and publishes; a database of its own may be elsewhere."""
    open_networks = {
        network
        for network in SERVICES[name]["networks"]
        if not (COMPOSE["networks"][network] or {}).get("internal")
    }
    assert "outside" in open_networks
    assert "records" in SERVICES[name]["networks"]


@pytest.mark.parametrize("name", ["gateway", "worker", "beat"])
def test_each_process_has_the_time_that_it_needs_to_end(name):
    assert SERVICES[name]["stop_grace_period"] == "40s"


def test_the_gateway_is_healthy_when_it_says_that_it_is_ready():
    gateway = SERVICES["gateway"]
    code = gateway["healthcheck"]["test"][-1]
    compile(code, "healthcheck", "exec")
    url = urlsplit(re.search(r"http://[^']+", code).group())
    assert (url.hostname, url.path) == ("127.0.0.1", "/readyz")
    assert str(url.port) == option(gateway, "--port")


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_each_that_stays_is_bounded_and_watched(name):
    service = SERVICES[name]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert service["logging"]["options"]["max-size"]
    assert service["restart"] == "unless-stopped"
    assert "test" in service["healthcheck"]


@pytest.mark.parametrize("name", ["worker", "beat"])
def test_workers_and_beat_are_watched_by_an_existing_command(name):
    kind, program, *words = SERVICES[name]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", "enroll")
    command, rest = command_of(words)
    assert not isinstance(command, click.Group)
    assert rest == ["--here"]
    assert "--here" in {spelling for one in command.params for spelling in one.opts}
    assert "|| enroll workers --here\n" in DOCKERFILE


def test_the_memory_of_a_gateway_has_room_for_its_uploads():
    """Files in memory count as memory."""
    gateway = SERVICES["gateway"]
    (folder,) = gateway["tmpfs"]
    in_files = int(re.search(r"size=(\d+)m", folder).group(1))
    assert int(gateway["mem_limit"].removesuffix("m")) >= in_files + 500


@pytest.mark.parametrize("name", OURS)
def test_nobody_starts_before_what_they_stand_on(name):
    for needed, how in SERVICES[name]["depends_on"].items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[needed]
        else:
            assert (needed, SERVICES[needed]["restart"]) == ("migrate", "no")


@pytest.mark.parametrize("name", ["gateway", "beat"])
def test_keys_that_a_gateway_makes_outlive_its_container(name):
    """A new volume takes the owner and the mode of the folder in the image."""
    (mount,) = SERVICES[name]["volumes"]
    volume, folder = mount.split(":")
    assert volume in COMPOSE["volumes"]
    assert environment_of(name)["ENROLL_DATA_DIR"] == folder
    owner = SERVICES[name]["user"].partition(":")[0]
    assert (
        f"install --directory --owner={owner} --group={owner} --mode=0700 {folder} " in DOCKERFILE
    )


def test_redis_keeps_what_it_was_given():
    command = " ".join(SERVICES["redis"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_the_image_runs_the_projects_own_script_as_its_own_user():
    assert 'ENTRYPOINT ["enroll"]' in DOCKERFILE
    assert PROJECT["scripts"] == {"enroll": "api_gateway.cli:main"}
    user = re.search(r"^USER (\S+)", DOCKERFILE, re.MULTILINE).group(1)
    assert {SERVICES[name]["user"] for name in OURS} == {user}


def test_the_image_installs_locked_packages_only():
    installs = re.findall(r"pip install (?!--no-deps --no-index)[^\n]*", DOCKERFILE)
    assert installs
    assert all("--no-deps --require-hashes" in line for line in installs)


def test_the_image_says_what_it_is():
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', DOCKERFILE))
    assert labels["title"] == PROJECT["name"]
    assert labels["licenses"] == PROJECT["license"]
    assert (labels["version"], labels["revision"]) == ("$VERSION", "$REVISION")
    assert f"ARG VERSION={PROJECT['version']}\n" in DOCKERFILE


def test_the_base_is_an_argument_that_can_have_a_digest():
    assert DOCKERFILE.count("FROM ${PYTHON_IMAGE}") == DOCKERFILE.count("FROM ") == 2
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    passed = SERVICES["migrate"]["build"]["args"]["PYTHON_IMAGE"]
    assert passed == f"${{PYTHON_IMAGE:-{base}}}"


@pytest.mark.parametrize("lock", ["runtime.txt", "local.txt", "otel.txt", "dev.txt", "build.txt"])
def test_the_locks_name_no_index_and_leave_no_package_without_a_hash(lock):
    text = (ROOT / "requirements" / lock).read_text()
    assert "://" not in text
    assert not re.search(
        r"^\s*(-i|-f|--\S*index\S*|--find-links|--trusted-host)\b", text, re.MULTILINE
    )
    packages = re.findall(r"^[a-z0-9][^\n]*(?:\n    --hash=[^\n]*)*", text, re.MULTILINE)
    assert packages
    assert all("--hash=sha256:" in package for package in packages)


def test_there_is_a_stand_in_for_each_image_that_is_pulled():
    """deploy/check_containers.sh runs where no registry of images can be reached."""
    made = re.findall(r"^ *(?:root=\S+ )?import (\S+:\S+)", STAND_INS, re.MULTILINE)
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)
    pulled = {service["image"] for service in SERVICES.values()} - {IMAGE}
    assert sorted(made) == sorted({base, *pulled})


@pytest.mark.parametrize(
    "script", sorted((ROOT / "deploy").rglob("*.sh")), ids=lambda path: path.name
)
def test_bash_can_read_each_script(script):
    read = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")
