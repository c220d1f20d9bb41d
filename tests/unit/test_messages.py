"""Sentences about rows: every rule and every reason has one, for people who know no code."""

import ast
from functools import partial
from pathlib import Path

import pytest
from marshmallow import ValidationError

from enrollment.domain.codes import Code, Reason
from enrollment.domain.model import Outcome
from enrollment.domain.webhooks.messages import MESSAGE_TYPES as TYPES
from schemas.courses import load_course
from schemas.crosswalks import parse_csv_entries
from schemas.destinations.members import load_destination
from schemas.findings import Rule, at_pointer, finding, findings_of, first_findings_of
from schemas.messages.finding_messages import describe_finding, sentence_of, sentences_of
from schemas.messages.reason_messages import REASON_TEXTS, message_of
from schemas.messages.rule_texts import FIELD_TEXTS, RULE_TEXTS
from schemas.openedx.roles import load_role
from schemas.requests.bulk_objects import InvalidObjects
from schemas.webhooks.endpoints import WEBHOOK_SCHEMA

ROOT = Path(__file__).parents[2]
PACKAGES = ("api_gateway", "enrollment", "schemas", "worker")
FIELDS = ("", "user", "email", "course_id", "mode", "is_active", "requested_at", "login_id")
VALUES = (None, "x", "", 5, 1.5, True, ["a"], [{"user": "ada"}], {"user": None}, "\0\ud800")

#: Codes of whole files, which take the place of a rule.
FILE_CODES = frozenset({"malformed_form"})

#: Their `error` names why another system was not reached.
RESULTS_OF_CALLS = {"AttemptOutcome", "ApplyResult", "_replace"}


