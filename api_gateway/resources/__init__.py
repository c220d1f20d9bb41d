"""A class a URL; each takes what it needs in its constructor."""
