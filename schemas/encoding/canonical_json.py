"""Canonical JSON: equal values have one text; order of members and white space do not count."""

from typing import Any

import orjson

from schemas.encoding import i_json


def canonical_json(value: Any) -> bytes:
    """Encodes a value that `i_json` parsed, with members in the order of their names."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def canonical_json_text(text: bytes) -> bytes:
    """Returns the canonical form of a JSON text; anything else unchanged."""
    try:
        return canonical_json(i_json.loads(text))
    except i_json.InvalidJson:
        return text
