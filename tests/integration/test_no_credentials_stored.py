"""A copy of the database is of no use as a credential."""

import base64
from pathlib import Path

import pytest
from sqlalchemy import select, text

from api_gateway.auth.api_keys import KEY_PREFIX
from enrollment.storage import migrate
from enrollment.storage.engine.durability import probe_write
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.tables import Base
from tests.support.credentials import SECRET, edx_header, jwt_header, signed


def dump(sessions):
    """Every value of every table, as bytes."""
    with sessions.read() as session:
        return [
            value if isinstance(value, bytes) else str(value).encode()
            for table in Base.metadata.sorted_tables
            for row in session.execute(select(table))
            for value in row
        ]


def forms(secret):
    """A secret as it may be stored."""
    encoded = base64.b64encode(secret)
    return (secret, encoded, encoded.rstrip(b"="), base64.urlsafe_b64encode(secret), secret.hex().encode())  # fmt: skip


def test_no_key_no_token_and_no_signing_key_is_in_the_tables(gate):
    keys = [gate.key(scope, name=scope) for scope in ("read", "enroll", "admin")]
    token = signed("ada", staff=True)
    for header in (*map(edx_header, keys), jwt_header(token)):
        assert gate.see(header)
    with gate.sessions.begin() as session:
        probe_write(session)

    values = dump(gate.sessions)

    assert len(values) > 20
    secrets = [SECRET, token.encode(), *(key.encode() for key in keys)]
    secrets += [key.removeprefix(KEY_PREFIX).encode() for key in keys]
    for secret in secrets:
        for form in forms(secret):
            assert not [value for value in values if form in value]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_upgrade_deletes_the_signing_key_of_earlier_releases(kind, tmp_path, request):
    file = tmp_path / "x.sqlite3"
    url = f"sqlite:///{file}" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    migrate.upgrade(url, "0005")
    sessions = sessions_for(url)
    try:
        with sessions.begin() as session:
            insert = text("INSERT INTO secret (name, value) VALUES ('token-signing', :value)")
            session.execute(insert, {"value": b"the former signing key, 32 bytes"})
        migrate.upgrade(url)
        assert not [value for value in dump(sessions) if b"former signing" in value]
    finally:
        sessions.dispose()
    if kind == "sqlite":
        assert b"former signing" not in Path(file).read_bytes()

    migrate.downgrade(url, "0005")
    migrate.upgrade(url)
