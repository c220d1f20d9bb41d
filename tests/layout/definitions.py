"""Top-level definitions of a source tree in a canonical form that does not depend on the layout.

Names that lead to a module, or to a definition in one, are replaced by the full path in the new
layout, so that a definition which only moved has the same dump in both trees.
"""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PACKAGES = ("api_gateway", "enrollment", "intake_store", "schemas", "worker")
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
SETTING = re.compile(r"\bENROLL_[A-Z][A-Z_]*[A-Z]\b")

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
NAMED = (
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
    *(ast.ExceptHandler, ast.MatchAs, ast.MatchStar),
)
Comprehension = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass(frozen=True, kw_only=True)
class Moves:
    """What a tree's names are called in the new layout; empty for a tree that has it already."""

    modules: Mapping[str, str] = field(default_factory=dict)
    #: ``module:name`` to ``module:name``: definitions that left their module, or changed their name.
    definitions: Mapping[str, str] = field(default_factory=dict)
    #: Texts that are no module paths.
    strings: Mapping[str, str] = field(default_factory=dict)

    def module(self, module: str) -> str:
        return self.modules.get(module, module)

    def definition(self, module: str, name: str) -> str:
        return self.definitions.get(f"{module}:{name}") or f"{self.module(module)}:{name}"

    def text(self, text: str) -> str:
        text = self.strings.get(text, text)
        return re.sub(r"[a-z_]+(?:\.\w+)+", lambda found: self._path(found[0]), text)

    def _path(self, path: str) -> str:
        head, tail = path, ""
        while head:
            if head in self.modules:
                return self.modules[head] + tail
            head, _, last = head.rpartition(".")
            tail = f".{last}{tail}"
        return path


@dataclass(frozen=True, kw_only=True)
class Module:
    """One file: its tree, and where its top-level names come from."""

    name: str
    tree: ast.Module
    #: Local name to (module, name in it); an empty name stands for the module itself.
    imports: Mapping[str, tuple[str, str]]
    own: frozenset[str]


class Tree:
    """The packages of one revision."""

    def __init__(self, root: Path, moves: Moves | None = None) -> None:
        self.moves = moves or Moves()
        files = {
            _module_name(root, path): path
            for package in PACKAGES
            for path in sorted((root / package).rglob("*.py"))
        }
        self._names = frozenset(files)
        self.modules = {name: self._parsed(name, path) for name, path in files.items()}

    def _parsed(self, name: str, path: Path) -> Module:
        tree = ast.parse(path.read_text())
        own = frozenset(named for node in tree.body for named in names_of(node))
        imports = self.imports_of([*tree.body, *_statements(tree)])
        return Module(name=name, tree=tree, imports=imports, own=own)

    def imports_of(self, body: list[ast.stmt]) -> dict[str, tuple[str, str]]:
        """What the import statements of a block bind, as far as it is ours."""
        found = {}
        for node in body:
            if isinstance(node, ast.ImportFrom) and node.module in self._names | set(PACKAGES):
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    there = (full, "") if full in self._names else (node.module, alias.name)
                    found[alias.asname or alias.name] = there
        return found

    def canonical(self, module: str, name: str) -> str:
        """Where a name of a module is defined, in the new layout, past modules that pass it on."""
        seen: set[tuple[str, str]] = set()
        while name and (module, name) not in seen and module in self.modules:
            seen.add((module, name))
            there = self.modules[module].imports.get(name)
            if there is None or name in self.modules[module].own:
                break
            module, name = there
        return self.moves.definition(module, name) if name else f"{self.moves.module(module)}:"

    def definitions(self) -> dict[str, str]:
        """Dump by ``module:name``; what is no definition is found under ``module:``, numbered."""
        found: dict[str, str] = {}
        for module in self.modules.values():
            others = 0
            for node in module.tree.body:
                if is_left_out(node):
                    continue
                named = names_of(node)
                key = self.moves.definition(module.name, named[0]) if named else ""
                if not named:
                    others += 1
                    key = f"{self.moves.module(module.name)}:#{others}"
                if hasattr(node, "name"):
                    node.name = key
                found[key] = ast.dump(_Canonical(self, module).visit(node))
        return found

    def log_events(self) -> Counter[str]:
        """How often each level and event name is logged."""
        return Counter(event for module in self.modules.values() for event in _events(module.tree))

    def settings(self) -> frozenset[str]:
        """The environment variables that string literals name."""
        nodes = (node for module in self.modules.values() for node in ast.walk(module.tree))
        texts = (node.value for node in nodes if isinstance(node, ast.Constant))
        return frozenset(
            name for text in texts if isinstance(text, str) for name in SETTING.findall(text)
        )


