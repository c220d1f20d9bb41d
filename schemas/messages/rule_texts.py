"""The sentence of each rule: the problem of a value, and the remedy."""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.fields import MAX_EMAIL, MAX_MODE, MAX_NAME
from schemas.findings import Rule


class RuleText(NamedTuple):
    """The problem and the remedy: the parts of a sentence behind the field and its value."""

    problem: str
    remedy: str
    #: Both parts for a finding with a detail, `{detail}`; empty: details are left out.
    detailed: str = ""

    def with_detail(self, detail: str | None) -> str:
        """Returns the end of the sentence, without its full stop."""
        if detail and self.detailed:
            return self.detailed.replace("{detail}", detail)
        if not self.remedy:
            return self.problem
        return f"{self.problem}{';' if ':' in self.problem else ':'} {self.remedy}"


#: Texts by rule. `{expected}` is the name that an unknown one looks like.
RULE_TEXTS: Mapping[Rule, RuleText] = {
    Rule.REQUIRED: RuleText("is missing", "write a value"),
    Rule.NULL: RuleText("must not be null", "write a value, or leave the member out"),
    Rule.TYPE: RuleText(
        "has the wrong type",
        "write a value of the type that /openapi.json gives",
        "has the wrong type: {detail}",
    ),
    Rule.UNKNOWN: RuleText(
        "is not a known name",
        "correct the name, or leave it out",
        "is not a known name: {detail}",
    ),
    Rule.UNKNOWN_MEMBER: RuleText(
        "is not read: its name is not known, but looks like {expected}",
        "rename it to {expected}, or leave it out",
    ),
    Rule.LENGTH: RuleText(
        "is too short or too long",
        "write a value of another length",
        "is too short or too long: {detail}",
    ),
    Rule.DESTINATION: RuleText(
        "must not be called",
        "write the https URL of a public server",
        "must not be called: {detail}",
    ),
    Rule.RANGE: RuleText(
        "is out of range", "write a value within the limits", "is out of range: {detail}"
    ),
    Rule.PATTERN: RuleText(
        "has a form or characters that are not allowed",
        "correct it",
        "has a form or characters that are not allowed: {detail}",
    ),
    Rule.CHARACTERS: RuleText(
        "contains a character that cannot be stored (NUL or half of a surrogate pair)", "remove it"
    ),
    Rule.COURSE_KEY: RuleText(
        "is not a course id",
        "write course-v1:org+course+run, such as course-v1:DemoX+ALG+2026, or org/course/run",
    ),
    Rule.EMAIL: RuleText("is not an e-mail address", "write one such as ada@example.org"),
    Rule.DATETIME: RuleText(
        "is not a date and time with zone, such as 2026-11-23T10:00:00Z",
        "",
        "is not a date: {detail}",
    ),
    Rule.IN_THE_FUTURE: RuleText(
        "is later than the request itself", "write an earlier time, or leave it out"
    ),
    Rule.ONE_OF: RuleText(
        "is not a known value", "write one of the known values", "is not a known value: {detail}"
    ),
    Rule.DUPLICATE: RuleText("is given twice", "leave one of them out"),
    Rule.MISMATCH: RuleText("differs from the URL", "write the same in both, or leave it out here"),
    Rule.JSON: RuleText(
        "is not valid JSON",
        "correct it and send it again",
        "is not valid JSON ({detail}): correct it and send it again",
    ),
    Rule.QUOTE: RuleText(
        "begins a quoted cell that never ends",
        'close the quote; inside a quoted cell write "" for one quote',
    ),
    Rule.COLUMNS: RuleText(
        "is in no column: the row has more cells than the header",
        "remove the cell, or put quotes around a cell that contains the separator",
    ),
    Rule.ENCODING: RuleText("is not UTF-8", "save the file as UTF-8"),
    Rule.UNREADABLE: RuleText(
        "cannot be read in the format of the file",
        "correct the row",
        "cannot be read in the format of the file: {detail}",
    ),
    Rule.SOURCE: RuleText(
        "is not the name of a source",
        "write 1 to 100 letters, digits, dots, dashes or underscores, such as canvas",
    ),
    Rule.NOT_IN_CROSSWALK: RuleText(
        "has no entry in the crosswalk, and cannot be an id of this service",
        "add the id to the crosswalk, then send the row again",
    ),
    Rule.DAMAGED_ID: RuleText(
        "is not an id, but what a program made of one",
        "write the id as it is in the other system, and format the column as text",
    ),
    Rule.INVISIBLE_CHARACTER: RuleText(
        "contains a character that cannot be seen", "type the value again without it"
    ),
    Rule.CONTRADICTION: RuleText(
        "is not the e-mail address of the learner that the row names",
        "write one of the two, or correct the one that is wrong",
    ),
    Rule.OMITTED: RuleText(
        "is the number of further errors", "correct those that are listed, and send it again"
    ),
}

_FLAG = RuleText("is neither true nor false", "write true, false, 1, 0, yes or no")
_TEXT_TYPE = RuleText("is not a text", "write a text, in JSON between quotes")
_USERNAME = RuleText(
    "is not a username",
    "use letters, digits, the signs . _ @ + - and spaces, but none at the ends",
)


def _at_most(limit: int) -> RuleText:
    remedy = f"write at most {limit} characters"
    return RuleText("is too long", remedy, "is too short or too long: {detail}")


#: Texts for members of a request, instead of that of the rule.
FIELD_TEXTS: Mapping[tuple[Rule, str], RuleText] = {
    (Rule.REQUIRED, "user"): RuleText(
        "is missing", "write a username in user, or an e-mail address in email"
    ),
    (Rule.REQUIRED, "course_id"): RuleText(
        "is missing", "write a course id, such as course-v1:DemoX+ALG+2026"
    ),
    **{
        (Rule.REQUIRED, name): RuleText(
            "is missing", "a crosswalk has the columns kind, theirs and ours, and a value in each"
        )
        for name in ("theirs", "ours")
    },
    (Rule.REQUIRED, "auth"): RuleText(
        "must have client_id with client_secret, or api_key", "write one of the two"
    ),
    (Rule.TYPE, ""): RuleText(
        "is not an object", "send a JSON object, and one for each row in a list or a file"
    ),
    (Rule.TYPE, "is_active"): _FLAG,
    (Rule.TYPE, "force_enrollment"): _FLAG,
    (Rule.TYPE, "email_opt_in"): _FLAG,
    (Rule.TYPE, "enrollment_attributes"): RuleText(
        "is not a list of attributes",
        "write a JSON list of objects with namespace, name and value",
    ),
    **{(Rule.TYPE, name): _TEXT_TYPE for name in ("user", "email", "course_id", "mode", "cohort")},
    (Rule.PATTERN, "user"): _USERNAME,
    (Rule.PATTERN, "username"): _USERNAME,
    (Rule.PATTERN, "email"): RULE_TEXTS[Rule.EMAIL],
    (Rule.LENGTH, "user"): _at_most(MAX_NAME),
    (Rule.LENGTH, "cohort"): _at_most(MAX_NAME),
    (Rule.LENGTH, "email"): _at_most(MAX_EMAIL),
    (Rule.LENGTH, "mode"): _at_most(MAX_MODE),
}

#: A flag in JSON that is written as CSV files write it.
QUOTED_FLAG = RuleText("is neither true nor false", "write true or false, in JSON without quotes")
#: Spellings of flags that CSV files may use.
CSV_FLAGS = frozenset({"true", "false", "yes", "no", "1", "0"})
