"""State of the relay: positions of its channels, the installation's id, subjects of events."""
