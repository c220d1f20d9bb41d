"""Prints every violation of the rules, by file: ``python -m tests.layout``."""

import sys
from itertools import groupby
from pathlib import Path

from tests.layout.house_rules import RULES
from tests.layout.source_tree import read_modules


def main() -> int:
    """Returns 1 if there are violations."""
    modules = read_modules(Path())
    found = sorted(
        one for rule, except_ in RULES.items() for one in rule(modules) if one.key not in except_
    )
    for path, violations in groupby(found, key=lambda one: one.path):
        print(path)
        for one in violations:
            print(f"  {one.line}: {one.message}")
    print(f"{len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
