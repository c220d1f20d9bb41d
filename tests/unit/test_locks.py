"""The lock files fit pyproject.toml and each other, and are installed without resolving."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.locks import LOCKS, PROJECT, ROOT, read_lock

MAKEFILE = (ROOT / "Makefile").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXTRAS = PROJECT["optional-dependencies"]
BUILD = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
OWN = Requirement("enrollment-service[local]")


def asked_for(*lists: list[str]) -> list[Requirement]:
    """The requirements in the lists, but for the project's own extras."""
    every = [Requirement(line) for lines in lists for line in lines]
    return [requirement for requirement in every if requirement.name != OWN.name]


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [
        ("runtime", asked_for(PROJECT["dependencies"])),
        ("local", asked_for(PROJECT["dependencies"], EXTRAS["local"])),
        ("otel", asked_for(PROJECT["dependencies"], EXTRAS["otel"])),
        ("dev", asked_for(PROJECT["dependencies"], *EXTRAS.values(), BUILD)),
        ("build", asked_for(BUILD)),
    ],
    ids=LOCKS,
)
def test_a_lock_has_everything_that_is_asked_for(lock, requirements):
    locked = read_lock(lock)

    for requirement in requirements:
        entry = locked[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(entry.version), requirement
        assert requirement.extras <= entry.requirement.extras, requirement


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [
        ("runtime", "local"),
        ("runtime", "otel"),
        ("local", "dev"),
        ("otel", "dev"),
        ("build", "dev"),
    ],
)
def test_what_two_locks_have_in_common_is_the_same(smaller, larger):
    part, whole = read_lock(smaller), read_lock(larger)

    assert part
    assert set(part) <= set(whole)
    for name, entry in part.items():
        assert (entry.version, entry.hashes) == (whole[name].version, whole[name].hashes), name


@pytest.mark.parametrize("extra", ["local", "otel"])
def test_production_installs_nothing_of_an_extra(extra):
    packages = {canonicalize_name(Requirement(line).name) for line in EXTRAS[extra]}

    assert packages
    assert packages.isdisjoint(read_lock("runtime"))
    assert packages <= set(read_lock(extra)) & set(read_lock("dev"))


def test_extras_stand_in_the_locks():
    """An installer that resolves all the same then finds them pinned."""
    extras = {name for name, entry in read_lock("dev").items() if entry.requirement.extras}

    assert {"celery", "coverage", "fakeredis", "psycopg", "pyjwt"} <= extras


@pytest.mark.parametrize("text", [MAKEFILE, DOCKERFILE], ids=["Makefile", "Dockerfile"])
def test_every_installation_is_of_locked_files_and_checked(text):
    installs = re.findall(r"(?:pip|\$\(PIP\)) install [^\n]*", text)
    locked = [line for line in installs if "--require-hashes" in line]
    own = [line for line in installs if line not in locked]

    assert all("--no-deps" in line for line in installs)
    assert locked
    assert all("--no-index" in line or "--no-build-isolation" in line for line in own)
    assert re.search(r"(?:pip|\$\(PIP\)) check", text)


def test_the_image_has_the_runtime_lock_alone():
    used = set(re.findall(r"-r requirements/([\w${}]+)\.txt", DOCKERFILE))

    assert used == {"${LOCK}", "build"}
    assert "\nARG LOCK=runtime\n" in DOCKERFILE


def test_the_image_is_given_every_file_that_the_build_reads():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    for name in ("pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]):
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", DOCKERFILE, re.MULTILINE), name
        assert f"!{name}" in ignored
        assert (ROOT / name).is_file()
