"""Examples in the documentation: the commands of fenced blocks and the output shown below each."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

#: Stands in an example for output that is left out.
LEFT_OUT = "…"

_BLOCK = re.compile(r"^```\n(.*?)^```", re.MULTILINE | re.DOTALL)
_PROMPT = "$ "
#: What differs from run to run, and what stands for it in a comparison.
_VARIABLE = (
    (re.compile(r"\benr_[\w-]+"), f"enr_{LEFT_OUT}"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z"), "TIME"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\d+(?:\.\d+)*"), "N"),
)


def blocks(page: str) -> list[str]:
    """The text of every fenced block of a page in `docs`."""
    return _BLOCK.findall((DOCS / page).read_text())


def examples(page: str) -> dict[str, list[str]]:
    """The commands that a page shows with `$`, and the outputs shown below each, in order."""
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
    """The output of the first example whose command begins so."""
    found = next(given for given in examples(page) if given.startswith(command))
    return examples(page)[found][0]


def normalised(text: str) -> str:
    """The text without what differs from run to run: ids, keys, times, addresses, numbers."""
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return text


def is_shown(shown: str, printed: str) -> bool:
    """Whether an example shows the output, but for what differs and what is left out."""
    parts = normalised(shown).split(LEFT_OUT)
    pattern = ".*".join(re.escape(part) for part in parts)
    return re.fullmatch(pattern, normalised(printed), re.DOTALL) is not None
