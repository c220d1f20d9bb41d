"""Every Python that pyproject.toml names: what is locked for it, and whether it runs."""

import re
import sys
import tomllib
from importlib.util import find_spec

import pytest
from packaging import tags
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name, parse_wheel_filename

from tests.support.interpreters import RUNNING, VERSIONS, find_interpreters
from tests.support.locks import PROJECT, ROOT, path_of, read_lock
from tests.support.packages import (
    IMPORT_ALL,
    LACKS_TRACES,
    copy_project,
    outside,
    run_well,
    uv_environment,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: The systems that installing by wheels alone is meant for.
LINUX_X86, LINUX_ARM, MACOS_ARM = "x86_64", "aarch64", "arm64"
SYSTEMS = (LINUX_X86, LINUX_ARM, MACOS_ARM)


def environment_of(version: str, system: str) -> dict[str, str]:
    """What the markers of requirements are judged by."""
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_machine": system,
        "platform_python_implementation": "CPython",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "darwin" if system == MACOS_ARM else "linux",
    }


def tags_of(version: str, system: str) -> set[tags.Tag]:
    """The wheels that pip takes there."""
    if system == MACOS_ARM:
        platforms = list(tags.mac_platforms((14, 0), system))
    else:
        platforms = [f"manylinux_2_{minor}_{system}" for minor in range(5, 29)]
        platforms += [f"manylinux{year}_{system}" for year in (1, 2010, 2014)]
    number = tuple(int(part) for part in version.split("."))
    return {
        *tags.cpython_tags(number, platforms=platforms),
        *tags.compatible_tags(
            number, interpreter=f"cp{version.replace('.', '')}", platforms=platforms
        ),
    }


@pytest.fixture(scope="session")
def published(package_index, tmp_path_factory):
    """The wheels of every locked release, as the index has them: (name, tags, hash)."""
    folder = tmp_path_factory.mktemp("published")
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--universal", "--no-deps"]
    command += ["--python-version", VERSIONS[0], "--format", "pylock.toml", path_of("dev")]
    said = run_well(command, folder=folder, environment=uv_environment(folder))
    packages = tomllib.loads(said)["packages"]
    return {
        canonicalize_name(package["name"]): [
            (parse_wheel_filename(wheel["url"].rpartition("/")[2])[3], wheel["hashes"]["sha256"])
            for wheel in package.get("wheels", ())
        ]
        for package in packages
    }


def without_wheel(published, version, system, hashes=None):
    """The locked packages of which the index has no wheel there, or only others than are locked."""
    usable = tags_of(version, system)
    return [
        name
        for name, locked in read_lock("dev").items()
        if locked.applies(environment_of(version, system))
        and not any(
            digest in (locked.hashes if hashes is None else hashes) and usable & fits
            for fits, digest in published[name]
        )
    ]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_locked_package_has_a_locked_wheel(published, version, system):
    assert without_wheel(published, version, system) == []


def test_a_wheel_that_is_missing_or_not_locked_is_noticed(published):
    assert "orjson" in without_wheel(published, "3.9", LINUX_X86)
    assert "celery" in without_wheel(published, VERSIONS[0], LINUX_X86, hashes=())


@pytest.mark.parametrize("version", VERSIONS)
def test_it_installs_and_every_module_is_imported(version, later_releases, tmp_path):
    """On each Python that is here; the one that runs the tests has it installed already."""
    if version == RUNNING:
        assert find_spec("api_gateway")
        check_modules(sys.executable, tmp_path, lacking=[])
        return
    if (python := find_interpreters().get(version)) is None:
        pytest.skip(f"not tried: no Python {version} on PATH or in pyenv")
    project = copy_project(tmp_path / "clone")

    target = [".venv/.ready-local", f"PYTHON={python}"]
    run_well(["make", *target], folder=project, environment=later_releases)

    installed = project / ".venv" / "bin" / "python"
    said = run_well([installed, "-V"], folder=project)
    assert said.startswith(f"Python {version}.")
    check_modules(installed, tmp_path, lacking=LACKS_TRACES)


def check_modules(python, folder, lacking):
    """The command runs, and no module lacks anything else or warns."""
    strict = outside(PYTHONWARNINGS="error::SyntaxWarning")
    shown = run_well([python, "-m", "api_gateway.cli", "--help"], folder=folder, environment=strict)
    assert "\n  up " in shown
    assert (
        run_well([python, "-c", IMPORT_ALL], folder=folder, environment=strict).split() == lacking
    )


def test_the_versions_tried_are_those_that_the_project_names():
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))

    assert tuple(named) == VERSIONS
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={VERSIONS[0]}")
    assert f"--python-version {VERSIONS[0]}" in (ROOT / "Makefile").read_text()
