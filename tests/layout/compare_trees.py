"""``python -m tests.layout.compare_trees OLD NEW``: was anything but the layout changed?

Compares two git revisions by the rename map ``moves.json``: every definition (without docstrings),
the help of every command, the tables, the settings and the names of log events. Prints what
differs; the exit code is 1 where something does.
"""

import argparse
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

from tests.layout import probes
from tests.layout.definitions import Moves, Tree

MAP = Path(__file__).with_name("moves.json")


def read_moves(path: Path = MAP) -> Moves:
    """The rename map."""
    return Moves(**json.loads(path.read_text()))


def differences(kind: str, old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    """A line for each key that only one side has, or that stands for something else."""
    for key in sorted({*old, *new}):
        if key not in new:
            yield f"{kind} {key}: missing"
        elif key not in old:
            yield f"{kind} {key}: added"
        elif old[key] != new[key]:
            yield f"{kind} {key}: changed"


def compare_sources(old: Path, new: Path, moves: Moves) -> list[str]:
    """What differs between the sources of two folders."""
    before, after = Tree(old, moves), Tree(new)
    settings = (dict.fromkeys(tree.settings(), True) for tree in (before, after))
    return [
        *differences("definition", before.definitions(), after.definitions()),
        *differences("setting", *settings),
        *differences("log event", before.log_events(), after.log_events()),
    ]


def compare_programs(old: Path, new: Path) -> list[str]:
    """What differs between the programs of two folders, seen from outside."""
    return [
        *differences("help of", probes.helps(old), probes.helps(new)),
        *differences("table or index", probes.tables(old), probes.tables(new)),
    ]


def check_out(revision: str, folder: Path) -> Path:
    """The files of a revision in a folder."""
    packed = subprocess.run(
        ["git", "archive", "--format=tar", revision], check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def main() -> int:
    """Compare two revisions; 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--map", type=Path, default=MAP)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        old, new = check_out(asked.old, Path(one)), check_out(asked.new, Path(other))
        found = compare_sources(old, new, read_moves(asked.map)) + compare_programs(old, new)
        count = len(Tree(new).definitions())
    print(*found, sep="\n", end="\n" if found else "")
    print(f"{count} definitions compared, {len(found)} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
