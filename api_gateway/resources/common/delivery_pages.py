"""Parameters of logs of deliveries: the state, and the id after which a page begins."""

from falcon.asgi import Request

from api_gateway.http.pagination import invalid_cursor, read_cursor
from api_gateway.http.problems import bad_request
from enrollment.domain.codes import DeliveryState
from schemas.findings import Rule, finding

#: Ids of deliveries have fewer digits.
_MAX_DIGITS = 18


def read_delivery_state(req: Request) -> DeliveryState | None:
    """Returns the state to filter by, or None. Raises Problem 400."""
    text = req.get_param("state")
    if not text:
        return None
    if text not in set(DeliveryState):
        found = finding("state", text, Rule.ONE_OF, expected=[*DeliveryState])
        message = f"state must be one of {', '.join(DeliveryState)}."
        raise bad_request("invalid_parameter", message, found)
    return DeliveryState(text)


def read_before(req: Request) -> int | None:
    """Returns the id before which a page begins, or None for the first. Raises Problem 400."""
    text = read_cursor(req)
    if text is None:
        return None
    if (delivery_id := parse_delivery_id(text)) is None:
        raise invalid_cursor(text)
    return delivery_id


def parse_delivery_id(text: str) -> int | None:
    """Returns the id of a delivery, or None for any other text."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None
