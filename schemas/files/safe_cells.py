"""Cells of CSV files that no spreadsheet evaluates."""

import re

from schemas.files.csv_rows import CELL_PART, is_formula


def safe_cell(cell: str) -> str:
    """Returns a cell that no spreadsheet evaluates; `unescape_cell` removes the apostrophes.

    Some spreadsheets split a line at `;` where the file means `,`, so each part counts.
    """
    if not cell or cell.isalnum():
        return cell
    if ";" in cell or "," in cell:
        cell = CELL_PART.sub(_safe_part, cell)
    return "'" + cell if is_formula(cell) else cell


def _safe_part(part: re.Match[str]) -> str:
    return "'" + part[0] if is_formula(part[0]) else part[0]
