"""Rows of foreign files, from their cells to what they ask for."""

from collections.abc import Iterator, Sequence
from itertools import chain, repeat

from schemas.csv_rows import Columns, unescape_cell
from schemas.findings import finding
from schemas.foreign.base import NUMBERED, Cells, Wish
from schemas.foreign.detect import BY_NAME


class Reader:
    """Reads the rows of one file."""

    def __init__(self, format_: str, columns: Columns, course_id: str | None = None) -> None:
        self._format = BY_NAME[format_]
        self._width = len(columns.names)
        self._course_id = course_id
        self._read = [
            (self._format.settled(name), place)
            for place, name in enumerate(columns.names)
            if self._format.meaning(name) is not None
        ]
        self._numbers = [
            matched[2]
            if self._format.meaning(name)
            and (matched := NUMBERED.fullmatch(self._format.settled(name)))
            else None
            for name in columns.names
        ]

    def count(self, cells: Sequence[str]) -> int:
        """How many requests a row means."""
        return self._format.count(self._told(self._tidied(cells)))

    def wishes(self, cells: Sequence[str]) -> Iterator[Wish]:
        """What a row asks for; what is wrong with it is the row's, and no other's."""
        cells = self._tidied(cells)
        extra = next((cell for cell in cells[self._width :] if cell.strip()), None)
        for wish in self._format.read(self._told(cells)):
            if self._course_id is not None:
                wish.body.setdefault("course_id", self._course_id)
            if extra is not None:
                message = f"{len(cells)} cells under {self._width} columns"
                wide = finding("", extra, "columns", message)
                yield wish._replace(findings=(wide, *wish.findings))
            else:
                yield wish

    def own_cells(self, cells: list[str], wish: Wish) -> list[str]:
        """The cells of a row that mean this wish and no other."""
        if wish.number is None:
            return cells
        own = {None, wish.number}
        numbers = chain(self._numbers, repeat(None))
        return [cell if n in own else "" for cell, n in zip(cells, numbers, strict=False)]

    def _tidied(self, cells: Sequence[str]) -> Sequence[str]:
        return cells if self._format.tidied is None else self._format.tidied(cells)

    def _told(self, cells: Sequence[str]) -> Cells:
        number = len(cells)
        return {
            name: bare
            for name, place in self._read
            if place < number and (bare := unescape_cell(cells[place]))
        }
