"""Encrypts secrets of other systems that must be stored in a form that can be read again.

The keys are in `ENROLL_ENCRYPTION_KEY`, or in the file `encryption.key` of the data folder. The
first encrypts, all of them decrypt, so that a key can be replaced.
"""

import base64
import secrets
from collections.abc import Sequence
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from enrollment.runtime.private_files import create_private_file
from enrollment.runtime.settings import Settings

#: Name of the file in the data folder.
ENCRYPTION_KEY_FILE = "encryption.key"


class NoEncryptionKey(Exception):
    """There is no key, or none that decrypts a secret; the message has the remedy."""


class SecretEncryption:
    """Encrypts and decrypts with a list of keys, each a text of at least 32 characters."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([_fernet(key) for key in keys])

    def encrypt(self, secret: str) -> str:
        """Returns a text to be stored, made with the first key."""
        return self._fernet.encrypt(secret.encode()).decode()

    def decrypt(self, stored: str) -> str:
        """Returns the secret. Raises NoEncryptionKey if no key fits."""
        try:
            return self._fernet.decrypt(stored.encode()).decode()
        except InvalidToken as error:
            message = "a stored secret was encrypted with a key that is not in use here"
            raise NoEncryptionKey(message) from error


def _fernet(key: str) -> Fernet:
    """Derives a key for this use, so that the text may be one that is used elsewhere, too."""
    derivation = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"enrollment stored secrets")
    return Fernet(base64.urlsafe_b64encode(derivation.derive(key.encode())))


def secret_encryption(settings: Settings, *, creates: bool = False) -> SecretEncryption:
    """Returns the encryption with the keys of the settings or of the file in the data folder.

    `creates`: makes the file if there is none. Raises NoEncryptionKey.
    """
    if settings.encryption_key:
        return SecretEncryption(settings.encryption_key)
    path = settings.data_dir / ENCRYPTION_KEY_FILE
    try:
        if creates:
            _create_key_file(path)
        keys = path.read_text().split()
    except OSError as error:
        message = (
            f"there is no key to encrypt secrets with: set ENROLL_ENCRYPTION_KEY, or make {path} "
            "readable for this process"
        )
        raise NoEncryptionKey(message) from error
    if not keys:
        message = f"{path} is empty: it must have a key in a line"
        raise NoEncryptionKey(message)
    return SecretEncryption(keys)


def _create_key_file(path: Path) -> None:
    """Creates the file with a random key, unless it exists. Raises OSError."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    create_private_file(path, secrets.token_urlsafe(48) + "\n")
