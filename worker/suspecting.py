"""What is noted of batches that were tried and not answered, before each further try.

A batch is under suspicion once it was announced again or failed. From then on each try is
noted, in a transaction of its own, before it is made: so a worker that dies counts too.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from enrollment.domain.suspicion import Suspicion
from enrollment.storage import suspects
from enrollment.storage.batches import ClaimedBatch
from enrollment.storage.suspects import Suspect

NOTHING_KNOWN = Suspicion()


class BeginningPasses(Exception):
    """Ends a try of a batch's beginning that went well: what it did is taken back."""


def begin(
    session: Session, claimed: Sequence[ClaimedBatch], *, now: datetime
) -> list[ClaimedBatch]:
    """Note that batches are tried now; which are.

    Of several together only those that never failed are; none that turns out hopeless is.
    """
    ready, noted = [], []
    for batch in claimed:
        known = _settled(batch)
        goes = not known.is_hopeless and (len(claimed) == 1 or not known.is_apart)
        known = known.begin() if goes else known
        noted.append(Suspect(batch.id, known))
        if goes:
            ready.append(batch._replace(suspicion=known))
    suspects.keep(session, noted, now=now)
    return ready


def _settled(batch: ClaimedBatch) -> Suspicion:
    """What is known, where a try that nobody ended has failed: its worker died."""
    known = batch.suspicion or NOTHING_KNOWN
    return known.fail(batch.requests) if known.begun else known


def fail(session: Session, tried: Sequence[ClaimedBatch], *, now: datetime) -> None:
    """Note that a try of batches failed: from now on each is tried by itself."""
    known = [
        Suspect(batch.id, (batch.suspicion or NOTHING_KNOWN).fail(batch.requests))
        for batch in tried
    ]
    suspects.keep(session, known, now=now)


def succeed(session: Session, batch: ClaimedBatch, *, now: datetime) -> None:
    """Note that the beginning that was tried passes."""
    known = batch.suspicion or NOTHING_KNOWN
    suspects.keep(session, [Suspect(batch.id, known.succeed(batch.requests))], now=now)


def forgive(session: Session, tried: Sequence[ClaimedBatch], *, apart: bool, now: datetime) -> None:
    """Note that a try says nothing about the batches, but perhaps that they are too many."""
    known = [Suspect(batch.id, (batch.suspicion or NOTHING_KNOWN).forgive()) for batch in tried]
    suspects.keep(session, known, apart=apart, now=now)


def left_out(batch: ClaimedBatch) -> frozenset[int]:
    """Places of the batch's requests that are found to be poisonous."""
    return frozenset() if batch.suspicion is None else frozenset(batch.suspicion.poisonous)


def beginning(batch: ClaimedBatch) -> int:
    """How many of the batch's requests are tried."""
    return batch.requests if batch.suspicion is None else batch.suspicion.step(batch.requests)


def is_search(batch: ClaimedBatch) -> bool:
    """Whether what is done for the batch is taken back."""
    return batch.suspicion is not None and batch.suspicion.is_search
