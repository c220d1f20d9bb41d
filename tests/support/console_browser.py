"""A browser for the console, without its engine: cookies, forms with their tokens, links."""

import re
from html import unescape
from typing import Any
from urllib.parse import urlencode

from tests.support.gateway import Gateway

FORM = "application/x-www-form-urlencoded"
BOUNDARY = "a-boundary"
_TOKEN = re.compile(r'name="form_token" value="([^"]+)"')


class Browser:
    """Keeps cookies as a browser does; over TLS unless `protocol` says otherwise."""

    def __init__(self, gateway: Gateway, *, protocol: str = "https", host: str = "enroll.test"):
        self._gateway = gateway
        self._where = {"protocol": protocol, "host": host}
        self.cookies: dict[str, str] = {}
        self.form_token = ""

    def call(self, method: str, path: str, **more: Any) -> Any:
        """Sends a request with the cookies, and keeps those of the response and the form's token."""
        headers = more.pop("headers", {})
        if self.cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            headers = {"Cookie": pairs, **headers}
        response = self._gateway.call(method, path, headers=headers, **self._where, **more)
        for name, cookie in response.cookies.items():
            if cookie.max_age:
                self.cookies[name] = cookie.value
            else:
                self.cookies.pop(name, None)
        found = _TOKEN.search(response.text if "html" in _type_of(response) else "")
        if found is not None:
            self.form_token = unescape(found[1])
        return response

    def get(self, path: str, **more: Any) -> Any:
        return self.call("GET", path, **more)

    def send(self, path: str, fields: dict[str, str] | None = None, **more: Any) -> Any:
        """Sends a form of the page that was shown last."""
        body = urlencode({"form_token": self.form_token, **(fields or {})})
        headers = {"Content-Type": FORM, **more.pop("headers", {})}
        return self.call("POST", path, body=body, headers=headers, **more)

    def upload(
        self,
        content: str | bytes,
        name: str = "file.csv",
        *,
        media_type: str = "text/csv",
        follows: str = "",
        **fields: str,
    ) -> Any:
        """Sends a file with the form of uploads; `follows` is the submission that it mends."""
        query = urlencode({"follows": follows}) if follows else ""
        self.get("/console/upload", query_string=query)
        given = {"form_token": self.form_token, **fields}
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in given.items()
        ]
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        text = content if isinstance(content, bytes) else content.encode()
        body = f"{''.join(parts)}{head}Content-Type: {media_type}\r\n\r\n".encode() + text
        body += f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.call("POST", "/console/upload", body=body, headers=headers, query_string=query)

    def log_in(self, credential: str, **fields: str) -> Any:
        """Logs in with an API key or a token."""
        self.get("/console/login")
        return self.send("/console/login", {"credential": credential, **fields})


def logged_in(gateway: Gateway, who: dict[str, str], **where: str) -> Browser:
    """Returns a browser with a session of an API key or a token, given as headers."""
    browser = Browser(gateway, **where)
    (value,) = who.values()
    response = browser.log_in(value.removeprefix("JWT "))
    assert response.status_code == 303, response.text
    return browser


def _type_of(response: Any) -> str:
    return str(response.headers.get("content-type", ""))
