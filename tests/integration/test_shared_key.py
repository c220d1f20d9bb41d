"""The signing key that gateways make and share: one for an installation, whoever makes it first."""

import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import text

from api_gateway.auth.signing.shared_key import (
    DIFFERENT,
    ELSEWHERE,
    NOT_RECORDED,
    UNREADABLE,
    UNWRITABLE,
    ensure_shared_key,
)
from api_gateway.auth.signing_keys import (
    SigningKey,
    format_key_line,
    new_signing_key,
    parse_signing_keys,
    rotate_signing_key,
)
from enrollment.runtime.settings import Settings
from enrollment.storage import migrate
from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.outbox import installation
from tests.support.roles import database_with_roles

FOLDERS, PROCESSES = 3, 4


@pytest.fixture
def host(tmp_path):
    """Settings of a gateway on a host, whose data folder is its own and does not exist yet."""

    def on(name="first"):
        return Settings(
            database_url="", redis_url="", broker_url="", data_dir=tmp_path / name / "data"
        )

    return on


def ensure(settings, sessions):
    return ensure_shared_key(settings, sessions).finding


def kids(settings):
    path = settings.data_dir / "signing.key"
    return [key.kid for key in parse_signing_keys(path.read_text())] if path.exists() else []


def recorded(sessions):
    with sessions.read() as session:
        return installation.find_signing_kid(session)


def names(settings):
    folder = settings.data_dir
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_private_file_and_records_its_id(sessions, host):
    assert ensure(host(), sessions) == ""

    (kid,) = kids(host())
    assert recorded(sessions) == kid
    folder = host().data_dir
    assert (mode(folder), mode(folder / "signing.key")) == (0o700, 0o600)
    assert names(host()) == ["signing.key"]
    assert ensure(host(), sessions) == ""
    assert kids(host()) == [kid]


def test_an_open_folder_is_closed_before_the_key_is_in_it(sessions, host):
    host().data_dir.mkdir(parents=True, mode=0o755)

    assert ensure(host(), sessions) == ""
    assert mode(host().data_dir) == 0o700


def test_of_many_that_start_at_once_on_several_hosts_one_host_has_the_key(sessions, host):
    start = threading.Barrier(FOLDERS * PROCESSES)

    def process(number):
        settings = host(f"host{number % FOLDERS}")
        start.wait()
        return settings.data_dir, ensure(settings, sessions)

    with ThreadPoolExecutor(FOLDERS * PROCESSES) as pool:
        found = list(pool.map(process, range(FOLDERS * PROCESSES)))

    hosts = [host(f"host{number}") for number in range(FOLDERS)]
    (holder,) = [settings for settings in hosts if kids(settings)]
    assert kids(holder) == [recorded(sessions)]
    assert [names(settings) for settings in hosts if settings != holder] == [[]] * (FOLDERS - 1)
    assert names(holder) == ["signing.key"]
    for folder, finding in found:
        assert finding == ("" if folder == holder.data_dir else ELSEWHERE)


def test_another_host_makes_none_until_the_file_is_copied_there(sessions, host):
    ensure(host(), sessions)

    assert ensure(host("second"), sessions) == ELSEWHERE
    assert not host("second").data_dir.exists()

    host("second").data_dir.mkdir(parents=True)
    copy = host("second").data_dir / "signing.key"
    copy.write_text((host().data_dir / "signing.key").read_text())
    assert ensure(host("second"), sessions) == ""


def test_a_file_of_an_earlier_release_is_recorded_and_another_one_is_reported(sessions, host):
    for name in ("first", "second"):
        host(name).data_dir.mkdir(parents=True)
        rotate_signing_key(host(name).data_dir / "signing.key", now=0, keep_seconds=0)
    before = kids(host("second"))

    assert ensure(host(), sessions) == ""
    assert [recorded(sessions)] == kids(host())
    assert ensure(host("second"), sessions) == DIFFERENT
    assert kids(host("second")) == before


def test_a_key_that_was_replaced_in_the_file_is_still_the_one_that_is_meant(sessions, host):
    ensure(host(), sessions)
    rotate_signing_key(host().data_dir / "signing.key", now=0, keep_seconds=3600)

    assert ensure(host(), sessions) == ""


