"""Package indexes, wheels and installations, for tests of the installation."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.binaries import ServerMissing
from tests.support.locks import ROOT, read_lock

#: Seconds for one installation on a busy machine, with downloads.
INSTALL_SECONDS = 300
#: Locked packages whose latest release in `later_releases` is broken.
BROKEN = ("coverage", "fakeredis", "sqlalchemy")
PACKAGES = ("api_gateway", "enrollment", "intake_store", "schemas", "worker")
#: What an installation from the source needs.
SOURCES = (*PACKAGES, "requirements")
FILES = ("Makefile", "MANIFEST.in", "pyproject.toml", *(path.name for path in ROOT.glob("*.md")))
#: Imports every module except the programs.
IMPORT_ALL = f"""
import importlib, pkgutil
for name in {PACKAGES}:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith(("__main__", "migrations.env")):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as missing:
                print(module.name, missing.name)
"""
#: What it prints without the extra `local`, and without `otel`: a module, and what it imports.
LACKS_LOCAL = ["api_gateway.local_stack.embedded_redis", "fakeredis"]
LACKS_TRACES = ["enrollment.runtime.tracing.recorder", "opentelemetry"]
_MAKES_OWN = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ARGS", "PYTHON", "WHEELS")


def outside(**more: str) -> dict[str, str]:
    """Returns the environment without variables of `make` and of virtual environments."""
    left_out = {*_MAKES_OWN, "VIRTUAL_ENV", "PYTHONPATH"}
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in left_out and "ENROLL_" not in name
    }
    # compiling is the slowest part of an installation
    return {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COMPILE": "1", **more}


def run(
    command: Sequence[object], *, folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end and returns it."""
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=outside() if environment is None else environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )


def run_well(
    command: Sequence[object], *, folder: Path, environment: Mapping[str, str] | None = None
) -> str:
    """Returns the output of a command; it must succeed."""
    done = run(command, folder=folder, environment=environment)
    assert done.returncode == 0, f"{command}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def require_index(folder: Path) -> None:
    """Raises ServerMissing if pip cannot download a locked file (a small one is tried)."""
    (folder / "small.txt").write_text(read_lock("dev")["types-pyyaml"].text)
    options = ["--no-deps", "--require-hashes", "--no-cache-dir", "-r", "small.txt"]
    asked = run(
        [sys.executable, "-m", "pip", "download", *options],
        folder=folder,
        environment=outside(PIP_RETRIES="1", PIP_DEFAULT_TIMEOUT="15"),
    )
    if asked.returncode:
        raise ServerMissing(f"no package index can be reached: {asked.stderr.strip()[-300:]}")


def uv_environment(folder: Path) -> dict[str, str]:
    """Returns the environment in which uv uses the index of pip."""
    configured = run_well([sys.executable, "-m", "pip", "config", "list"], folder=folder)
    index = re.search(r"\.index-url='([^']+)'", configured)
    return outside(UV_DEFAULT_INDEX=index[1]) if index else outside()


def install_options() -> list[str]:
    """Returns the options of pip that the Makefile uses for locks."""
    found = re.search(r"^PIP_LOCKED := \$\(PIP\) install (.*)$", _makefile(), re.MULTILINE)
    wheels = re.search(r"^WHEELS \?= (.*)$", _makefile(), re.MULTILINE)
    assert found
    assert wheels
    return found[1].replace("$(WHEELS)", wheels[1]).split()


def _makefile() -> str:
    return (ROOT / "Makefile").read_text()


def copy_project(folder: Path) -> Path:
    """Copies the files of a fresh clone that installing needs."""
    folder.mkdir(parents=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.py[co]")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in (*FILES, "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def broken_release(index: Path, name: str, version: str) -> None:
    """Publishes a release in a local index that cannot be imported and has a missing dependency."""
    folder = index / name
    folder.mkdir(parents=True)
    wheel = f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise ImportError('a broken release')\n")
        archive.writestr(
            f"{about}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            "Provides-Extra: toml\nProvides-Extra: lua\n"
            "Requires-Dist: enroll-nobody-publishes-this==0\n",
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/RECORD", "")
    (folder / "index.html").write_text(f'<!doctype html><a href="{wheel}">{wheel}</a>\n')
