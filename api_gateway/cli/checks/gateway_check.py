"""The check of a gateway: whether it answers, and what its `/readyz` finds."""

from typing import Any

import httpx

from api_gateway.cli.checks.check_result import CheckResult, one_line
from api_gateway.cli.remote.client import API_PREFIX

#: Seconds in which `/readyz` answers, also while the database hangs.
_TIMEOUT_SECONDS = 6.0
_SHOWN_CHARACTERS = 300


def check_gateway(url: str, *, is_named: bool) -> CheckResult:
    """Checks whether a gateway runs, and its readiness; the path of the API may follow the URL.

    A gateway without workers or beat accepts what is not processed, which is wrong even where all
    of them were stopped in good order.
    """
    try:
        root = url.strip().rstrip("/").removesuffix(API_PREFIX)
        response = httpx.get(f"{root}/readyz", timeout=_TIMEOUT_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        message = f"no response from {url}: {one_line(error)}"
        advice = "`enroll up` or `enroll gateway` starts it; --url names another address"
        return CheckResult("wrong" if is_named else "note", "gateway", message, advice)
    body = _read_body(response)
    found = "; ".join(map(str, body.get("findings", ()))) or response.text[:_SHOWN_CHARACTERS]
    if not response.is_success:
        advice = "run `enroll doctor` on the machine of the gateway"
        return CheckResult("wrong", "gateway", f"{url} is not ready: {found}", advice)
    if body.get("status") == "ok":
        return CheckResult("ok", "gateway", f"{url} is ready")
    advice = "docs/operations.md, Health, says what to do about each"
    is_idle = body.get("workers") == 0 or body.get("beat_age_seconds", 0) is None
    message = f"{url} is degraded: {found}"
    return CheckResult("wrong" if is_idle else "note", "gateway", message, advice)


def _read_body(response: httpx.Response) -> dict[str, Any]:
    """Returns the members of the body; none if another program answered."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
