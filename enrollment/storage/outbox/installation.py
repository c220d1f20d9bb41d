"""The random id of this installation: made by the migration, and never changed."""

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.storage.tables import InstallationRow


def installation_id(session: Session) -> UUID:
    """Returns the id of the installation that this database belongs to."""
    return session.scalars(select(InstallationRow.id)).one()
