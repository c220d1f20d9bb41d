"""The kind `openedx`: an LMS that speaks the Open edX enrollment API."""
