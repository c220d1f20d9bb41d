"""Cookies of the console: their names and attributes.

Over TLS their names begin with `__Host-`, so that browsers take them from this host alone, and only
with `Secure`. Browsers drop such a cookie over plain HTTP, and `enroll up` serves this machine over
plain HTTP: there, on a loopback host, the name has no prefix. Any other host over plain HTTP gets
no cookie, hence no session.
"""

import re

from falcon.asgi import Request, Response

from api_gateway.http.problems import forbidden

SECURE_PREFIX = "__Host-"
SESSION_COOKIE = "enroll-console"
LOGIN_COOKIE = "enroll-login"
_PORT = re.compile(r":\d*$", re.ASCII)
_LOOPBACK = re.compile(r"localhost|[\w.-]+\.localhost|127(\.\d{1,3}){3}|\[::1\]", re.ASCII)
_VALUE = re.compile(r"[A-Za-z0-9._=-]{1,3900}", re.ASCII)
#: Longest cookie with its name and attributes that every browser keeps.
MAX_VALUE = 3_900


def read_cookie(req: Request, name: str) -> str | None:
    """Returns the value of a cookie of the console; None without one, or for several."""
    values = req.get_cookie_values(_full_name(req, name)) or []
    if len(values) != 1 or not _VALUE.fullmatch(values[0]):
        return None
    return str(values[0])


def write_cookie(req: Request, resp: Response, name: str, value: str, *, seconds: int) -> None:
    """Sets a cookie for so many seconds; 0 removes it. Raises Problem 403 over plain HTTP."""
    check_transport(req)
    secure = "; Secure" if _is_secure(req) else ""
    resp.append_header(
        "Set-Cookie",
        f"{_full_name(req, name)}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict"
        f"{secure}",
    )


def check_transport(req: Request) -> None:
    """Raises Problem 403 over plain HTTP, unless the host is this machine."""
    host = _PORT.sub("", req.get_header("Host") or "").lower()
    if not _is_secure(req) and not _LOOPBACK.fullmatch(host):
        raise forbidden(
            "The console is served over HTTPS only, except on this machine.",
            "Open it with https://. Behind a proxy that ends TLS, name the proxy in "
            "ENROLL_TRUSTED_PROXIES, and let it send X-Forwarded-Proto.",
        )


def _full_name(req: Request, name: str) -> str:
    return f"{SECURE_PREFIX}{name}" if _is_secure(req) else name


def _is_secure(req: Request) -> bool:
    return bool(req.scheme == "https")
