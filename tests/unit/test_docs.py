"""The documents say what the program does: every word of theirs that can be looked up is."""

import re
from itertools import takewhile
from pathlib import Path

import click
import pytest

from enrollment.domain.codes import Code, Reason
from enrollment.domain.destinations.deliveries import DESTINATION_KINDS
from enrollment.runtime.setting_names import CLIENT_VARIABLES, VARIABLES
from enrollment.runtime.settings import SettingsError, check_variables
from schemas.findings import Rule

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda page: page.as_posix()
)
README = (ROOT / "README.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
REASONS = (ROOT / "docs" / "reasons.md").read_text()

ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)
FIRST_CELL = re.compile(r"^\| ([^|]*) \|", re.MULTILINE)
CODE = re.compile(r"`([a-z_]+)`")
BLOCK = re.compile(r"^```.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
MAKE = re.compile(r"\bmake ([a-z]+)")
ENROLL = re.compile(r"\benroll ((?:[a-z]+(?: \| )?)+)(?: ([a-z]+))?")
LINK = re.compile(r"\[[^\]]*\]\(([^)#:]+)(?:#([^)]*))?\)")
VARIABLE = re.compile(r"ENROLL_[A-Z_]*[A-Z]")

#: Characters in a line of prose; tables and blocks cannot be wrapped.
MAX_LINE = 100
#: Of the tests alone.
TEST_VARIABLES = {"ENROLL_TEST_POSTGRES_URL", "ENROLL_TEST_REDIS_URL", "ENROLL_TEST_ROWS"}
#: The example of a misspelt name, on the page of the settings.
MISSPELT = "ENROLL_RETENTON_DAYS"


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one."""
    lines = text.splitlines()
    below = lines[lines.index(heading) + 1 :]
    return "\n".join(takewhile(lambda line: not line.startswith("## "), below))


def commands_in(text: str) -> list[str]:
    """Every line that a block of the text gives to type, or shows being typed."""
    return [line for block in BLOCK.findall(text) for line in block.splitlines()]


def anchors_of(page: Path) -> set[str]:
    """What links can point to inside a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_setting_is_documented_and_nothing_else():
    documented = {name for name in ROW.findall(SETTINGS) if name.startswith("ENROLL_")}

    assert documented == set(VARIABLES) | CLIENT_VARIABLES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_names_only_settings_that_exist(page):
    named = set(VARIABLE.findall(page.read_text()))
    known = set(VARIABLES) | CLIENT_VARIABLES | TEST_VARIABLES
    families = {name for name in named if any(one.startswith(name + "_") for one in known)}

    assert named - families - known == ({MISSPELT} if page.name == "settings.md" else set())


def test_a_misspelt_name_is_refused_as_shown():
    with pytest.raises(SettingsError) as refusal:
        check_variables({MISSPELT: "1"})

    assert f"Error: {refusal.value}\n" in SETTINGS


def test_every_outcome_is_documented_and_nothing_else():
    assert set(ROW.findall(section(REASONS, "## Outcomes"))) == set(Code)


def test_every_reason_is_documented_and_nothing_else():
    assert set(ROW.findall(section(REASONS, "## Reasons"))) == set(Reason)


def test_every_rule_is_documented_and_nothing_else():
    assert set(ROW.findall(section(REASONS, "## Rules of `invalid_row`"))) == set(Rule)


def test_every_error_code_is_documented_and_nothing_else():
    from api_gateway.openapi.problem_codes import meanings

    of_requests = section(REASONS, "## Error codes")
    documented = {code for row in FIRST_CELL.findall(of_requests) for code in CODE.findall(row)}

    of_rows = {reason.value for reason in Reason}
    assert documented | of_rows == set(meanings())
    assert documented & of_rows == {"not_permitted", "internal_error"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_lines_of_prose_are_not_long(page):
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines = [line for line in prose.splitlines() if not line.startswith("|")]

    assert [line for line in lines if len(line) > MAX_LINE] == []


def test_what_upstream_answers_to_a_reason_is_what_the_page_says():
    from api_gateway.openapi.html_pages import FILE_REASONS
    from enrollment.domain.model import Outcome
    from schemas.enrollments import v1_refusal

    rows = re.findall(
        r"^\| `(\w+)` \|.*\| (\d{3})[^|]*\|$", section(REASONS, "## Reasons"), re.MULTILINE
    )
    documented = {Reason(reason): int(status) for reason, status in rows}

    assert set(documented) == set(Reason) - FILE_REASONS
    for reason, status in documented.items():
        outcome = Outcome(1, "ada", "course-v1:a+b+c", Code.REFUSED, reason)
        assert v1_refusal(outcome).status == status, reason


def test_what_the_pages_tell_to_make_can_be_made():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {
        name
        for page in PAGES
        for line in commands_in(page.read_text())
        for name in MAKE.findall(line)
    }

    assert {"run", "test"} <= told <= targets


def test_the_commands_that_the_pages_show_exist():
    from api_gateway.cli import main

    for page in PAGES:
        for line in commands_in(page.read_text()):
            for names, second in ENROLL.findall(line):
                assert_commands(main, names, second, line)


def assert_commands(main: click.Group, names: str, second: str, line: str) -> None:
    """The words name commands; of a group, the next word is one of its own."""
    for name in names.split(" | "):
        first, *rest = name.split()
        command = main.commands.get(first)
        assert command is not None, line
        below = [*rest, second] if second else rest
        if isinstance(command, click.Group) and below:
            assert below[0] in command.commands, line


def test_every_command_is_in_the_readme():
    from api_gateway.cli import main

    shown = {
        word
        for line in commands_in(section(README, "## The command line"))
        for word in re.findall(r"[a-z]+", line)
    }

    assert set(main.commands) <= shown


def test_kinds_of_destinations_that_are_not_there_yet_are_not_there():
    absent = set(re.findall(r"`([a-z]+)`", section(README, "## Not there yet")))

    assert absent
    assert not absent & set(DESTINATION_KINDS), "take it off the README's list"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text()):
        found = (page.parent / target).resolve()

        assert found.exists(), target
        if anchor:
            assert anchor in anchors_of(found), f"{target}#{anchor}"
