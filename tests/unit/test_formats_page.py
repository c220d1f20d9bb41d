"""The page on formats names each of them, with a file that is known as such."""

import re
from pathlib import Path

import pytest

from enrollment.domain.codes import Reason
from schemas.files.formats.detect import AUTO, FORMAT_NAMES, FORMATS_BY_NAME, detect_format
from schemas.findings import Rule

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "formats.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^#)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_format_has_its_section():
    assert set(SECTIONS) == set(FORMAT_NAMES) - {AUTO}


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_the_file_that_a_section_shows_is_of_its_format(name):
    first = re.search(r"^```\n(.*?)\n", SECTIONS[name], re.MULTILINE)[1]

    assert detect_format(first).format == name


@pytest.mark.parametrize("rule", [Rule.ONE_OF, Rule.UNREADABLE])
def test_the_rules_of_foreign_rows_are_explained(rule):
    assert f"| `{rule}` |" in PAGE
    assert f"| `{rule}` |" in (ROOT / "docs" / "reasons.md").read_text()


def test_what_becomes_of_unknown_ids_is_explained():
    assert "is `refused`, with reason\n`course_not_found` or `learner_not_found`" in PAGE
    reasons = (ROOT / "docs" / "reasons.md").read_text()
    assert f"| `{Rule.NOT_IN_CROSSWALK}` |" in reasons


SKIPS = [Reason.ROLE_NOT_LEARNER, Reason.STATUS_NOT_APPLICABLE, Reason.NOT_CURRENT]


@pytest.mark.parametrize("reason", SKIPS)
def test_what_is_skipped_is_explained(reason):
    assert f"| `{reason}` |" in PAGE


def test_every_format_says_whether_its_ids_are_ours():
    ours = {name for name in FORMATS_BY_NAME if not FORMATS_BY_NAME[name].has_external_ids}

    assert ours == {"openedx_dashboard"}
    assert all("Ids are ours" in SECTIONS[name] for name in ours)
