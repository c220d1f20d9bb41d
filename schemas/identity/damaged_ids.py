"""Ids that a program damaged: numbers that a spreadsheet rewrote, words for "no value"."""

import re

_WORDS = ("null", "none", "nan", "undefined", "n/a", "#n/a", "#ref!", "#value!", "#name?", "#null!")
#: Words for "no value", as programs write them.
DAMAGED_WORDS = frozenset(
    {spelled for word in _WORDS for spelled in (word, word.upper(), word.capitalize())}
    | {f"({word})" for word in ("null", "NULL", "none", "NONE", "None")}
    | {"NaN", "<NA>", "<null>", "<NULL>", "\\N", "-", "--", "."}
    | {"#DIV/0!", "#NUM!", "#NV", "#WERT!"}
)
#: A number with an exponent or with a fraction of zeros, such as 4.71101E+11, 4,7E11 and 4711.0.
DAMAGED_NUMBER = r"[+-]?[0-9]+(?:(?:[.,][0-9]*)?[eE][+-][0-9]{1,3}|[.,][0-9]+[eE][0-9]{1,3}|[.,]0+)"
_NUMBER = re.compile(DAMAGED_NUMBER)


def is_damaged_id(text: str) -> bool:
    """Returns whether the text looks like an id that a program damaged."""
    return text in DAMAGED_WORDS or _NUMBER.fullmatch(text) is not None
