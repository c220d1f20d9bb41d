"""Finds names of columns and members that are not read but look like ones that are.

A name that is not read is ignored, so a misspelt one would do the opposite of what was meant:
a withdrawal with `status,inactive` would enroll. Two kinds look like a known name: near misses,
which are one edit away (two, of a long name), and a few words for `is_active`.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from os.path import commonprefix

from schemas.findings import Finding, Rule, display_value, finding

#: The members of a request.
REQUEST_MEMBERS = frozenset(
    {
        "user",
        "email",
        "course_id",
        "course_details",
        "mode",
        "is_active",
        "enrollment_attributes",
        "cohort",
        "force_enrollment",
        "requested_at",
        "email_opt_in",
    }
)
#: The members of `course_details` that are read.
DETAILS_MEMBERS = frozenset({"course_id", "email_opt_in"})
#: Members that clients of Open edX send, and that are not read here: those that Open edX reads
#: (docs/openedx-compatibility.md, Ignored members), and the one of its forms.
CLIENT_MEMBERS = frozenset(
    {
        "enterprise_course_consent",
        "enterprise_uuid",
        "linked_enterprise_customer",
        "csrfmiddlewaretoken",
    }
)
#: Words that mean `is_active` elsewhere, without spaces and punctuation.
ACTIVITY_WORDS = frozenset(
    {
        *("status", "state", "active", "isactive", "action", "enrolled", "operation"),
        *("inactive", "unenroll", "unenrolled", "deactivate", "deactivated"),
        *("withdraw", "withdrawn", "drop", "dropped"),
    }
)

#: Names of up to this many letters are so short that another letter makes another word: `code` is
#: not a misspelt `mode`.
_MAX_SHORT = 4
#: From this length on two edits are a near miss.
_MIN_LONG = 10
#: Maximum number of edits between an unknown id and the known one that is proposed.
MAX_ID_EDITS = 2
#: Texts that differ in a longer part are not compared letter by letter, which takes long.
_MAX_MIDDLE = 6
#: Limit of the length of names that are compared, and of such members of one body.
_MAX_COMPARED = 100


@lru_cache(maxsize=4_096)
def similar_name(name: str, known: frozenset[str]) -> str | None:
    """Returns the known name of which another one is a near miss; None if there is none.

    Case, spaces and punctuation do not count. A number at the end makes another name: `email2`.
    """
    bare = _bare(name)
    if not bare or len(bare) > _MAX_COMPARED:
        return None
    return min(
        (candidate for candidate in known if _is_near(bare, _bare(candidate))),
        key=lambda candidate: (_distance(bare, _bare(candidate)), candidate),
        default=None,
    )


def means_activity(name: str) -> bool:
    """Returns whether a name is one of the words that mean `is_active` elsewhere."""
    return _bare(name[:_MAX_COMPARED]) in ACTIVITY_WORDS


def similar_member(name: str) -> str | None:
    """Returns the member of a request that an unknown member looks like; None: it looks like none.

    `mod` looks like `mode`, `status` like `is_active`.
    """
    if name in REQUEST_MEMBERS:
        return None
    return similar_name(name, REQUEST_MEMBERS) or ("is_active" if means_activity(name) else None)


def unknown_members(
    body: Mapping[str, object], ignored: Collection[str] = frozenset()
) -> list[Finding]:
    """Returns a finding for each member that is not read but looks like one that is.

    `ignored` are names in lower case that may pass. For bodies with unknown members only: whether
    there are any is one comparison, `REQUEST_MEMBERS.issuperset(body)`.
    """
    unread = body.keys() - REQUEST_MEMBERS
    return [
        finding(name, body[name], Rule.UNKNOWN_MEMBER, expected=near)
        for name in sorted(unread)[:_MAX_COMPARED]
        if (near := similar_member(name)) is not None and name.casefold() not in ignored
    ]


def is_read_whole(body: Mapping[str, object]) -> bool:
    """Returns whether all members of a request are read, and all of its `course_details`."""
    details = body.get("course_details")
    return REQUEST_MEMBERS.issuperset(body) and (
        type(details) is not dict or DETAILS_MEMBERS.issuperset(details)
    )


def misplaced_members(body: Mapping[str, object]) -> list[Finding]:
    """Returns a finding for each member of `course_details` that belongs beside it.

    Also for one that looks like that: `is_active` in there would not withdraw, but enroll.
    """
    details = _details(body)
    return [
        finding(f"course_details.{name}", details[name], Rule.UNKNOWN_MEMBER, expected=near)
        for name in sorted(details.keys() - DETAILS_MEMBERS)[:_MAX_COMPARED]
        if (near := name if name in REQUEST_MEMBERS else similar_member(name)) is not None
    ]


def ignored_members(body: Mapping[str, object]) -> tuple[str, ...]:
    """Returns the names of the members that are not read, in their order; nested ones dotted."""
    unread = [
        *(name for name in body if name not in REQUEST_MEMBERS),
        *(f"course_details.{name}" for name in _details(body) if name not in DETAILS_MEMBERS),
    ]
    return tuple(str(display_value(name)) for name in unread[:_MAX_COMPARED])


def _details(body: Mapping[str, object]) -> Mapping[str, object]:
    details = body.get("course_details")
    return details if isinstance(details, dict) else {}


def nearest_id(text: str, known: Iterable[str]) -> str | None:
    """Returns the id that is at most two edits away from another one; None if there is none.

    Upper and lower case do not count. Of several, the nearest one, then the first by name.
    """
    folded = text.casefold()
    distances = (
        (_distance_of_middles(folded, candidate.casefold()), candidate)
        for candidate in known
        if abs(len(candidate) - len(text)) <= MAX_ID_EDITS
    )
    near = min(((edits, it) for edits, it in distances if edits <= MAX_ID_EDITS), default=None)
    return None if near is None else near[1]


def _distance_of_middles(left: str, right: str) -> int:
    """Returns the distance of two texts; more than `MAX_ID_EDITS` for far ones, without counting.

    Equal beginnings and ends are cut off first: texts of one edit differ in a letter or two.
    """
    begin = len(commonprefix((left, right)))  # noqa: RUF071 (they are texts, not paths)
    left, right = left[begin:], right[begin:]
    end = len(commonprefix((left[::-1], right[::-1])))  # noqa: RUF071
    left, right = left[: len(left) - end], right[: len(right) - end]
    if max(len(left), len(right)) > _MAX_MIDDLE:
        return MAX_ID_EDITS + 1
    return _distance(left, right)


def _bare(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold()))


def _is_near(name: str, known: str) -> bool:
    if name == known:
        return True
    limit = 2 if len(known) >= _MIN_LONG else 1
    is_far = abs(len(name) - len(known)) > limit or len({*name} - {*known}) > limit
    if is_far or name[-1].isdigit():
        return False
    if len(known) <= _MAX_SHORT and len(name) == len(known) and sorted(name) != sorted(known):
        return False
    return _distance(name, known) <= limit


def _distance(left: str, right: str) -> int:
    """Returns the number of letters inserted, deleted, replaced, or swapped with the next one."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, one in enumerate(left, 1):
        before, last, row = row, before, [i]
        for j, other in enumerate(right, 1):
            edits = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (one != other))
            if i > 1 and j > 1 and one == right[j - 2] and left[i - 2] == other:
                edits = min(edits, last[j - 2] + 1)
            row.append(edits)
    return row[-1]
