"""Names of environment variables: those of this service, what they mean, and near misses."""

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher

PREFIX = "ENROLL_"
#: Description of every variable; `enroll doctor --settings` prints it.
VARIABLES: Mapping[str, str] = {
    "ENROLL_DATABASE_URL": "The database: postgresql+psycopg://… or sqlite:///path.",
    "ENROLL_REDIS_URL": "Redis for the cache, completion events and, by default, the queue.",
    "ENROLL_BROKER_URL": "The queue, if it is not the Redis above (amqp://… for RabbitMQ).",
    "ENROLL_REQUEST_STREAM": "The Redis stream from which requests are read (default: none).",
    "ENROLL_REPLY_PREFIX": "The beginning of the streams that may get replies.",
    "ENROLL_DATA_DIR": "The folder of enroll up's files, and of keys that are made.",
    "ENROLL_DEFAULT_WAIT": "Seconds that POST /enrollment waits for its outcome by default.",
    "ENROLL_DEFAULT_MODE": "The mode of requests without one, if the course offers it.",
    "ENROLL_UNKNOWN_LEARNERS": "accept: register unknown learners; refuse: learner_not_found.",
    "ENROLL_SELF_UNENROLL": "true: learners may deactivate their own enrollments.",
    "ENROLL_EDX_API_KEY": "A fixed API key, for clients that have a key already.",
    "ENROLL_OAUTH_CLIENTS": "Clients of POST /oauth2/access_token: id:secret:username[:staff],…",
    "ENROLL_JWT_ISSUER": "The required iss of tokens of an outside issuer.",
    "ENROLL_JWT_AUDIENCE": "The required aud of these tokens.",
    "ENROLL_JWT_ALGORITHM": "The one accepted signature algorithm of these tokens.",
    "ENROLL_JWT_SECRET": "The outside issuer's shared secret (HS256).",
    "ENROLL_JWT_PUBLIC_KEY": "File with the outside issuer's public key (PEM).",
    "ENROLL_JWT_JWKS": "File or https URL with the outside issuer's keys (JWKS).",
    "ENROLL_JWT_MAX_LIFETIME": "Maximum seconds from iat to exp of a token.",
    "ENROLL_OWN_TOKENS": "false: take no tokens of our own (enroll tokens create).",
    "ENROLL_SIGNING_KEY": "The key that signs our own tokens, and former keys after commas.",
    "ENROLL_SIGNING_KEY_FILE": "File with that key; default: DATA_DIR/signing.key, which is made.",
    "ENROLL_ENCRYPTION_KEY": "The key that encrypts stored secrets, and former keys after commas.",
    "ENROLL_PRIVATE_DESTINATIONS": "true: webhooks may name private addresses, and http.",
    "ENROLL_WEBHOOK_CHALLENGE": "false: receivers of webhooks need not answer a challenge first.",
    "ENROLL_MAX_WEBHOOKS": "Maximum number of webhooks.",
    "ENROLL_MAX_UPLOAD_BYTES": "Maximum size of an upload, after decompression.",
    "ENROLL_MAX_UPLOAD_ROWS": "Maximum number of rows in a submission.",
    "ENROLL_MAX_JSON_BYTES": "Maximum size of a JSON document (use NDJSON or CSV for more).",
    "ENROLL_MAX_ATOMIC_ROWS": "Maximum number of rows with on_error=abort.",
    "ENROLL_BATCH_ROWS": "Number of requests in a batch of a bulk submission.",
    "ENROLL_MAX_CONNECTIONS": "Maximum number of connections of a gateway process.",
    "ENROLL_MAX_CONNECTIONS_PER_ADDRESS": "The same from one address; default: half of it.",
    "ENROLL_THROTTLE": "off: limit no rates of requests.",
    "ENROLL_THROTTLE_LEARNERS": "Requests of one learner (default 40/minute).",
    "ENROLL_THROTTLE_STAFF": "Requests of one staff member (default 120/minute).",
    "ENROLL_THROTTLE_KEYS": "Requests of one API key (default: unlimited).",
    "ENROLL_THROTTLE_ANONYMOUS": "Requests of one address without credentials (40/minute).",
    "ENROLL_THROTTLE_TOKENS": "Requests of one address for tokens (default 60/minute).",
    "ENROLL_THROTTLE_FAILURES": "Failed authentications of one address (default 60/minute).",
    "ENROLL_TRUSTED_PROXIES": "Addresses or networks whose X-Forwarded-For counts (none).",
    "ENROLL_ALLOWED_HOSTS": "Comma list of host names that requests may name (default: any).",
    "ENROLL_CORS_ORIGINS": "Origins whose pages may call this service from a browser (none).",
    "ENROLL_HSTS_SECONDS": "max-age of Strict-Transport-Security (default: not sent).",
    "ENROLL_MAX_UPLOADS_PER_CALLER": "Uploads of one caller that a gateway receives at once.",
    "ENROLL_MAX_STREAMS_PER_CALLER": "Event streams of one caller in a gateway process.",
    "ENROLL_MAX_LONG_POLLS_PER_CALLER": "Long polls of one caller in a gateway process.",
    "ENROLL_MAX_PENDING_ROWS_PER_CALLER": "Unprocessed rows with which a caller may upload more.",
    "ENROLL_EVENT_STREAM": "Name of the Redis stream to which changes are published (none).",
    "ENROLL_EVENT_STREAM_LENGTH": "About how many events that stream keeps (default 100,000).",
    "ENROLL_EVENT_BUS": "true: publish changes to the event bus of Open edX.",
    "ENROLL_EVENT_BUS_URL": "The Redis of that bus, if it is not ENROLL_REDIS_URL.",
    "ENROLL_EVENT_BUS_PREFIX": "The prefix of the bus's topics (none).",
    "ENROLL_EVENT_BUS_CREATED_TOPIC": "Topic of new enrollments.",
    "ENROLL_EVENT_BUS_CHANGED_TOPIC": "Topic of enrollments that changed or came back.",
    "ENROLL_EVENT_BUS_UNENROLLMENT_TOPIC": "Topic of enrollments that ended.",
    "ENROLL_EVENT_BUS_CATALOG": "true: courses follow the catalog events of the bus.",
    "ENROLL_EVENT_BUS_CATALOG_TOPIC": "Topic of these events.",
    "ENROLL_RETENTION_DAYS": "Days that submissions and their outcomes are kept.",
    "ENROLL_LOG_LEVEL": "debug, info, warning or error.",
    "ENROLL_ACCESS_LOG": "false: log no request.done record for each request.",
    "ENROLL_METRICS_PORT": "PORT or ADDRESS:PORT at which workers and beat serve metrics (none).",
    "ENROLL_CELERY_REMOTE": "true: workers answer celery inspect, Flower and celery-exporter.",
    "ENROLL_ACCEPT_DATA_LOSS": "For tests and benchmarks: true accepts possible loss of commits.",
    "ENROLL_FAILPOINTS": "For fault tests only: the faults to inject.",
}

