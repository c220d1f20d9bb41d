"""Sessions of browsers: cookies, log-in and log-out, tokens of forms."""
