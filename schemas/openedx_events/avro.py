"""Avro schemas of records."""


def record(name: str, /, **types: object) -> dict[str, object]:
    """Returns the schema of a record with fields of these types, in this order."""
    fields = [{"name": field, "type": kind} for field, kind in types.items()]
    return {"type": "record", "name": name, "fields": fields}
