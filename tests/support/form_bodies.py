"""Bodies of forms, as clients send them."""

import json
from urllib.parse import urlencode

BOUNDARY = "a-boundary"


def form_texts(body):
    """The fields of a form that asks what the JSON asks."""
    return {name: _text(value) for name, value in body.items()}


def multipart_header(boundary=BOUNDARY):
    """The header of a multipart form."""
    return {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def multipart(fields, boundary=BOUNDARY, more=""):
    """A multipart form of plain fields; `more` are further parts."""
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
        for name, text in fields.items()
    )
    return f"{parts}{more}--{boundary}--\r\n".encode()


def media_of(body):
    """Content type and bytes of a request in each media type that Open edX takes."""
    return {
        "json": ("application/json", json.dumps(body).encode()),
        "upper": ("application/JSON", json.dumps(body).encode()),
        "urlencoded": ("application/x-www-form-urlencoded", urlencode(form_texts(body)).encode()),
        "multipart": (multipart_header()["Content-Type"], multipart(form_texts(body))),
    }


def _text(value):
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
