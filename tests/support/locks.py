"""The lock files, read; which of their packages an environment installs."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = ("runtime", "local", "dev", "build")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

_ENTRY = re.compile(r"^([a-z0-9].*?) \\\n((?: {4}--hash=.*\n?)+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Locked(NamedTuple):
    """One package of a lock."""

    requirement: Requirement
    hashes: frozenset[str]
    #: Its lines, without the comment on who needs it.
    text: str

    @property
    def version(self) -> str:
        """The one release that it allows."""
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "==", self.text
        return specifier.version

    def applies(self, environment: Mapping[str, str] | None = None) -> bool:
        """Whether it is installed in an environment (by default, this one)."""
        marker = self.requirement.marker
        return marker is None or marker.evaluate(dict(environment or {}))


def path_of(lock: str) -> Path:
    """Where a lock is."""
    return ROOT / "requirements" / f"{lock}.txt"


def read_lock(lock: str) -> dict[str, Locked]:
    """Its packages by their normalized names."""
    text = path_of(lock).read_text()
    packages = {}
    for found in _ENTRY.finditer(text):
        requirement = Requirement(found[1])
        hashes = frozenset(_HASH.findall(found[2]))
        packages[canonicalize_name(requirement.name)] = Locked(requirement, hashes, found[0])
    return packages


def installed_versions(lock: str) -> dict[str, str]:
    """What an installation of the lock consists of, on this Python and this machine."""
    return {name: it.version for name, it in read_lock(lock).items() if it.applies()}