@pytest.mark.parametrize(
    "configured",
    [{"own_tokens": False}, {"signing_key": "k" * 32}, {"signing_key_file": "/run/signing.key"}],
    ids=str,
)
def test_what_is_configured_leaves_folder_and_database_alone(sessions, host, configured):
    assert ensure(replace(host(), **configured), sessions) == ""

    assert recorded(sessions) is None
    assert not host().data_dir.exists()


def end_before_record(settings):
    """Leaves what a process does that is killed before the database has its key's id."""
    key = new_signing_key()
    settings.data_dir.mkdir(parents=True, mode=0o700)
    candidate = settings.data_dir / "signing.key.candidate"
    candidate.write_text(format_key_line(key))
    return key


def record(sessions, key: SigningKey):
    with sessions.begin() as session:
        assert installation.claim_signing_kid(session, key.kid) == key.kid


def test_a_process_that_was_killed_before_it_recorded_its_key_is_continued(sessions, host):
    key = end_before_record(host())

    assert ensure(host(), sessions) == ""
    assert kids(host()) == [recorded(sessions)] == [key.kid]
    assert names(host()) == ["signing.key"]


def test_a_process_that_was_killed_after_it_recorded_its_key_is_continued(sessions, host):
    key = end_before_record(host())
    record(sessions, key)

    assert ensure(host("second"), sessions) == ELSEWHERE
    assert ensure(host(), sessions) == ""
    assert kids(host()) == [key.kid]
    assert names(host()) == ["signing.key"]


def test_a_candidate_that_lost_is_never_a_key(sessions, host):
    end_before_record(host("second"))
    ensure(host(), sessions)

    assert ensure(host("second"), sessions) == ELSEWHERE
    assert names(host("second")) == []


@pytest.mark.parametrize("obstacle", ["file", "shared"])
def test_a_folder_that_cannot_be_used_is_reported_and_takes_no_key_from_others(
    sessions, host, obstacle
):
    host().data_dir.parent.mkdir()
    if obstacle == "file":
        host().data_dir.write_text("")
    else:
        host().data_dir.mkdir()
        host().data_dir.chmod(0o1777)

    assert ensure(host(), sessions) == UNWRITABLE
    assert recorded(sessions) is None
    assert ensure(host("second"), sessions) == ""


def test_a_file_that_is_none_of_keys_is_reported(sessions, host):
    ensure(host(), sessions)
    (host().data_dir / "signing.key").write_text("half")

    assert ensure(host(), sessions) == UNREADABLE


def test_the_key_stays_over_a_downgrade_and_waits_for_the_tables(sessions, database_url, host):
    ensure(host(), sessions)
    before = kids(host())
    migrate.downgrade(database_url, "0018")

    assert "lacks migrations" in ensure(host(), sessions)
    assert "lacks migrations" in ensure(host("second"), sessions)
    assert not host("second").data_dir.exists()

    migrate.upgrade(database_url)
    assert recorded(sessions) is None
    assert ensure(host(), sessions) == ""
    assert kids(host()) == before == [recorded(sessions)]


def test_a_role_without_the_right_to_the_column_is_told_so_and_makes_the_key_later(
    postgres_base_url, host
):
    with database_with_roles(postgres_base_url) as urls:
        gateway, superuser = sessions_for(urls.gateway), sessions_for(urls.superuser)
        change = partial("{} UPDATE (signing_kid) ON installation {} enroll_gateway".format)
        try:
            with superuser.begin() as session:
                session.execute(text(change("REVOKE", "FROM")))
            findings = [ensure(host(), gateway) for _ in range(2)]
            with superuser.begin() as session:
                session.execute(text(change("GRANT", "TO")))

            assert findings == [NOT_RECORDED] * 2
            assert names(host()) == ["signing.key.candidate"]
            assert ensure(host(), gateway) == ""
            assert kids(host()) == [recorded(gateway)]
        finally:
            gateway.dispose()
            superuser.dispose()
