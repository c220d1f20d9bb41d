"""Reads examples in the documentation: commands in fenced blocks, and their output."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

#: Stands in an example for omitted output.
LEFT_OUT = "…"

_BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROMPT = "$ "
#: Values that differ from run to run, and their placeholders for comparison.
_VARIABLE = (
    (re.compile(r"\benr_[\w-]+"), f"enr_{LEFT_OUT}"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z"), "TIME"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\d+(?:\.\d+)*"), "N"),
)


def blocks(page: str) -> list[str]:
    """Returns the text of every fenced block of a page in `docs`."""
    return _BLOCK.findall((DOCS / page).read_text())


def examples(page: str) -> dict[str, list[str]]:
    """Returns the commands that a page shows with `$`, each with its output, in order."""
    shown: dict[str, list[str]] = {}
    for block in blocks(page):
        outputs: list[str] | None = None
        for line in block.replace("\\\n", "").splitlines():
            if line.startswith(_PROMPT):
                outputs = shown.setdefault(line.removeprefix(_PROMPT), [])
                outputs.append("")
            elif outputs is not None:
                outputs[-1] += f"{line}\n"
    return shown


def output_of(page: str, command: str) -> str:
    """Returns the output of the first example whose command has this prefix."""
    found = next(given for given in examples(page) if given.startswith(command))
    return examples(page)[found][0]


def normalised(text: str) -> str:
    """Replaces ids, keys, times, addresses and numbers by placeholders."""
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return text


def is_shown(shown: str, printed: str) -> bool:
    """Returns whether an example shows the output, except for omitted and variable parts."""
    parts = normalised(shown).split(LEFT_OUT)
    pattern = ".*".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, normalised(printed), re.DOTALL) is not None


def commands_of(page: str) -> list[str]:
    """Returns the commands of the blocks marked `bash`, continued lines joined."""
    text = (DOCS / page).read_text()
    runnable = re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [line for block in runnable for line in block.replace("\\\n", "").splitlines()]
