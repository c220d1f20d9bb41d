"""Process infrastructure: settings, logs, ids, fail points, Redis and broker access."""
