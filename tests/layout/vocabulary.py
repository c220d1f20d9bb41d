"""Words that identifiers, docstrings and comments must not use, each with what to write instead."""

import re

_JUDGE = "decide, decision"
_STRANGER = "unknown learner"
_NEWCOMER = "new learner, new enrollment"
_GUEST = "invitation, invited learner"
_DISPATCH = "dispatch, publish"
_CHANGE = "change, request"
_SUSPECT = "failure search, poison request"
_OWNER = "name the owner: caller, learner, submission"
_OUTCOME = "outcome"
_PERSON = "name the role: caller, operator, learner, worker"

#: Words of identifiers (split at `_` and at changes of case), each with the plain alternative.
IN_IDENTIFIERS = {
    "acquaint": "set_email_if_missing",
    "apart": "alone, separate",
    "asked": "requested, parameters, arguments",
    "asking": "request, query",
    "attend": "serve, handle",
    "begun": "started",
    "bell": "completion event",
    "bells": "completion events",
    "buried": "parked",
    "bury": "park",
    "crowd": "limit, overload",
    "crowded": "over the limit",
    "fare": "proceed, outcome",
    "fate": _OUTCOME,
    "gathering": "coalesce, group commit",
    "gone": "deleted, disconnected, stopped",
    "guest": _GUEST,
    "guests": _GUEST,
    "heads": "headers, submissions_by_id",
    "heed": "apply, read",
    "hopeless": "permanent failure",
    "judge": _JUDGE,
    "judged": _JUDGE,
    "judgement": _JUDGE,
    "judgements": _JUDGE,
    "judges": _JUDGE,
    "judging": _JUDGE,
    "minding": "supervise",
    "mood": "fault rates, mode",
    "moves": "snapshots, transitions",
    "nemesis": "fault injector",
    "newcomer": _NEWCOMER,
    "newcomers": _NEWCOMER,
    "ours": _OWNER,
    "ring": _DISPATCH,
    "ringer": "dispatcher",
    "ringing": _DISPATCH,
    "rings": _DISPATCH,
    "rung": "dispatched",
    "seldom": "rarely, name the interval",
    "standing": "current state, locked rows",
    "stranger": _STRANGER,
    "strangers": _STRANGER,
    "suspect": _SUSPECT,
    "suspects": _SUSPECT,
    "suspicion": _SUSPECT,
    "theirs": _OWNER,
    "tidy": "purge",
    "tied": "bound to the parent process",
    "told": "reported, notified",
    "unkept": "unsaved",
    "whom": _OWNER,
    "whose": _OWNER,
    "wish": _CHANGE,
    "wishes": _CHANGE,
}

#: Regular expressions (any case, whole words) of docstrings and comments, each with the alternative.
IN_TEXTS = {
    r"a look at": "a read of",
    r"at one stroke": "in one statement, atomically",
    r"bells?": "completion event",
    r"crowd(s|ed)?": "limit, overload",
    r"fates?": _OUTCOME,
    r"guests?": _GUEST,
    r"judg(e|es|ed|ing|ement|ements)": _JUDGE,
    r"let(s|ting)? go": "release",
    r"newcomers?": _NEWCOMER,
    r"no more than": "at most",
    r"nobody": _PERSON,
    r"rings? for": _DISPATCH,
    r"rung": "dispatched",
    r"somebody": _PERSON,
    r"strangers?": _STRANGER,
    r"told": "reported, notified",
    r"upstream": "Open edX",
    r"whatever": "any, regardless of",
    r"whoever": _PERSON,
    r"whom": _PERSON,
    r"wish(es|ed)?": _CHANGE,
}

#: Words that must not start a sentence: the sentence has no verb of the field then.
AT_START = {
    "what": "say what it is or does: 'Rows that …', 'Returns …'",
    "who": _PERSON,
    "whose": _OWNER,
}

#: Identifiers that stay although they contain a banned word, each with the reason.
IDENTIFIERS_THAT_STAY = {
    "answered_at": "column `batches.answered_at`",
    "cancel_asked_at": "column `submissions.cancel_asked_at`",
    "suspicion": "column `batches.suspicion`",
    "is_ours": "stored JSON member of a failure search",
    "begun_at": "stored JSON member of a failure search",
    "ours": "column, and JSON and CSV member, of a crosswalk entry",
    "theirs": "column, and JSON and CSV member, of a crosswalk entry",
    "RING_BEFORE": "name of a fail point",
    "RING_SENT": "name of a fail point",
    "WORK_JUDGING": "name of a fail point",
    "0002_suspicion": "a released migration",
}

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_CODE = re.compile(r"`+[^`]*`+")
_TEXT = re.compile(r"\b(?:" + "|".join(IN_TEXTS) + r")\b", re.IGNORECASE)
_START = re.compile(
    r"(?:^|[.!?:]\s+)(" + "|".join(AT_START) + r")\b[^?.]*(?![^.]*\?)", re.IGNORECASE
)


def banned_in_identifier(identifier: str) -> list[tuple[str, str]]:
    """(word, alternative) of each banned word in an identifier."""
    if identifier in IDENTIFIERS_THAT_STAY:
        return []
    words = (word.lower() for word in _WORD.findall(identifier))
    return [(word, IN_IDENTIFIERS[word]) for word in words if word in IN_IDENTIFIERS]


def banned_in_text(text: str) -> list[tuple[str, str]]:
    """(words, alternative) of each banned expression in a docstring or comment.

    Code between backticks is no text: it may name a column or a log event.
    """
    plain = " ".join(_CODE.sub("`", text).split())
    found = [(hit[0], _alternative(hit[0])) for hit in _TEXT.finditer(plain)]
    starts = (hit[1] for hit in _START.finditer(plain))
    return found + [(f"{word} …", AT_START[word.lower()]) for word in starts]


def _alternative(words: str) -> str:
    return next(
        plain for pattern, plain in IN_TEXTS.items() if re.fullmatch(pattern, words, re.IGNORECASE)
    )
