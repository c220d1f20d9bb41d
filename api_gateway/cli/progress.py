"""Progress display on stderr: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import click

#: Seconds between two plain lines.
LINE_INTERVAL_SECONDS = 2.0


class ProgressDisplay(Protocol):
    """A function that displays progress."""

    def __call__(self, done: int, total: int, rate: float, left: float | None) -> None:
        """Displays rows done, rows in total, rows per second, and seconds left if known."""
        ...


@contextmanager
def progress(
    label: str,
    *,
    is_shown: bool = True,
    in_bytes: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ProgressDisplay]:
    """Yields a function that displays progress until the block ends.

    With `in_bytes` numbers are shown with their unit, such as 6.5 MB.
    """
    from rich.console import Console

    if not is_shown:
        yield _ignore
        return
    number = format_bytes if in_bytes else _format_count
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _print_lines(label, number, clock)
        return
    with _bar(console) as bar:
        task = bar.add_task(label, total=None, count="", rate="", left="")

        def show(done: int, total: int, rate: float, left: float | None) -> None:
            bar.update(
                task,
                completed=done,
                total=total,
                count=f"{number(done)}/{number(total)}",
                rate=f"{number(rate)}/s",
                left=_format_seconds(left),
            )

        yield show


def _ignore(done: int, total: int, rate: float, left: float | None) -> None:
    """Displays nothing."""


def _bar(console: Any) -> Any:
    from rich.progress import BarColumn, Progress, TextColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        console=console,
    )


def _print_lines(
    label: str, number: Callable[[float], str], clock: Callable[[], float]
) -> ProgressDisplay:
    last_time = clock() - LINE_INTERVAL_SECONDS
    last_done: int | None = None

    def show(done: int, total: int, rate: float, left: float | None) -> None:
        nonlocal last_time, last_done
        if done == last_done or (done < total and clock() - last_time < LINE_INTERVAL_SECONDS):
            return
        last_time, last_done = clock(), done
        line = (
            f"{label}: {number(done)} of {number(total)}, {number(rate)}/s, {_format_seconds(left)}"
        )
        click.echo(line.rstrip(", "), err=True)

    return show


def _format_count(number: float) -> str:
    return f"{number:,.0f}"


def format_bytes(number: float) -> str:
    """Returns a number of bytes with a decimal unit, such as `6.5 MB`."""
    for unit in ("bytes", "kB", "MB"):
        if number < 1_000:  # noqa: PLR2004 (the step between decimal units)
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1_000
    return f"{number:,.1f} GB"


def _format_seconds(left: float | None) -> str:
    if left is None or left <= 0:
        return ""
    minutes, seconds = divmod(round(left), 60)
    return f"{minutes} min {seconds:02} s left" if minutes else f"{seconds} s left"


class ProgressCounter:
    """Counts progress, and displays it with rate and time left."""

    def __init__(
        self, total: int, display: ProgressDisplay, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._display = display
        self._clock = clock
        self._started = clock()
        self._done = 0

    def add(self, amount: int) -> None:
        """Adds to the number done, at most up to the total."""
        self._done = min(self._done + amount, self._total)
        rate = self._done / max(self._clock() - self._started, 1e-3)
        self._display(self._done, self._total, rate, (self._total - self._done) / max(rate, 1e-3))


def show_counts(counts: Mapping[str, int], reasons: Mapping[str, int]) -> None:
    """Prints the number of each outcome and reason, without zeros."""
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
