"""Replies that are owed to senders of requests, until they are delivered."""
