"""A clock that only a test moves."""


class ManualClock:
    """Seconds; only a test changes them."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now
