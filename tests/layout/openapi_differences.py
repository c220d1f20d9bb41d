"""Compares the OpenAPI document with an earlier one: ``python -m tests.layout.openapi_differences
before.json``. Wording is ignored; a difference that nobody reviewed makes it fail.

An earlier document is what ``/openapi.json`` of that version gives.
"""

import json
import sys
from pathlib import Path

from tests.support import openapi_document

#: Keywords that only say something to people.
WORDING = {"summary", "description", "title"}
#: Objects whose members are names, not keywords.
NAMED = {"properties", "schemas", "parameters", "headers"}
#: Lists whose order says nothing.
UNORDERED = {"required", "enum"}

#: Reviewed differences between the document written by hand and the derived one.
REVIEWED = {
    "/components/schemas/Event/examples/0/id": "The example is made by the code that makes events.",
    "/components/schemas/Problem/properties/error_code": "It was always sent with status 401.",
    "/components/schemas/Problem/properties/field_errors/additionalProperties": (
        "Its members were not described."
    ),
}


def essence(value, key=""):
    """The document without wording and without order that says nothing."""
    if isinstance(value, dict):
        return {
            name: essence(inner, name)
            for name, inner in value.items()
            if key in NAMED or name not in WORDING or not isinstance(inner, str)
        }
    if isinstance(value, list):
        inner = [essence(one) for one in value]
        return sorted(inner, key=json.dumps) if key in UNORDERED else inner
    return value


def differences(old, new, path=""):
    """The path of each difference, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted(old.keys() | new.keys()):
            yield from differences(old.get(name), new.get(name), f"{path}/{name}")
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{path}/{place}")
    elif old != new and not is_wording(path):
        yield path, old, new


def is_wording(path):
    """Whether it is the text of an example of a problem."""
    return path.endswith(("/example/detail", "/example/message"))


def main():
    old = json.loads(Path(sys.argv[1]).read_text())
    new = json.loads(json.dumps(openapi_document.document()))
    found = list(differences(essence(old), essence(new)))
    for path, before, after in found:
        why = REVIEWED.get(path, "NOT REVIEWED")
        print(f"{path}\n  before: {json.dumps(before)}\n  after:  {json.dumps(after)}\n  {why}")
    return int(any(path not in REVIEWED for path, _, _ in found))


if __name__ == "__main__":
    sys.exit(main())
