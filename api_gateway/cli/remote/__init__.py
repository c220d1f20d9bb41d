"""Commands that call a running service over HTTP."""
