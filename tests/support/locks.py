"""Reads the lock files, and finds which of their packages an environment installs."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("runtime", "local", "otel", "dev", "build")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

_ENTRY = re.compile(r"^([a-z0-9].*?) \\\n((?: {4}--hash=.*\n?)+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Locked(NamedTuple):
    """One package of a lock."""

    requirement: Requirement
    hashes: frozenset[str]
    #: Its lines, without the comment about its dependents.
    text: str

    @property
    def version(self) -> str:
        """Returns the locked release."""
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "==", self.text
        return specifier.version

    def applies(self, environment: Mapping[str, str] | None = None) -> bool:
        """Returns whether it is installed in an environment (by default, this one)."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate(dict(environment or {}))


def path_of(lock: str) -> Path:
    """Returns the path of a lock."""
    return ROOT / "requirements" / f"{lock}.txt"


def read_lock(lock: str) -> dict[str, Locked]:
    """Returns its packages by their normalized names."""
    text = path_of(lock).read_text()
    packages = {}
    for found in _ENTRY.finditer(text):
        requirement = Requirement(found[1])
        hashes = frozenset(_HASH.findall(found[2]))
        packages[canonicalize_name(requirement.name)] = Locked(requirement, hashes, found[0])
    return packages


def installed_versions(lock: str) -> dict[str, str]:
    """Returns the packages that the lock installs on this Python and machine."""
    return {name: it.version for name, it in read_lock(lock).items() if it.applies()}
