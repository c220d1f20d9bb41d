"""The row of this installation: its random id, which never changes, and the id of its signing key.

The key itself is in a file of the gateways; its id (`kid`) is a part of its hash.
"""

from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from enrollment.storage.tables import InstallationRow


def installation_id(session: Session) -> UUID:
    """Returns the id of the installation that this database belongs to."""
    return session.scalars(select(InstallationRow.id)).one()


def find_signing_kid(session: Session) -> str | None:
    """Returns the id of the key that was made for this installation; None before that."""
    return session.scalars(select(InstallationRow.signing_kid)).one()


def claim_signing_kid(session: Session, kid: str) -> str | None:
    """Stores the id of a key unless there is one; returns the one that is stored then."""
    session.execute(
        update(InstallationRow).where(InstallationRow.signing_kid.is_(None)).values(signing_kid=kid)
    )
    return find_signing_kid(session)


def replace_signing_kid(session: Session, kid: str) -> None:
    """Stores the id of the key that replaces the one before."""
    session.execute(update(InstallationRow).values(signing_kid=kid))
