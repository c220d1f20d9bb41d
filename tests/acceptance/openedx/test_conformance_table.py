"""The table in docs/openedx-conformance.md has every number once, and what it says is tested."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "docs" / "openedx-conformance.md"
ROW = re.compile(r"^\| (\d+) \| .+ \| (same|better|not applicable|later)\b(.*) \|$", re.MULTILINE)
NUMBERS = range(1, 212)
#: In the id of a test: the first word of its name, or of one of its parameters.
NUMBER = re.compile(r"(?:::test_|[\[-])(\d{3})(?=[_\]-])")


def rows() -> list[tuple[int, str, str]]:
    return [(int(number), said, why) for number, said, why in ROW.findall(TABLE.read_text())]


@pytest.fixture(scope="module")
def tested() -> set[int]:
    """The numbers in the ids of this folder's tests: in a name, or of a case."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    folder = str(Path(__file__).parent)
    listed = subprocess.run(
        [*command, folder], capture_output=True, text=True, cwd=ROOT, check=True
    )
    ids = re.findall(r"::\S+", listed.stdout)
    return {int(number) for one in ids for number in NUMBER.findall(one)}


def test_every_number_is_there_once_in_order():
    assert [number for number, *_ in rows()] == list(NUMBERS)


def test_what_is_same_or_better_has_a_test_and_nothing_else_has(tested):
    served = {number for number, said, _ in rows() if said in {"same", "better"}}
    assert tested == served


def test_what_is_better_or_not_applicable_says_why():
    for number, said, why in rows():
        assert why.startswith(": ") or said == "same", number
