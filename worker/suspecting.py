"""What is noted of batches that were tried and not answered, before each further try.

A batch is under suspicion once it was announced again or failed. From then on each try is
noted, in a transaction of its own, before it is made: so a worker that dies counts too.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from enrollment.domain.suspicion import Suspicion
from enrollment.storage import claims, suspects
from enrollment.storage.claims import ClaimedBatch
from enrollment.storage.suspects import Suspect

NOTHING_KNOWN = Suspicion()


class Begun(NamedTuple):
    """Batches whose try is noted, and those that turned out to be tried by themselves."""

    ready: list[ClaimedBatch]
    apart: list[ClaimedBatch]


class BeginningPasses(Exception):
    """Ends a try of a batch's beginning that went well: what it did is taken back."""


def begin(session: Session, claimed: Sequence[ClaimedBatch], *, now: datetime) -> Begun:
    """Note that batches are tried now.

    Of several together only those that never failed are; none that turns out hopeless is.
    What somebody else is about to try is left alone.
    """
    begun, noted = Begun([], []), []
    for batch in claimed:
        known = batch.suspicion or NOTHING_KNOWN
        if known.is_in_work(now):
            continue
        if known.begun_at is not None:  # nobody ended that try: its worker died
            known = known.fail(batch.requests)
        if not known.is_hopeless and (len(claimed) == 1 or not known.is_apart):
            known = known.begin(now)
            begun.ready.append(batch._replace(suspicion=known))
        elif not known.is_hopeless:
            begun.apart.append(batch)
        noted.append(Suspect(batch.id, known))
    suspects.keep(session, noted, now=now)
    return begun


def claim_noted(session: Session, noted: Sequence[ClaimedBatch]) -> list[ClaimedBatch]:
    """Lock those of some batches of which exactly the same is known as when they were noted.

    Of the others somebody else thought that their worker had died, and tries them.
    """
    known = {batch.id: batch.suspicion for batch in noted}
    claimed = claims.claim_again(session, list(known)) if known else []
    return [batch for batch in claimed if batch.suspicion == known[batch.id]]


def fail(session: Session, tried: Sequence[ClaimedBatch], *, now: datetime) -> None:
    """Note that a try of batches failed: from now on each is tried by itself."""
    known = [
        Suspect(batch.id, (batch.suspicion or NOTHING_KNOWN).fail(batch.requests))
        for batch in claim_noted(session, tried)
    ]
    suspects.keep(session, known, now=now)


def succeed(session: Session, batch: ClaimedBatch, *, now: datetime) -> None:
    """Note that the beginning that was tried passes."""
    known = [
        Suspect(same.id, (same.suspicion or NOTHING_KNOWN).succeed(same.requests))
        for same in claim_noted(session, [batch])
    ]
    suspects.keep(session, known, now=now)


def forgive(session: Session, tried: Sequence[ClaimedBatch], *, apart: bool, now: datetime) -> None:
    """Note that a try says nothing about the batches, but perhaps that they are too many."""
    known = [
        Suspect(batch.id, (batch.suspicion or NOTHING_KNOWN).forgive())
        for batch in claim_noted(session, tried)
    ]
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
