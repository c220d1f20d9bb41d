"""Privileges of the PostgreSQL roles of gateways and workers.

`deploy/postgres/roles.sql` creates the roles. Where they exist, an upgrade of the tables grants
each the privileges that its processes use, and no others: a gateway cannot change an enrollment or
its history.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

GATEWAY = "enroll_gateway"
WORKER = "enroll_worker"

_READ = "SELECT"
_APPEND = "SELECT, INSERT"
_CHANGE = "SELECT, INSERT, UPDATE"
_ALL = "SELECT, INSERT, UPDATE, DELETE"
#: Columns that a batch changes, and those that an LMS changes: by an event, or a pull.
_COURSE_COLUMNS = (
    "seats_taken, name, enrollment_start, enrollment_end, course_start, course_end, invite_only,"
    " self_paced, revision"
)


class Privileges(NamedTuple):
    """The privileges of gateways and workers on a table; empty for none."""

    gateway: str
    worker: str


#: Every table must be listed. `FOR UPDATE` needs the privilege to update a column.
PRIVILEGES: Mapping[str, Privileges] = {
    "alembic_version": Privileges(_READ, _READ),
    "course": Privileges(_ALL, f"SELECT, INSERT, UPDATE ({_COURSE_COLUMNS})"),
    "mode": Privileges(_ALL, _ALL),
    "edition": Privileges(_CHANGE, _CHANGE),
    "learner": Privileges(_ALL, _CHANGE),
    "course_role": Privileges(_ALL, _READ),
    "email_opt_in": Privileges(_ALL, _CHANGE),
    "invitation": Privileges(_ALL, _ALL),
    "crosswalk": Privileges(_ALL, _READ),
    "enrollment": Privileges(_READ, _CHANGE),
    "event": Privileges(_READ, _APPEND),
    "feed": Privileges(_READ, _APPEND),
    "maintenance": Privileges(_READ, _CHANGE),
    "relay_position": Privileges(_READ, _CHANGE),
    "installation": Privileges("SELECT, UPDATE (signing_kid)", _READ),
    "submission": Privileges(_ALL, _ALL),
    "batch": Privileges(_CHANGE, _ALL),
    "record_states": Privileges(_APPEND, "SELECT, INSERT, DELETE"),
    "idempotency": Privileges(_CHANGE, "SELECT, INSERT, DELETE"),
    "reply": Privileges("", "SELECT, INSERT, DELETE"),
    "process_heartbeat": Privileges(_READ, _ALL),
    "api_key": Privileges(_CHANGE, "SELECT, UPDATE (last_used_at)"),
    "oauth_client": Privileges(_CHANGE, ""),
    "webhook": Privileges(_CHANGE, "SELECT, UPDATE, DELETE"),
    "webhook_delivery": Privileges(_CHANGE, _ALL),
    "webhook_position": Privileges(_READ, "SELECT, UPDATE"),
    "destination": Privileges(_CHANGE, "SELECT, UPDATE, DELETE"),
    "destination_delivery": Privileges(_CHANGE, _ALL),
    "destination_report": Privileges(_CHANGE, _ALL),
    "destination_difference": Privileges(_READ, "SELECT, INSERT, DELETE"),
    "console_session": Privileges("SELECT, INSERT, DELETE", ""),
    "secret": Privileges("SELECT, INSERT, DELETE", ""),
}

_ROLES = text("SELECT rolname FROM pg_roles WHERE rolname IN (:gateway, :worker)")
#: Tables of this schema that the current role owns, with the sequences of their keys.
_OWNED = text(
    "SELECT tablename, pg_get_serial_sequence(quote_ident(tablename), attname)"
    " FROM pg_tables LEFT JOIN pg_attribute"
    " ON attrelid = quote_ident(tablename)::regclass AND attname = 'id'"
    " WHERE schemaname = current_schema() AND pg_has_role(tableowner, 'USAGE')"
)

#: The privilege to update one column, which comes last.
_ONE_COLUMN = re.compile(r", UPDATE \((\w+)\)$")
_HAS_COLUMN = text(
    "SELECT true FROM pg_attribute"
    " WHERE attrelid = quote_ident(:table)::regclass AND attname = :name AND NOT attisdropped"
)


def grant(session: Session) -> None:
    """Grants both roles their privileges on our tables, and revokes all others (PostgreSQL).

    Does nothing for a role that does not exist and for tables of another owner.
    """
    existing = set(session.scalars(_ROLES, {"gateway": GATEWAY, "worker": WORKER}))
    if not existing:
        return
    for table, sequence in session.execute(_OWNED).all():
        if table in PRIVILEGES:
            for role, privileges in zip((GATEWAY, WORKER), PRIVILEGES[table], strict=True):
                if role in existing:
                    _grant_table(session, role, table, privileges, sequence)


def _grant_table(
    session: Session, role: str, table: str, privileges: str, sequence: str | None
) -> None:
    session.execute(text(f'REVOKE ALL ON "{table}" FROM {role}'))
    column = _ONE_COLUMN.search(privileges)
    if column is not None and not session.scalar(_HAS_COLUMN, {"table": table, "name": column[1]}):
        privileges = privileges.removesuffix(column[0])  # an earlier revision of the tables
    if privileges:
        session.execute(text(f'GRANT {privileges} ON "{table}" TO {role}'))
    if sequence is not None and "INSERT" in privileges:
        session.execute(text(f"GRANT USAGE ON SEQUENCE {sequence} TO {role}"))
