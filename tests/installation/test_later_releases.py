"""Whatever is published after the locks were written changes no installation, and stops none."""

import json
import re
import sys
from importlib import metadata

import pytest

from tests.support.locks import installed_versions, read_lock
from tests.support.packages import BROKEN, copy_project, install_options, run, run_well

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

#: What an earlier release of pip's resolver chokes on: a package asks for another's extra.
COVERED = ("pytest-cov", "coverage", "pytest", "iniconfig", "packaging", "pluggy", "pygments")
#: The first pip that takes a locked `coverage` for `coverage[toml]`.
PIP_KNOWS_EXTRAS = (23, 3)
OLD_PIP = "23.2.1"


@pytest.fixture(scope="session")
def old_pip(package_index, tmp_path_factory):
    """A pip that comes with Python 3.11 and 3.12."""
    version = tuple(int(part) for part in metadata.version("pip").split(".")[:2])
    if version < PIP_KNOWS_EXTRAS:
        return [sys.executable, "-m", "pip"]
    folder = tmp_path_factory.mktemp("old-pip")
    download = [sys.executable, "-m", "pip", "download", "--no-deps", f"pip=={OLD_PIP}"]
    run_well(download, folder=folder)
    (wheel,) = folder.glob("*.whl")
    return [sys.executable, f"{wheel}/pip"]


def versions_reported(report: str) -> dict[str, str]:
    """What pip says that it would install."""
    installs = json.loads(report)["install"]
    return {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in installs}


def trial(*, text: str = "", names: tuple[str, ...] = ()) -> list[str]:
    """The rest of a pip command that installs nothing and reports what it would install."""
    wanted = ["-r", text] if text else list(names)
    return ["--dry-run", "--ignore-installed", "--report", "-", *wanted]


def test_the_later_releases_are_what_pip_would_take(later_releases, tmp_path):
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]

    report = run_well([*command, *trial(names=BROKEN)], folder=tmp_path, environment=later_releases)

    assert versions_reported(report) == dict.fromkeys(BROKEN, "9999.0")


@pytest.mark.parametrize("extras", ["extras kept", "extras left out"])
@pytest.mark.parametrize("resolving", ["not resolving", "resolving"])
def test_only_resolving_a_lock_without_extras_fails(
    later_releases, old_pip, tmp_path, resolving, extras
):
    lock = read_lock("dev")
    text = "".join(lock[name].text for name in COVERED)
    assert "coverage[toml]==" in text
    options = install_options()
    assert "--no-deps" in options
    if resolving == "resolving":
        options.remove("--no-deps")
    if extras == "extras left out":
        text = re.sub(r"^(\S+?)\[[^\]]+\]==", r"\1==", text, flags=re.MULTILINE)
    (tmp_path / "lock.txt").write_text(text)

    command = [*old_pip, "install", *options, *trial(text="lock.txt")]
    done = run(command, folder=tmp_path, environment=later_releases)

    if (resolving, extras) == ("resolving", "extras left out"):
        assert done.returncode != 0
        assert "coverage[toml]" in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert versions_reported(done.stdout) == {name: lock[name].version for name in COVERED}


def test_make_install_takes_what_is_locked(later_releases, tmp_path):
    project = copy_project(tmp_path / "clone")
    command = ["make", "install", f"PYTHON={sys.executable}"]

    run_well(command, folder=project, environment=later_releases)

    python = project / ".venv" / "bin" / "python"
    listed = run_well([python, "-m", "pip", "list", "--format", "json"], folder=project)
    versions = {
        item["name"].lower().replace("_", "-"): item["version"] for item in json.loads(listed)
    }
    del versions["pip"], versions["enrollment-service"]
    assert versions == installed_versions("dev")
    run_well([python, "-c", f"import {', '.join(BROKEN)}"], folder=project)
    assert run_well(["make", "--question", "install"], folder=project) == ""
    assert ".venv/bin/enroll up" in run_well(["make", "--dry-run", "run"], folder=project)
