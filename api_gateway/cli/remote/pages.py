"""Reads lists that the service responds with page by page."""

from collections.abc import Iterator
from typing import Any

from api_gateway.cli.remote.client import Service


def pages(
    service: Service, path: str, member: str, *, limit: int | None = None, **params: str
) -> Iterator[dict[str, Any]]:
    """Yields the items of all pages, at most `limit`; `member` holds those of one page."""
    left = limit
    cursor: dict[str, str] = {}
    while True:
        page = service.get(path, params={**params, **cursor}).json()
        yield from page[member][:left]
        if left is not None:
            left -= len(page[member])
        if not page["next"] or (left is not None and left <= 0):
            return
        cursor = {"cursor": page["next"]}