def rules_in_code():
    """Yields every rule that is written as a text where a finding is made, and its place."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                yield from ((rule, f"{path.name}:{node.lineno}") for rule in rules_of(node))


def rules_of(node):
    if isinstance(node, ast.Dict):
        keys = [getattr(key, "value", None) for key in node.keys]
        node = node.values[keys.index("rule")] if "rule" in keys else None
        return [node.value] if isinstance(node, ast.Constant) else []
    if not isinstance(node, ast.Call):
        return []
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    arguments = {
        "finding": node.args[2:3],
        "report": node.args[1:2],
        "DateForm": node.args[1:2],
        "ValidationError": node.args,
    }
    found = [*arguments.get(name, [])]
    if name not in RESULTS_OF_CALLS:
        found += [keyword.value for keyword in node.keywords if keyword.arg == "error"]
    return [
        one.value for one in found if isinstance(one, ast.Constant) and isinstance(one.value, str)
    ]


def test_every_rule_has_a_sentence_and_every_sentence_a_rule():
    assert set(RULE_TEXTS) == set(Rule)
    assert {rule for rule, _ in FIELD_TEXTS} <= set(Rule)


def test_the_code_makes_findings_of_known_rules_only():
    found = list(rules_in_code())

    assert found
    assert [
        (rule, place) for rule, place in found if rule not in set(Rule) and rule not in FILE_CODES
    ] == []


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("detail", [None, "known are a, b"])
def test_no_sentence_shows_code(rule, detail):
    for field in FIELDS:
        for value in VALUES:
            sentence = sentence_of(finding(field, value, rule, detail))

            assert sentence.endswith(".")
            assert "None" not in sentence
            assert "{" not in sentence.replace('{"user":', "")
            assert "'user'" not in sentence


@pytest.mark.parametrize("texts", RULE_TEXTS.values())
def test_every_rule_names_a_remedy_or_an_example(texts):
    assert texts.remedy or "such as" in texts.problem


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (
            finding("is_active", "perhaps", "type"),
            "is_active: 'perhaps' is neither true nor false: write true, false, 1, 0, yes or no.",
        ),
        (
            finding("is_active", "yes", "type"),
            (
                "is_active: 'yes' is neither true nor false: write true or false, in JSON without "
                "quotes."
            ),
        ),
        (
            finding("is_active", 1, "type"),
            "is_active: 1 is neither true nor false: write true or false, in JSON without quotes.",
        ),
        (
            finding("requested_at", "23.11.2026", "datetime"),
            (
                "requested_at: '23.11.2026' is not a date and time with zone, such as "
                "2026-11-23T10:00:00Z."
            ),
        ),
        (
            finding("user", None, "required"),
            "user is missing: write a username in user, or an e-mail address in email.",
        ),
        (
            finding("course_id", "course-v1:DemoX+ALG", "course_key"),
            (
                "course_id: 'course-v1:DemoX+ALG' is not a course id: write course-v1:org+course+run, "
                "such as course-v1:DemoX+ALG+2026, or org/course/run."
            ),
        ),
        (
            finding("", "extra", "columns", "5 cells under 4 columns"),
            (
                "'extra' is in no column: the row has more cells than the header; remove the cell, "
                "or put quotes around a cell that contains the separator."
            ),
        ),
        (
            finding("", [{"user": "ada"}], "type"),
            (
                '\'[{"user":"ada"}]\' is not an object: send a JSON object, and one for each '
                "row in a list or a file."
            ),
        ),
        (
            finding("enrollment_state", "perhaps", "one_of", "known are active, deleted"),
            "enrollment_state: 'perhaps' is not a known value: known are active, deleted.",
        ),
        (
            finding("mod", "verified", "unknown_member", "it looks like mode", expected="mode"),
            (
                "mod: 'verified' is not read: its name is not known, but looks like mode; rename it to "
                "mode, or leave it out."
            ),
        ),
        (
            finding("limit", "0", "range", expected="1 to 1000"),
            "limit: '0' is out of range: expected 1 to 1000.",
        ),
        (finding("", None, "malformed_zip", "It is damaged."), "It is damaged."),
        (finding("", None, "unknown_columns", expected=["user"]), None),
    ],
)
def test_a_sentence_names_the_value_the_error_and_the_remedy(item, sentence):
    assert sentence_of(item) == sentence


def test_a_sentence_may_have_a_line_and_others_beside_it():
    item = {"line": 3, **finding("mode", 5, "type")}

    assert describe_finding(item).startswith("line 3: mode: 5 is not a text: ")
    assert sentences_of([item, item]).count("is not a text") == 2


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_says_something_even_without_its_facts(reason):
    message = message_of(Outcome(1, None, None, Code.REFUSED, reason))

    assert message == REASON_TEXTS[reason][-1]
    assert message.endswith(".")
    assert "{" not in message


@pytest.mark.parametrize(
    ("reason", "details", "message"),
    [
        (
            Reason.COURSE_NOT_FOUND,
            {"nearest": "course-v1:A+B+C"},
            "There is no course C: did you mean course-v1:A+B+C?",
        ),
        (
            Reason.LEARNER_NOT_FOUND,
            None,
            "There is no learner ada: check the spelling, or register the learner first.",
        ),
        (
            Reason.COURSE_FULL,
            {"capacity": 10},
            "All seats are taken (capacity 10): raise the capacity, or wait for a free seat.",
        ),
        (
            Reason.ENROLLMENT_CLOSED,
            {"closed_at": "T"},
            (
                "Enrollment in the course was open until T: invite the learner, or move the end of "
                "enrollment."
            ),
        ),
        (
            Reason.MODE_UNAVAILABLE,
            {"requested_mode": "verifed", "offered": ["audit", "verified"]},
            "The course does not offer the mode verifed: choose one of audit, verified.",
        ),
        (
            Reason.MODE_UNAVAILABLE,
            {"requested_mode": None},
            "The course does not offer the mode: choose one that it offers.",
        ),
        (
            Reason.MODE_EXPIRED,
            {"requested_mode": "verified", "expired_at": None, "offered": ["audit"]},
            "The course no longer offers the mode: choose another one, or move the deadline.",
        ),
        (
            Reason.COHORT_NOT_FOUND,
            {"cohort": "{x}"},
            "The course has no cohort {x}: check the spelling, or add it to the course.",
        ),
        (
            Reason.ATTRIBUTES_MISSING,
            {"requested_mode": "credit", "required": ["credit:provider_id", "b"]},
            "The mode credit needs credit:provider_id, b: send it in enrollment_attributes.",
        ),
        (
            Reason.INVALID_ROW,
            {"errors": [{"field": "user", "value": None, "rule": "required"}]},
            "user is missing: write a username in user, or an e-mail address in email.",
        ),
        (
            Reason.INVALID_ROW,
            {"errors": [{"field": "mode", "value": "x", "rule": "of an earlier release"}]},
            "The row is invalid: correct it and send it again.",
        ),
    ],
)
def test_a_reason_names_its_facts(reason, details, message):
    assert message_of(Outcome(1, "ada", "C", Code.REFUSED, reason, details)) == message


@pytest.mark.parametrize(
    ("load", "member", "value", "end"),
    [
        (load_course, "capacity", -1, "is out of range: expected 0 to 2147483647."),
        (load_course, "capacity", "5", "has the wrong type: write a whole number, in JSON"),
        (load_course, "course_name", 5, "has the wrong type: write a text, in JSON between"),
        (load_course, "cohorts", "A", "has the wrong type: write a list."),
        (load_course, "course_modes", ["audit"], "has the wrong type: write an object."),
        (load_course, "enrollment_end", 5, "has the wrong type: write a date and time with"),
        (load_course, "pacing_type", "self", "value: write one of Self Paced, Instructor Paced."),
        (load_course, "invite_only", 1, "has the wrong type: write true or false, in JSON"),
        (load_role, "role", "boss", "write one of staff, instructor, limited_staff, support."),
    ],
)
def test_members_of_objects_are_told_what_to_write(load, member, value, end):
    course = {"course_id": "course-v1:A+B+C"} if load is load_course else {}
    body = {**course, member: value}
    with pytest.raises(ValidationError) as refusal:
        load(body)
    (item,) = findings_of(refusal.value, body)
    assert item["rule"] in set(Rule)
    assert end in sentence_of(item)


def test_a_flag_in_json_is_not_told_the_words_of_a_csv_file():
    item = at_pointer(finding("is_active", "perhaps", "type"))
    assert sentence_of(item).endswith("write true or false, in JSON without quotes.")


@pytest.mark.parametrize("field", ["mode", "name"])
def test_a_length_is_told_with_its_limits(field):
    item = finding(field, "", "length", expected="1 to 100 characters")
    assert sentence_of(item) == (
        f"{field}: '' is too short or too long: expected 1 to 100 characters."
    )


LMS = {"kind": "openedx", "url": "https://lms.example.org"}


@pytest.mark.parametrize(
    ("load", "data", "sentence"),
    [
        (
            partial(load_destination, name="lms", check_url=str),
            {**LMS, "kind": "canvas"},
            "kind: 'canvas' is not a known value: write one of openedx.",
        ),
        (
            partial(load_destination, name="lms", check_url=str),
            {**LMS, "auth": {"client_id": "us", "api_key": "k"}},
            "auth must have client_id with client_secret, or api_key: write one of the two.",
        ),
        (
            WEBHOOK_SCHEMA.load,
            {"url": "https://example.org/", "types": ["enrollment.create"]},
            f"types.0: 'enrollment.create' is not a known value: write one of {', '.join(TYPES)}.",
        ),
    ],
)
def test_a_sentence_about_a_word_names_the_known_ones(load, data, sentence):
    with pytest.raises(ValidationError) as caught:
        load(data)

    (found,) = first_findings_of(caught.value, data)
    assert sentence_of(found) == sentence


def test_the_words_that_a_parameter_may_have_are_named():
    item = finding("state", "bogus", "one_of", expected=["pending", "failed"])

    assert sentence_of(item) == "state: 'bogus' is not a known value: write one of pending, failed."


def test_a_crosswalk_without_a_column_is_told_its_columns():
    with pytest.raises(InvalidObjects) as caught:
        parse_csv_entries(b"kind,foreign_id,our_id\nlearner,4711,ada\n")

    (found,) = caught.value.findings
    assert describe_finding(found) == (
        "line 1: theirs is missing: a crosswalk has the columns kind, theirs and ours, and a value "
        "in each."
    )