#: Variables of commands that call a running service.
CLIENT_VARIABLES = frozenset({"ENROLL_URL", "ENROLL_API_KEY"})
#: Variables with this prefix are for the tests of this project; nothing else reads them.
_TEST_PREFIX = "ENROLL_TEST_"
#: Variables that Kubernetes sets in every container for a Service named `enroll` or `enroll-…`.
_SERVICE_LINK = re.compile(
    r"ENROLL_(?:[A-Z0-9_]+_)?(?:SERVICE_(?:HOST|PORT(?:_[A-Z0-9_]+)?)"
    r"|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
#: Similarity from which a name counts as misspelt, from 0 to 1.
_MIN_SIMILARITY = 0.6


def unknown_names(environ: Mapping[str, str], known: Collection[str]) -> dict[str, str | None]:
    """Returns the variables of this service that are not known, with the nearest known name.

    An empty variable is not set. `known` holds the settings.
    """
    names = (*known, *sorted(CLIENT_VARIABLES))
    in_kubernetes = "KUBERNETES_SERVICE_HOST" in environ
    return {
        name: _nearest(name, names)
        for name, text in sorted(environ.items())
        if name.startswith(PREFIX)
        and text != ""
        and name not in names
        and not name.startswith(_TEST_PREFIX)
        and not (in_kubernetes and _SERVICE_LINK.fullmatch(name))
    }


def _nearest(name: str, names: Sequence[str]) -> str | None:
    """Returns the most similar name, the first of several; the prefix does not count."""
    bare = name.upper().removeprefix(PREFIX)

    def similarity(known: str) -> float:
        return SequenceMatcher(None, known.removeprefix(PREFIX), bare).ratio()

    nearest = max(names, key=similarity)
    return nearest if similarity(nearest) >= _MIN_SIMILARITY else None
