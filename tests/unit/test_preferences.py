"""The preferences that a request states in Prefer (RFC 7240)."""

import pytest
from falcon.testing import create_asgi_req

from api_gateway.http.headers import GatewayRequest, Preference, read_preference


@pytest.mark.parametrize(
    ("header", "wait", "respond_async"),
    [
        ("wait=5", 5.0, False),
        ('WAIT = "5"', 5.0, False),
        ("wait=61", 60.0, False),
        ("respond-async, wait=5", 5.0, True),
        ("wait=5;log=x, return=minimal", 5.0, False),
        ("return=minimal", None, False),
        ("", None, False),
        (",,", None, False),
        # of one that is sent more than once, the first counts (section 2)
        ("wait=5, wait=9", 5.0, False),
        ("wait=x, wait=9", None, False),
        # a comma or a semicolon in quotes separates nothing
        ('note="a, wait=9"', None, False),
        ('note="a\\", wait=9", wait=5', 5.0, False),
        ('note="a; b", respond-async', None, True),
        ('note="never closed, wait=9', None, False),
        *((text, None, False) for text in ("wait", "wait=", "wait=-1", "wait=1.5", "wait=x")),
    ],
)
def test_the_header_is_read_as_its_standard_says(header, wait, respond_async):
    request = create_asgi_req(headers={"Prefer": header}, req_type=GatewayRequest)

    assert read_preference(request) == Preference(wait, respond_async)
