"""Falcon middleware that sets the headers which every response must have.

Responses are private unless their route is public: a shared cache must not keep them, nor give
them to another caller. A public route decides on its own caching.
"""

from collections.abc import Collection

from falcon.asgi import Request, Response

#: Headers of every response: no guessing of types, no addresses with ids in `Referer`.
COMMON_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
#: Headers of a response for one caller.
PRIVATE_HEADERS = {
    **COMMON_HEADERS,
    "Cache-Control": "private, no-store",
    "Vary": "Authorization, X-Edx-Api-Key",
}


class ResponseHeaders:
    """Sets headers of caching and security; `public` are the URI templates of public routes."""

    def __init__(self, public: Collection[str], hsts_seconds: float | None) -> None:
        always: dict[str, str] = {}
        if hsts_seconds is not None:
            always["Strict-Transport-Security"] = f"max-age={hsts_seconds:.0f}"
        self._public = frozenset(public)
        self._common = [*{**COMMON_HEADERS, **always}.items()]
        self._private = [*{**PRIVATE_HEADERS, **always}.items()]

    async def process_response(
        self,
        req: Request,
        resp: Response,
        _resource: object,
        _succeeded: bool,  # noqa: FBT001 (the framework's signature)
    ) -> None:
        """Sets the headers; keeps what else the resource varies by."""
        if req.uri_template in self._public:
            resp.set_headers(self._common)
            return
        varies_by = resp.get_header("Vary")
        resp.set_headers(self._private)
        if varies_by is not None:
            resp.set_header("Vary", f"{varies_by}, {PRIVATE_HEADERS['Vary']}")
