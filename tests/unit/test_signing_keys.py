"""Keys that sign tokens of our own: where they come from, and how long they verify."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from api_gateway.auth.jwt_keys import UnknownKey
from api_gateway.auth.signing_keys import (
    SigningKey,
    SigningKeys,
    new_signing_key,
    parse_signing_keys,
    rotate_signing_key,
)
from api_gateway.auth.watched_file import FILE_LOOK_SECONDS
from enrollment.runtime.settings import Settings, SettingsError

FIRST, SECOND = (SigningKey.of(letter * 32) for letter in (b"a", b"b"))


class Clock:
    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def settings(tmp_path):
    return Settings(database_url="", redis_url="", broker_url="", data_dir=tmp_path)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "signing.key"
    rotate_signing_key(path, now=0, keep_seconds=0)
    return path


def test_a_new_key_is_long_and_never_the_same():
    first, second = new_signing_key(), new_signing_key()

    assert len(first.secret) == 64
    assert first.secret != second.secret
    assert first.kid != second.kid


def test_keys_of_the_settings_sign_with_the_first_and_verify_with_all(settings, clock):
    given = replace(settings, signing_key=f"{'a' * 32}, {'b' * 32}")

    keys = SigningKeys(given, clock)

    assert keys.current() == FIRST
    assert keys.find(FIRST.kid) == FIRST.secret
    assert keys.find(SECOND.kid) == SECOND.secret
    for kid in (None, "", "other"):
        with pytest.raises(UnknownKey):
            keys.find(kid)


@pytest.mark.parametrize(
    "text", ["", ",", "short", "a" * 31, f"{'a' * 32},short", f"{'a' * 20} {'a' * 20}"]
)
def test_a_key_that_is_too_short_stops_the_start(settings, text):
    with pytest.raises(SettingsError, match="ENROLL_SIGNING_KEY"):
        SigningKeys(replace(settings, signing_key=text))


def test_a_named_file_must_be_there_and_be_one_of_keys(settings, tmp_path):
    named = replace(settings, signing_key_file=tmp_path / "named.key")
    with pytest.raises(SettingsError, match="does not exist"):
        SigningKeys(named)

    named.signing_key_file.write_text("short\n")
    with pytest.raises(SettingsError, match="cannot be used"):
        SigningKeys(named)

    named.signing_key_file.write_text(f"# made by hand\n\n{'a' * 32}\n")
    assert SigningKeys(named).current() == FIRST


def test_without_a_file_there_is_no_key_until_it_is_made(settings, clock, tmp_path):
    keys = SigningKeys(settings, clock)
    assert keys.current() is None
    with pytest.raises(UnknownKey):
        keys.find(FIRST.kid)

    new, previous = rotate_signing_key(tmp_path / "signing.key", now=clock.now, keep_seconds=60)

    assert previous is None
    assert keys.find(new.kid) == new.secret


def test_a_new_key_is_known_at_once_and_the_previous_one_ends(settings, clock, file):
    keys = SigningKeys(settings, clock)
    first = keys.current()

    second, previous = rotate_signing_key(file, now=clock.now, keep_seconds=60)

    assert previous.kid == first.kid
    assert keys.find(second.kid) == second.secret
    assert keys.current().kid == second.kid
    assert keys.find(first.kid) == first.secret
    clock.now += 59
    assert keys.find(first.kid) == first.secret
    clock.now += 2
    with pytest.raises(UnknownKey):
        keys.find(first.kid)
    assert keys.find(second.kid) == second.secret


def test_rotating_twice_does_not_prolong_the_first_key_and_drops_what_has_ended(clock, file):
    (first,) = parse_signing_keys(file.read_text())
    second, _ = rotate_signing_key(file, now=clock.now, keep_seconds=60)
    third, _ = rotate_signing_key(file, now=clock.now + 40, keep_seconds=60)

    ends = {key.kid: key.ends_at for key in parse_signing_keys(file.read_text())}
    assert ends == {third.kid: None, second.kid: clock.now + 100, first.kid: clock.now + 60}

    fourth, _ = rotate_signing_key(file, now=clock.now + 80, keep_seconds=60)
    kids = [key.kid for key in parse_signing_keys(file.read_text())]
    assert kids == [fourth.kid, third.kid, second.kid]


def test_a_key_that_is_taken_out_of_the_file_verifies_nothing_after_the_next_look(
    settings, clock, file
):
    keys = SigningKeys(settings, clock)
    first = keys.current()
    file.write_text(f"{'b' * 32}\n")

    clock.now += FILE_LOOK_SECONDS
    with pytest.raises(UnknownKey):
        keys.find(first.kid)

    file.unlink()
    clock.now += FILE_LOOK_SECONDS
    with pytest.raises(UnknownKey):
        keys.find(SECOND.kid)


def test_a_file_that_cannot_be_used_for_a_moment_leaves_the_keys(settings, clock, file):
    keys = SigningKeys(settings, clock)
    first = keys.current()
    file.write_text("half")

    clock.now += FILE_LOOK_SECONDS
    with capture_logs() as logs:
        assert keys.find(first.kid) == first.secret

    assert [entry["event"] for entry in logs] == ["signing_key.unreadable"]
    assert "half" not in str(logs)
