"""The Pythons of this machine: on PATH, and those of pyenv."""

import functools
import os
import platform
import subprocess
from pathlib import Path

#: The supported versions.
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
#: The version that runs the tests.
RUNNING = ".".join(platform.python_version_tuple()[:2])
_SAYS = (
    "import ensurepip, platform, venv; "
    "print(platform.python_implementation(), *platform.python_version_tuple()[:2])"
)


@functools.cache
def find_interpreters() -> dict[str, Path]:
    """Returns a Python of each version that is installed and can make virtual environments."""
    found: dict[str, Path] = {}
    for version in VERSIONS:
        usable = (path for path in _candidates(version) if _is_usable(path, version))
        if (path := next(usable, None)) is not None:
            found[version] = path
    return found


def availability() -> str:
    """Returns one line about which versions are installed and which are not."""
    found = find_interpreters()
    here = ", ".join(f"{version} ({path})" for version, path in found.items()) or "none"
    missing = ", ".join(version for version in VERSIONS if version not in found) or "none"
    return f"Installation tried on Python {here}; not on this machine: {missing}"


def _candidates(version: str) -> list[Path]:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted((pyenv / "versions").glob(f"{version}.*/bin/python"))
    folders = [Path(folder) for folder in os.get_exec_path()]
    named = [folder / f"python{version}" for folder in folders if folder != pyenv / "shims"]
    return [path for path in (*kept, *named) if path.exists()]


def _is_usable(path: Path, version: str) -> bool:
    said = subprocess.run(
        [path, "-I", "-c", _SAYS], capture_output=True, text=True, check=False, timeout=60
    )
    return said.stdout.split() == ["CPython", *version.split(".")]
