"""The signing key that the gateways make and share where none is configured."""
