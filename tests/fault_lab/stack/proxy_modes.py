"""The modes of the proxy, and its counters."""

import re
from collections.abc import Callable
from dataclasses import dataclass

#: A pattern in the client's data: bytes, a regular expression, or a predicate of a chunk.
When = bytes | re.Pattern[bytes] | Callable[[bytes], bool]

#: COMMIT in PostgreSQL's frontend protocol: a simple Query (what psycopg 3 sends), or a Parse.
COMMITS = re.compile(
    rb"Q\x00\x00\x00[\x0b\x0c]COMMIT;?\x00|P\x00\x00..[^\x00]{0,64}\x00COMMIT;?\x00",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Pass:
    """Forwards everything."""


@dataclass(frozen=True)
class Delay:
    """Delays each chunk, in both directions."""

    seconds: float


@dataclass(frozen=True)
class Slow:
    """Limits the bandwidth of each direction of each connection."""

    bytes_per_second: int


@dataclass(frozen=True)
class BlackHole:
    """Accepts connections and holds all data until the mode changes.

    This is a network partition that heals before any time-out: TCP retransmits what was lost.
    """


@dataclass(frozen=True)
class HalfOpen:
    """Closes the server side of all existing connections without a signal to the client.

    Those connections stay half-open; new ones are forwarded.
    """


@dataclass(frozen=True)
class Reset:
    """Resets every connection, new ones too."""


@dataclass(frozen=True)
class DropFraction:
    """Resets a connection at a random chunk.

    TCP hides the loss of single packets; an application sees a bad line as resets.
    """

    p: float
    seed: int = 0


@dataclass(frozen=True)
class CutBeforeRequest:
    """Resets the connection when the client sends the pattern; the server never receives it."""

    when: When
    p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class CutBeforeReply:
    """Lets the server receive and answer the pattern; resets the connection instead of the answer."""

    when: When
    p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Vanish:
    """Makes the client's host vanish at a random chunk: half of it arrives, and nothing after it.

    The server's side is never closed, and what it sends is not acknowledged (`drop_segments`).
    """

    p: float
    seed: int = 0


Mode = (
    Pass
    | Delay
    | Slow
    | BlackHole
    | HalfOpen
    | Reset
    | DropFraction
    | CutBeforeRequest
    | CutBeforeReply
    | Vanish
)


@dataclass
class Seen:
    """The counters of a proxy: evidence of what a mode caused."""

    connections: int = 0
    #: Connections that the target refused.
    refused: int = 0
    resets: int = 0
    half_opened: int = 0
    vanished: int = 0
    requests_cut: int = 0
    replies_swallowed: int = 0
    delayed_chunks: int = 0
    bytes_passed: int = 0
    #: Bytes that were read and not forwarded before the mode changed.
    bytes_held: int = 0
    #: Bytes that were read and never forwarded.
    bytes_swallowed: int = 0
