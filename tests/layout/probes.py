"""What the program of a source tree shows from outside: help texts of its commands, its tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

_COMMANDS = """
import json, sys
import click
from api_gateway import cli

assert cli.__file__.startswith(sys.argv[1]), cli.__file__

def walk(command, path):
    yield path
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from walk(inner, [*path, name])

print(json.dumps(list(walk(cli.main, []))))
"""

_TABLES = """
import json, sys
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable
from enrollment.storage import tables

assert tables.__file__.startswith(sys.argv[1]), tables.__file__
found = {}
for dialect in (postgresql.dialect(), sqlite.dialect()):
    for table in tables.Base.metadata.sorted_tables:
        found[f"{dialect.name} {table.name}"] = str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            made = str(CreateIndex(index).compile(dialect=dialect))
            found[f"{dialect.name} {index.name}"] = made
print(json.dumps(found))
"""


def helps(root: Path) -> dict[str, str]:
    """The help text of every command, by its words."""
    commands = json.loads(_run(root, "-c", _COMMANDS, str(root)))
    return {
        " ".join(["enroll", *path]): _run(root, "-m", "api_gateway.cli", *path, "--help")
        for path in commands
    }


def tables(root: Path) -> dict[str, str]:
    """The statements that make each table and index, by database and name."""
    found: dict[str, str] = json.loads(_run(root, "-c", _TABLES, str(root)))
    return found


def _run(root: Path, *words: str) -> str:
    """What Python prints in a tree; the environment names nothing but where it is."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(root), "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-B", *words], cwd=root, env=environment, check=False, capture_output=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)[:200]} failed: {done.stderr.decode()}")
    return done.stdout.decode()
