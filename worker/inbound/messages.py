"""One message of another system: the API key it bears, its requests, its id, where to reply."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from schemas.encoding import i_json
from schemas.encoding.canonical_json import canonical_json
from schemas.findings import Finding
from schemas.messages.finding_messages import describe_finding

#: Maximum bytes of one request.
MAX_REQUEST_BYTES = 65_536
#: Maximum bytes of all requests of a message, and their maximum number.
MAX_MESSAGE_BYTES, MAX_MESSAGE_REQUESTS = 1_000_000, 1_000
#: Maximum characters of an id that a sender gives its message, and of a key.
MAX_SENT_ID, MAX_API_KEY_TEXT = 200, 500
#: Before the ids of messages among the Idempotency-Keys: HTTP requests have others.
_ID_PREFIX = "inbound:"
#: Maximum characters of a name of a stream for replies.
_MAX_STREAM = 255

#: The fields of an entry of the stream.
ENTRY_FIELDS = frozenset({"key", "request", "requests", "id", "reply_to", "traceparent"})


class MessageRefusal(Exception):
    """A message that is not accepted; the code is stable, the message a sentence."""

    def __init__(self, code: str, message: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.findings = findings

    def as_json(self) -> dict[str, Any]:
        """Returns the members of a problem: code, message, and the errors if there are any."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        return {**body, "errors": list(self.findings)} if self.findings else body


class InboundMessage(NamedTuple):
    """A message whose form is right; its key and its requests are not checked yet."""

    api_key: str
    #: A request, or a list of them.
    content: object
    #: Canonical JSON of the content.
    text: bytes
    #: The id that its sender gave it, else that of its transport.
    sent_id: str
    idempotency_key: str
    #: The stream for the reply; None without one.
    reply_to: str | None = None
    #: The context of its sender's trace (W3C: traceparent), as sent.
    sender_context: str | None = None
    #: The context of its own span, where that is recorded.
    traceparent: str | None = None

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the content."""
        return hashlib.sha256(self.text).digest()


class ReplyStreams(NamedTuple):
    """The streams that may get replies: those that begin with the prefix; none without one."""

    prefix: str | None
    #: Streams that may not, although they do.
    reserved: frozenset[str] = frozenset()

    def allows(self, stream: object) -> bool:
        """Whether a stream may get replies."""
        return (
            self.prefix is not None
            and isinstance(stream, str)
            and stream.startswith(self.prefix)
            and stream not in self.reserved
            and stream.isprintable()
            and len(stream) <= _MAX_STREAM
        )


def entry_message(
    fields: Mapping[str, str], stream: str, entry_id: str, replies: ReplyStreams
) -> InboundMessage:
    """Returns the message of an entry of the stream. Raises MessageRefusal."""
    if unknown := fields.keys() - ENTRY_FIELDS:
        name = min(unknown)[:50]
        raise _invalid(
            f"The field {name!r} is unknown: known are {', '.join(sorted(ENTRY_FIELDS))}."
        )
    given = [name for name in ("request", "requests") if name in fields]
    if len(given) != 1:
        raise _invalid("Exactly one of the fields request and requests is needed.")
    content = _parse(fields[given[0]])
    if isinstance(content, list) != (given[0] == "requests"):
        raise _invalid("request must be a JSON object, and requests a JSON list of objects.")
    sent_id = fields.get("id")
    return _message(
        fields.get("key"),
        content,
        own_id=sent_id,
        transport_id=f"{stream}/{entry_id}",
        shown_id=entry_id if sent_id is None else sent_id,
        reply_to=_reply_stream(fields.get("reply_to"), replies),
    )._replace(sender_context=fields.get("traceparent"))


def call_message(
    arguments: Mapping[str, object],
    task_id: str,
    replies: ReplyStreams,
    sender_context: str | None = None,
) -> InboundMessage:
    """Returns the message of a call of the task. Raises MessageRefusal."""
    content = _normalized(arguments.get("requests"))
    if not isinstance(content, list | dict):
        raise _invalid("requests must be an object with one request, or a list of them.")
    own_id = arguments.get("idempotency_key")
    return _message(
        arguments.get("key"),
        content,
        own_id=own_id,
        transport_id=f"task/{task_id}",
        shown_id=task_id if own_id is None else own_id,
        reply_to=_reply_stream(arguments.get("reply"), replies),
    )._replace(sender_context=sender_context)


def _message(
    api_key: object,
    content: object,
    *,
    own_id: object,
    transport_id: str,
    shown_id: object,
    reply_to: str | None,
) -> InboundMessage:
    if not isinstance(api_key, str) or not 0 < len(api_key) <= MAX_API_KEY_TEXT:
        raise MessageRefusal(
            "not_authenticated", "The field key is missing: name the API key to act with."
        )
    if own_id is not None and not _is_id(own_id):
        raise _invalid(f"The id must be a printable text of 1 to {MAX_SENT_ID} characters.")
    text = canonical_json(content)
    _check_size(content, text)
    id_ = transport_id if own_id is None else f"id/{own_id}"
    return InboundMessage(api_key, content, text, str(shown_id), _ID_PREFIX + id_, reply_to)


def _is_id(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_SENT_ID and value.isprintable()


def _check_size(content: object, text: bytes) -> None:
    """Raises MessageRefusal for too many or too long requests."""
    if not isinstance(content, list):
        if len(text) > MAX_REQUEST_BYTES:
            raise _too_large(f"A request may have {MAX_REQUEST_BYTES} bytes.")
        return
    if not content:
        raise _invalid("requests is empty: send at least one request.")
    if len(content) > MAX_MESSAGE_REQUESTS or len(text) > MAX_MESSAGE_BYTES:
        raise _too_large(
            f"A message may have {MAX_MESSAGE_REQUESTS} requests of {MAX_MESSAGE_BYTES} bytes in "
            "all: send several, or a file over HTTP."
        )
    if len(text) > MAX_REQUEST_BYTES and any(
        len(canonical_json(one)) > MAX_REQUEST_BYTES for one in content
    ):
        raise _too_large(f"A request may have {MAX_REQUEST_BYTES} bytes.")


def _reply_stream(given: object, replies: ReplyStreams) -> str | None:
    if given is None or given == "":
        return None
    if not replies.allows(given):
        allowed = (
            "no streams may get replies"
            if replies.prefix is None
            else (f"its name must begin with {replies.prefix}")
        )
        raise MessageRefusal("reply_not_allowed", f"Replies cannot go to that stream: {allowed}.")
    return str(given)


def _parse(text: str) -> object:
    try:
        parsed: object = i_json.loads(text)
    except i_json.InvalidJson as error:
        raise MessageRefusal("malformed_json", str(error)) from error
    return parsed


def _normalized(value: object) -> object:
    """Returns the value as it is read from its JSON text. Raises MessageRefusal if it has none."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        message = f"requests cannot be read as JSON: {error}."
        raise MessageRefusal("malformed_json", message) from error
    return _parse(text)


def _invalid(message: str) -> MessageRefusal:
    return MessageRefusal("invalid_message", message)


def _too_large(message: str) -> MessageRefusal:
    return MessageRefusal("too_large", message)


def invalid_request(findings: tuple[Finding, ...]) -> MessageRefusal:
    """Returns the refusal of a single request with findings."""
    return MessageRefusal("invalid_row", describe_finding(findings[0]), findings)


def internal_error() -> MessageRefusal:
    """Returns the refusal of a message on which the service failed."""
    reason = "The service failed on this message; its operator finds why in the log."
    return MessageRefusal("internal_error", reason)
