"""The page on formats names each of them, with a file that is known as such."""

import re
from pathlib import Path

import pytest

from schemas.files.formats.base import NOT_A_REQUEST, ROLE_NOT_LEARNER, UNKNOWN_VALUE
from schemas.files.formats.detect import AUTO, FORMAT_NAMES, FORMATS_BY_NAME, detect_format
from schemas.files.id_mapping import NOT_IN_CROSSWALK

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "formats.md").read_text()
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^#)", PAGE, re.MULTILINE | re.DOTALL))


def test_every_format_has_its_section():
    assert set(SECTIONS) == set(FORMAT_NAMES) - {AUTO}


@pytest.mark.parametrize("name", sorted(SECTIONS))
def test_the_file_that_a_section_shows_is_of_its_format(name):
    first = re.search(r"^```\n(.*?)\n", SECTIONS[name], re.MULTILINE)[1]

    assert detect_format(first).format == name


@pytest.mark.parametrize("rule", [ROLE_NOT_LEARNER, NOT_A_REQUEST, UNKNOWN_VALUE, NOT_IN_CROSSWALK])
def test_the_rules_of_foreign_rows_are_explained(rule):
    assert f"| `{rule}` |" in PAGE
    assert f"| `{rule}` |" in (ROOT / "docs" / "reasons.md").read_text()


def test_every_format_says_whether_its_ids_are_ours():
    ours = {name for name in FORMATS_BY_NAME if not FORMATS_BY_NAME[name].has_external_ids}

    assert ours == {"openedx_dashboard"}
    assert all("Ids are ours" in SECTIONS[name] for name in ours)
