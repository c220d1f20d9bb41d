"""Encrypts secrets of other systems before they are stored."""

from collections.abc import Callable
from dataclasses import dataclass

from api_gateway.database import Database
from api_gateway.http.problems import unavailable
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey, SecretEncryption


@dataclass(frozen=True, slots=True)
class SecretStore:
    """Encrypts with the keys of this installation."""

    database: Database
    #: Returns the keys, and makes one if there is none. Raises NoEncryptionKey.
    encryption: Callable[[], SecretEncryption]

    async def encrypt(self, secret: str) -> str:
        """Returns the encrypted form of a secret. Raises Problem 503 without a key."""
        try:
            return await self.database.run(lambda: self.encryption().encrypt(secret))
        except NoEncryptionKey as error:
            raise unavailable(f"Secrets cannot be stored: {error}.") from error
