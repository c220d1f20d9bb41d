"""How far something is: a bar on a terminal, plain lines elsewhere; both on stderr."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import click

#: Seconds between two plain lines.
INTERVAL_SECONDS = 2.0


class ProgressDisplay(Protocol):
    """Where progress is told."""

    def __call__(self, done: int, total: int, rate: float, left: float | None) -> None:
        """Tell it: how many of how many, how many a second, and seconds left if known."""
        ...


@contextmanager
def progress(
    what: str, *, is_shown: bool = True, clock: Callable[[], float] = time.monotonic
) -> Iterator[ProgressDisplay]:
    """Shows progress inside the block."""
    from rich.console import Console

    if not is_shown:
        yield _nothing
        return
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, clock)
        return
    with _bar(console) as bar:
        task = bar.add_task(what, total=None, rate="", left="")

        def show(done: int, total: int, rate: float, left: float | None) -> None:
            bar.update(
                task, completed=done, total=total, rate=f"{rate:,.0f}/s", left=_seconds(left)
            )

        yield show


def _nothing(done: int, total: int, rate: float, left: float | None) -> None:
    """Nobody is told."""


def _bar(console: Any) -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        console=console,
    )


def _lines(what: str, clock: Callable[[], float]) -> ProgressDisplay:
    last = clock() - INTERVAL_SECONDS
    said: int | None = None

    def show(done: int, total: int, rate: float, left: float | None) -> None:
        nonlocal last, said
        if done == said or (done < total and clock() - last < INTERVAL_SECONDS):
            return
        last, said = clock(), done
        line = f"{what}: {done:,} of {total:,}, {rate:,.0f}/s, {_seconds(left)}"
        click.echo(line.rstrip(", "), err=True)

    return show


def _seconds(left: float | None) -> str:
    if left is None or left <= 0:
        return ""
    minutes, seconds = divmod(round(left), 60)
    return f"{minutes} min {seconds:02} s left" if minutes else f"{seconds} s left"


class ProgressCounter:
    """Counts what was sent, and tells it."""

    def __init__(
        self, total: int, shown: ProgressDisplay, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._shown = shown
        self._clock = clock
        self._began = clock()
        self._done = 0

    def add(self, amount: int) -> None:
        """So much more."""
        self._done = min(self._done + amount, self._total)
        rate = self._done / max(self._clock() - self._began, 1e-3)
        self._shown(self._done, self._total, rate, (self._total - self._done) / max(rate, 1e-3))


def show_counts(counts: Mapping[str, int], reasons: Mapping[str, int]) -> None:
    """Prints the outcomes and the reasons behind them, leaving out what did not happen."""
    rows = [(name, number) for name, number in counts.items() if number or name == "total"]
    rows += [(f"  {reason}", number) for reason, number in reasons.items()]
    show_numbers(rows)


def show_numbers(rows: Iterable[tuple[str, int]], *, header: str = "") -> None:
    """Prints names and numbers: as a table on a terminal, as lines with a tab elsewhere."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        for name, number in rows:
            click.echo(f"{name}\t{number}")
        return
    table = Table(header, "", show_header=bool(header))
    table.columns[1].justify = "right"
    for name, number in rows:
        table.add_row(name, f"{number:,}")
    console.print(table)
