"""Stored secrets: unreadable without a key, readable with a former one, and who makes the key."""

import stat

import pytest

from enrollment.runtime.outbound.secret_encryption import (
    ENCRYPTION_KEY_FILE,
    NoEncryptionKey,
    SecretEncryption,
    secret_encryption,
)
from enrollment.runtime.settings import SettingsError, from_env

OLD, NEW = "o" * 32, "n" * 32


def settings(tmp_path, **more):
    return from_env({"ENROLL_DATA_DIR": str(tmp_path), **more})


def test_a_former_key_decrypts_and_the_first_one_encrypts():
    stored = SecretEncryption([OLD]).encrypt("whsec_x")
    assert "whsec_x" not in stored
    both = SecretEncryption([NEW, OLD])
    assert both.decrypt(stored) == "whsec_x"
    assert SecretEncryption([NEW]).decrypt(both.encrypt("whsec_x")) == "whsec_x"
    with pytest.raises(NoEncryptionKey):
        SecretEncryption([NEW]).decrypt(stored)


def test_the_file_is_made_once_and_private(tmp_path):
    with pytest.raises(NoEncryptionKey):
        secret_encryption(settings(tmp_path))
    stored = secret_encryption(settings(tmp_path), creates=True).encrypt("x")
    assert secret_encryption(settings(tmp_path), creates=True).decrypt(stored) == "x"
    assert secret_encryption(settings(tmp_path)).decrypt(stored) == "x"
    (path,) = tmp_path.iterdir()
    assert path.name == ENCRYPTION_KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_empty_file_is_no_key(tmp_path):
    (tmp_path / ENCRYPTION_KEY_FILE).write_text("\n")
    with pytest.raises(NoEncryptionKey):
        secret_encryption(settings(tmp_path), creates=True)


def test_the_setting_wins_and_is_not_shown(tmp_path):
    made = settings(tmp_path, ENROLL_ENCRYPTION_KEY=f"{NEW},{OLD}")
    assert secret_encryption(made).decrypt(SecretEncryption([OLD]).encrypt("x")) == "x"
    assert OLD not in repr(made)
    with pytest.raises(SettingsError) as raised:
        settings(tmp_path, ENROLL_ENCRYPTION_KEY=f"{NEW},short-secret")
    assert "short-secret" not in str(raised.value)
