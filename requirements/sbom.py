"""Prints the software bill of materials (CycloneDX 1.5, JSON) of a lock file, `make sbom`.

It lists each package with its version, the hashes of the files that may be installed, and the
packages that it needs. Equal locks give equal documents. Licences are not in a lock.
"""

import json
import re
import sys
import tomllib
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
_PINNED = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_NEEDED_BY = re.compile(r"# via (\S+)|#   ([^-\s]\S*)")


class Package(NamedTuple):
    """A line of a lock with its hashes and the packages that need it."""

    name: str
    version: str
    hashes: list[str]
    needed_by: list[str]

    @property
    def purl(self) -> str:
        """The package URL, which is its identity."""
        return f"pkg:pypi/{self.name}@{self.version}"


def packages_of(lock: str) -> Iterator[Package]:
    """Yields the packages of a lock file."""
    for entry in re.split(r"\n(?=[A-Za-z0-9])", lock):
        pinned = _PINNED.match(entry)
        if pinned is not None:
            name = re.sub(r"[-_.]+", "-", pinned[1]).lower()
            needed_by = ["".join(found) for found in _NEEDED_BY.findall(entry)]
            yield Package(name, pinned[2], _HASH.findall(entry), needed_by)


def bill_of_materials(lock: str, project: dict[str, str]) -> dict[str, object]:
    """Returns the document for a lock of the project (`name`, `version`, `license`)."""
    packages = list(packages_of(lock))
    root = f"pkg:pypi/{project['name']}@{project['version']}"
    purls = {package.name: package.purl for package in packages} | {project["name"]: root}
    needs: dict[str, list[str]] = defaultdict(list)
    for package in packages:
        for name in package.needed_by:
            if name in purls:
                needs[purls[name]].append(package.purl)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, root + lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": project["name"],
                "version": project["version"],
                "purl": root,
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": [_component(package) for package in packages],
        "dependencies": [
            {"ref": purl, "dependsOn": sorted(needs[purl])} for purl in sorted(purls.values())
        ],
    }


def _component(package: Package) -> dict[str, object]:
    files = [{"alg": "SHA-256", "content": content} for content in package.hashes]
    return {
        "type": "library",
        "bom-ref": package.purl,
        "name": package.name,
        "version": package.version,
        "purl": package.purl,
        "externalReferences": [{"type": "distribution", "url": package.purl, "hashes": files}],
    }


def main() -> None:
    """Prints the document of the lock that is named, by default that of production."""
    lock = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "requirements" / "runtime.txt"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    document = bill_of_materials(lock.read_text(), project)
    sys.stdout.write(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