class _Canonical(ast.NodeTransformer):
    """Replaces names of ours by their full paths; drops docstrings and imports."""

    def __init__(self, tree: Tree, module: Module) -> None:
        self._tree = tree
        self._module = module
        #: Names that the functions around bind: a path of ours, or "" for anything else.
        self._local: list[dict[str, str]] = []

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._path(node.id), node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        value = self.visit(node.value)
        if isinstance(value, ast.Name) and value.id.endswith(":"):
            module = self._original(node.value)
            return ast.Name(self._tree.canonical(module, node.attr), node.ctx)
        return ast.Attribute(value, node.attr, node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        if isinstance(node.value, str):
            return ast.Constant(self._tree.moves.text(node.value))
        return node

    def generic_visit(self, node: Any) -> Any:
        imports = self._tree.imports_of(list(_statements(node)))
        if isinstance(getattr(node, "body", None), list):
            node.body = [one for one in node.body if not is_left_out(one)]
        if not isinstance(node, Function | Comprehension):
            return super().generic_visit(node)
        local = dict.fromkeys(_bound_by(node), "")
        for name, (module, there) in imports.items():
            local[name] = f"{module} {there}"
        self._local.append(local)
        made = super().generic_visit(node)
        self._local.pop()
        return made

    def _source(self, name: str) -> tuple[str, str] | None:
        for local in reversed(self._local):
            if name in local:
                module, _, there = local[name].partition(" ")
                return (module, there) if module else None
        if name in self._module.own:
            return self._module.name, name
        return self._module.imports.get(name)

    def _path(self, name: str) -> str:
        source = self._source(name)
        return name if source is None else self._tree.canonical(*source)

    def _original(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name) and (source := self._source(node.id)):
            return source[0]
        return ""


def names_of(node: ast.stmt) -> list[str]:
    """The names that a top-level statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return [one.id for to in targets for one in ast.walk(to) if isinstance(one, ast.Name)]


def is_left_out(node: ast.stmt) -> bool:
    """Docstrings and other bare texts, imports, and lists of what a module passes on."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Import | ast.ImportFrom) or names_of(node) == ["__all__"]


def _module_name(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _statements(node: ast.AST) -> Iterator[ast.stmt]:
    """The statements of a module or function, without those of functions and classes inside it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            yield child
        if not isinstance(child, Function | ast.ClassDef):
            yield from _statements(child)


def _bound_by(node: ast.AST) -> Iterator[str]:
    """The names that a function or comprehension binds itself."""
    if isinstance(node, Function):
        args = node.args
        extra = [one for one in (args.vararg, args.kwarg) if one is not None]
        yield from (one.arg for one in (*args.posonlyargs, *args.args, *args.kwonlyargs, *extra))
    inside = list(ast.iter_child_nodes(node))
    while inside:
        child = inside.pop()
        if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
            yield child.id
        elif isinstance(child, NAMED) and child.name:
            yield child.name
        if not isinstance(child, Function | Comprehension | ast.ClassDef):
            inside += ast.iter_child_nodes(child)


def _events(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and node.args
        ):
            for text in ast.walk(node.args[0]):
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    yield f"{node.func.attr} {text.value}"
