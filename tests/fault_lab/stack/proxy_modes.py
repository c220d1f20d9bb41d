"""How a proxy treats its connections, and what it tells of it."""

import re
from collections.abc import Callable
from dataclasses import dataclass

#: What is looked for in what a client sends: the bytes, a pattern, or a question about a chunk.
When = bytes | re.Pattern[bytes] | Callable[[bytes], bool]

#: COMMIT in PostgreSQL's frontend protocol: a simple Query (what psycopg 3 sends), or a Parse.
COMMITS = re.compile(
    rb"Q\x00\x00\x00[\x0b\x0c]COMMIT;?\x00|P\x00\x00..[^\x00]{0,64}\x00COMMIT;?\x00",
    re.DOTALL | re.IGNORECASE,
)


@dataclass(frozen=True)
class Pass:
    """All goes through."""


@dataclass(frozen=True)
class Delay:
    """Each chunk comes later, in both directions."""

    seconds: float


@dataclass(frozen=True)
class Slow:
    """Each direction of each connection takes its time."""

    bytes_per_second: int


@dataclass(frozen=True)
class BlackHole:
    """Connections are taken, and nothing goes through until the mode changes; then it all does.

    So a network cut looks that heals before anybody gave up: TCP repeats what was lost.
    """


@dataclass(frozen=True)
class HalfOpen:
    """The other side of every connection there is has gone, and nobody tells the client.

    Those connections stay so for good; new ones pass.
    """


@dataclass(frozen=True)
class Reset:
    """Every connection is reset, the new ones too."""


@dataclass(frozen=True)
class DropFraction:
    """Each chunk may be the one at which its connection is reset.

    TCP hides the loss of single packets; what an application sees of a bad line is this.
    """

    p: float
    seed: int = 0


@dataclass(frozen=True)
class CutBeforeRequest:
    """The connection is reset when the client sends this, which the server never gets."""

    when: When
    p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class CutBeforeReply:
    """The server gets this and answers it; the connection is reset in place of the answer."""

    when: When
    p: float = 1.0
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
)


@dataclass
class Seen:
    """What a proxy did; the witness of what a mode caused."""

    connections: int = 0
    #: Connections that the target did not take.
    refused: int = 0
    resets: int = 0
    half_opened: int = 0
    requests_cut: int = 0
    replies_swallowed: int = 0
    delayed_chunks: int = 0
    bytes_passed: int = 0
    #: Read, and not passed on before the mode changed.
    bytes_held: int = 0
    #: Read, and never passed on.
    bytes_swallowed: int = 0
