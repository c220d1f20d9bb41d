"""Names of environment variables: which belong to this service, and near misses of those."""

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher

PREFIX = "ENROLL_"
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
