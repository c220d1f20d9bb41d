"""The syntax of e-mail addresses: that of Django, which Open edX uses, and letters beyond ASCII."""

import ipaddress
import re
import unicodedata

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]++"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*+"
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}+(?<!-)"
_DOMAIN = rf"(?:{_LABEL}\.)+[A-Za-z0-9-]{{2,63}}(?<!-)"
#: The usual e-mail addresses; `has_email_syntax` accepts others, too.
EMAIL = re.compile(f"{_DOT_ATOM}@{_DOMAIN}")
_LOCAL_PART = re.compile(rf'{_DOT_ATOM}|"(?:[!#-\[\]-~]|\\[ -~])*"')
_HOST = re.compile(_DOMAIN)
_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.]+)\]")
_NOT_ASCII = re.compile("[^\0-\x7f]")
#: Unicode categories of the characters beyond ASCII in an e-mail address: letters, marks, numbers.
_WORD_CATEGORIES = frozenset("LMN")


def has_email_syntax(text: str) -> bool:
    """Returns whether a text without control characters is an e-mail address."""
    if EMAIL.fullmatch(text) is not None:
        return True
    local, _, domain = text.rpartition("@")
    if any(
        unicodedata.category(sign)[0] not in _WORD_CATEGORIES for sign in _NOT_ASCII.findall(text)
    ):
        return False
    return _LOCAL_PART.fullmatch(_NOT_ASCII.sub("x", local)) is not None and _is_domain(domain)


def _is_domain(text: str) -> bool:
    address = _ADDRESS.fullmatch(text)
    try:
        if address is not None:
            return bool(ipaddress.ip_address(address[1]))
        ascii_form = text.encode("idna").decode()
    except ValueError:  # UnicodeError is one
        return False
    return text == "localhost" or _HOST.fullmatch(ascii_form) is not None
