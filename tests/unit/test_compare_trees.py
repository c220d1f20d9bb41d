"""The comparison of two layouts: what only moved is equal, what was changed is named."""

import json

import pytest

from tests.layout.compare_trees import compare_sources, differences, read_moves
from tests.layout.definitions import Moves

OLD = {
    "enrollment/__init__.py": "",
    "enrollment/ringing.py": '''
"""The old words."""
import structlog
from enrollment import bells
from enrollment.bells import LOUD
log = structlog.get_logger()
WORKER = "enrollment.bells:Bell"
def ring(bells_of=None):
    """Old words."""
    from enrollment import bells as others
    log.info("bell.rung", volume=LOUD)
    return [bells.strike(LOUD, others.LOUD) for bells in [bells_of]] or bells.strike(_twice(LOUD))
def _twice(volume):
    return 2 * volume
''',
    "enrollment/bells.py": """
import os
LOUD = 3
def strike(volume):
    return os.environ["ENROLL_BELL"] * volume
""",
}
NEW = {
    "enrollment/__init__.py": "",
    "enrollment/intake/__init__.py": '"""A package."""\n',
    "enrollment/intake/dispatcher.py": '''
"""The new words."""
import structlog
from enrollment.intake import channel
from enrollment.intake.channel import LOUD
from enrollment.intake.volumes import twice
log = structlog.get_logger()
WORKER = "enrollment.intake.channel:Bell"
def ring(bells_of=None):
    """New words."""
    from enrollment.intake import channel as others
    log.info("bell.rung", volume=LOUD)
    return [bells.strike(LOUD, others.LOUD) for bells in [bells_of]] or channel.strike(twice(LOUD))
''',
    "enrollment/intake/volumes.py": """
def twice(volume):
    return 2 * volume
""",
    "enrollment/intake/channel.py": """
import os
LOUD = 3
def strike(volume):
    return os.environ["ENROLL_BELL"] * volume
""",
}
MOVES = Moves(
    modules={
        "enrollment.ringing": "enrollment.intake.dispatcher",
        "enrollment.bells": "enrollment.intake.channel",
    },
    definitions={"enrollment.ringing:_twice": "enrollment.intake.volumes:twice"},
)


def compared(tmp_path, old=OLD, new=NEW, moves=MOVES):
    for side, files in (("old", old), ("new", new)):
        for name, text in files.items():
            path = tmp_path / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return compare_sources(tmp_path / "old", tmp_path / "new", moves)


def test_what_only_moved_is_equal(tmp_path):
    assert compared(tmp_path) == []


@pytest.mark.parametrize(
    ("file", "before", "after", "found"),
    [
        pytest.param(
            *("channel", "LOUD = 3", "LOUD = 4"),
            ["definition enrollment.intake.channel:LOUD: changed"],
            id="constant",
        ),
        pytest.param(
            *("volumes", "2 * volume", "3 * volume"),
            ["definition enrollment.intake.volumes:twice: changed"],
            id="constant_in_a_function",
        ),
        pytest.param(
            *("dispatcher", "or channel.strike", "or bells_of.strike"),
            ["definition enrollment.intake.dispatcher:ring: changed"],
            id="another_module_is_called",
        ),
        pytest.param(
            *("channel", "ENROLL_BELL", "ENROLL_BELLS"),
            [
                "definition enrollment.intake.channel:strike: changed",
                "setting ENROLL_BELL: missing",
                "setting ENROLL_BELLS: added",
            ],
            id="setting",
        ),
        pytest.param(
            *("dispatcher", "bell.rung", "bell.heard"),
            [
                "definition enrollment.intake.dispatcher:ring: changed",
                "log event info bell.heard: added",
                "log event info bell.rung: missing",
            ],
            id="log_event",
        ),
        pytest.param(
            *("volumes", "def twice", "def thrice"),
            [
                "definition enrollment.intake.volumes:thrice: added",
                "definition enrollment.intake.volumes:twice: missing",
            ],
            id="name",
        ),
    ],
)
def test_what_was_changed_is_named(tmp_path, file, before, after, found):
    path = f"enrollment/intake/{file}.py"
    assert before in NEW[path]

    assert compared(tmp_path, new={**NEW, path: NEW[path].replace(before, after)}) == found


def test_a_move_that_the_map_does_not_know_is_named(tmp_path):
    found = compared(tmp_path, moves=Moves(modules=MOVES.modules))

    assert "definition enrollment.intake.dispatcher:_twice: missing" in found
    assert "definition enrollment.intake.volumes:twice: added" in found


def test_texts_that_differ_are_named_by_their_keys():
    found = differences("help of", {"up": "one", "down": "two"}, {"up": "another"})

    assert list(found) == ["help of down: missing", "help of up: changed"]


def test_the_map_is_read_from_json(tmp_path):
    path = tmp_path / "moves.json"
    path.write_text(json.dumps({"modules": {"a.b": "a.c.b"}}))

    assert read_moves(path).module("a.b") == "a.c.b"
