"""The canonical form of usernames and e-mail addresses: equal forms mean the same person.

The form is Unicode NFC. It never turns a character that is not ASCII into one that is: the Kelvin
sign would become `K`, and so the name of another person.
"""

import re
import unicodedata

#: Longer texts are no names, and are left as they are: NFC takes quadratic time for runs of marks.
#: NFC makes at most four characters into one, and a name has up to 255.
_MAX_CHARS = 4 * 255
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TO_LOWER = str.maketrans(_UPPER, _UPPER.lower())
#: NFC turns three characters into ASCII, which stay: Greek question mark, Greek varia, Kelvin sign.
_NORMALIZED = re.compile("[^\u037e\u1fef\u212a]+")

#: Characters that are invisible or turn the direction of others: the categories Cc, Cf, Zl and
#: Zp of Unicode, and what else it lists as ignorable.
_INVISIBLE = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    "\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


def canonical_text(text: str) -> str:
    """Returns the text in NFC."""
    if text.isascii() or len(text) > _MAX_CHARS or is_canonical(text):
        return text
    return _NORMALIZED.sub(lambda part: unicodedata.normalize("NFC", part[0]), text)


def is_canonical(text: str) -> bool:
    """Returns whether the text is certainly in its canonical form."""
    return unicodedata.is_normalized("NFC", text)


def canonical_email(text: str) -> str:
    """Returns the e-mail address in NFC, its ASCII letters in lower case."""
    return text.lower() if text.isascii() else canonical_text(text).translate(_TO_LOWER)


def has_invisible(text: str) -> bool:
    """Returns whether the text has characters that are invisible or change directions."""
    return _INVISIBLE.search(text) is not None
