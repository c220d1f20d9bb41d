"""No locked package has a known hole, and the bill of materials has all of them."""

import json
import re
import subprocess
import sys

import jsonschema
import pytest
from packaging.version import Version

from tests.support.locks import LOCKS, PROJECT, ROOT, read_lock

#: The first releases without a fault that reaches this service.
MIN_VERSIONS = {
    "pyjwt": "2.13.0",  # the public key as a shared secret; unknown `crit`
    "h11": "0.16.0",  # request smuggling by chunks
    "starlette": "1.3.1",  # unbounded forms, Host with a path
    "celery": "5.6.0",  # the broker's password in logs
    "kombu": "5.7.0",  # connections that are half open
}

#: The required members of CycloneDX 1.5, and those that make a bill useful.
CYCLONEDX = {
    "type": "object",
    "required": ["bomFormat", "specVersion", "serialNumber", "version", "metadata", "components"],
    "properties": {
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.5"},
        "serialNumber": {"pattern": "^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"},
        "version": {"type": "integer", "minimum": 1},
        "metadata": {
            "required": ["component"],
            "properties": {"component": {"$ref": "#/$defs/component"}},
        },
        "components": {
            "type": "array",
            "uniqueItems": True,
            "items": {"$ref": "#/$defs/component", "required": ["externalReferences"]},
        },
        "dependencies": {
            "type": "array",
            "items": {
                "required": ["ref", "dependsOn"],
                "properties": {
                    "ref": {"type": "string"},
                    "dependsOn": {"type": "array", "uniqueItems": True},
                },
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
    "$defs": {
        "component": {
            "type": "object",
            "required": ["type", "name", "version", "bom-ref", "purl"],
            "properties": {
                "type": {"enum": ["application", "library"]},
                "name": {"type": "string", "minLength": 1},
                "version": {"type": "string", "minLength": 1},
                "purl": {"pattern": "^pkg:pypi/[a-z0-9-]+@.+$"},
                "licenses": {"type": "array"},
                "externalReferences": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "required": ["type", "url", "hashes"],
                        "properties": {
                            "type": {"const": "distribution"},
                            "hashes": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "properties": {
                                        "alg": {"const": "SHA-256"},
                                        "content": {"pattern": "^[0-9a-f]{64}$"},
                                    },
                                    "required": ["alg", "content"],
                                },
                            },
                        },
                    },
                },
                "bom-ref": {"type": "string"},
            },
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize("lock", LOCKS)
def test_no_locked_package_is_older_than_the_mend_of_its_known_holes(lock):
    locked = read_lock(lock)

    too_old = {
        name: locked[name].version
        for name, minimum in MIN_VERSIONS.items()
        if name in locked and Version(str(locked[name].version)) < Version(minimum)
    }

    assert too_old == {}


def test_the_packages_that_are_judged_are_those_of_production():
    assert set(MIN_VERSIONS) - {"starlette"} <= set(read_lock("runtime"))


def bill(*arguments):
    script = ROOT / "requirements" / "sbom.py"
    done = subprocess.run(
        [sys.executable, script, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("lock", ["runtime", "local", "otel", "dev"])
def test_the_bill_of_materials_has_every_locked_package(lock):
    document = bill(ROOT / "requirements" / f"{lock}.txt")
    locked = read_lock(lock)

    jsonschema.Draft202012Validator(CYCLONEDX).validate(document)
    listed = {one["name"]: one for one in document["components"]}
    assert {name: one["version"] for name, one in listed.items()} == {
        name: str(entry.version) for name, entry in locked.items()
    }
    for name, one in listed.items():
        (reference,) = one["externalReferences"]
        found = {each["content"] for each in reference["hashes"]}
        assert found == {each.removeprefix("sha256:") for each in locked[name].hashes}


def test_the_bill_of_production_is_whole_and_the_same_each_time():
    document = bill()

    refs = {one["bom-ref"] for one in document["components"]}
    root = document["metadata"]["component"]["bom-ref"]
    needs = {one["ref"]: set(one["dependsOn"]) for one in document["dependencies"]}
    assert set(needs) == refs | {root}
    assert set().union(*needs.values()) <= refs
    names = {re.sub(r"\[.*|[<>=; ].*", "", line).lower() for line in PROJECT["dependencies"]}
    direct = {ref.removeprefix("pkg:pypi/").partition("@")[0] for ref in needs[root]}
    assert direct == names
    reached, waiting = set(), [root]
    while waiting:
        reached.add(ref := waiting.pop())
        waiting += needs[ref] - reached
    assert reached == refs | {root}
    assert bill() == document
