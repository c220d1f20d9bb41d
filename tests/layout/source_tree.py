"""Parses the modules of the packages once: syntax tree, comments, imports of our own modules."""

import ast
import io
import tokenize
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("api_gateway", "enrollment", "intake_store", "schemas", "worker")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | Function


class Text(NamedTuple):
    """A docstring, or the comment lines that stand below each other."""

    line: int
    text: str


@dataclass(frozen=True)
class Module:
    """One source file; `path` is relative to the root and has slashes."""

    path: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def name(self) -> str:
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def is_package(self) -> bool:
        return self.path.endswith("__init__.py")

    @property
    def folder(self) -> str:
        return self.path.rpartition("/")[0]

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def docstrings(self) -> Iterator[Text]:
        for node in ast.walk(self.tree):
            if isinstance(node, Documented) and (text := ast.get_docstring(node)):
                yield Text(node.body[0].lineno, text)

    def comments(self) -> Iterator[Text]:
        """Comment blocks, without directives for tools."""
        block: list[tokenize.TokenInfo] = []
        for token in tokenize.generate_tokens(io.StringIO(self.source).readline):
            if token.type != tokenize.COMMENT:
                continue
            if block and token.start != (block[-1].start[0] + 1, block[-1].start[1]):
                yield _joined(block)
                block = []
            block.append(token)
        if block:
            yield _joined(block)

    def imported(self) -> Iterator[tuple[str, int]]:
        """Dotted paths that import statements name, at any depth of the file, with their lines.

        `from a import b` gives `a.b`, which may be a module or a name in `a`.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                yield from ((f"{origin}.{alias.name}", node.lineno) for alias in node.names)

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return str(node.module)
        parts = self.name.split(".") + ["_"] * self.is_package
        return ".".join([*parts[: -node.level], *([node.module] if node.module else [])])


def read_modules(root: Path, packages: Iterable[str] = PACKAGES) -> list[Module]:
    return [
        Module(path.relative_to(root).as_posix(), path.read_text())
        for package in packages
        for path in sorted((root / package).rglob("*.py"))
    ]


def _joined(block: list[tokenize.TokenInfo]) -> Text:
    lines = (token.string.lstrip("#:").strip() for token in block)
    kept = (line.partition("noqa:")[0] for line in lines if not line.startswith("type: ignore"))
    return Text(block[0].start[0], "\n".join(kept))
