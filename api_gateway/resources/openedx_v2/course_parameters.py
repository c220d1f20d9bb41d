"""Query parameters that name courses: `course_key` and, deprecated, `course_id`."""

from falcon.asgi import Request, Response

from api_gateway.http.problems import bad_request
from schemas.findings import Rule, finding

#: The deprecated name of each parameter.
DEPRECATED = {"course_key": "course_id", "course_keys": "course_ids"}
#: Since when the old names are deprecated (RFC 9745): the begin of 2026.
DEPRECATION = "@1767225600"


def given_name(req: Request, resp: Response, name: str) -> str:
    """Returns the name under which the request gives a parameter; `name` if it does not.

    Sets the header Deprecation for the deprecated one. Raises Problem 400 if both are given and
    differ: one that is not read would list more than was asked for.
    """
    old = DEPRECATED[name]
    if not req.has_param(old):
        return name
    resp.set_header("Deprecation", DEPRECATION)
    if not req.has_param(name):
        return old
    if req.get_param(name) != req.get_param(old):
        found = finding(old, req.get_param(old), Rule.DUPLICATE)
        message = f"{old} is the deprecated name of {name}: give {name} alone."
        raise bad_request("invalid_parameter", message, found)
    return name
