"""Rules for the layout, sizes and names of the packages; each yields its violations."""

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from tests.layout import exceptions, vocabulary
from tests.layout.source_tree import Function, Module

MAX_MODULES = 15
#: The folder of migrations: a release adds to it, and nothing is ever taken away or moved.
GROWING_FOLDER = "enrollment/storage/migrations/versions"
MAX_FILE_LINES = 300
MAX_BODY_LINES = 30


class Violation(NamedTuple):
    """`key` is what an entry of `exceptions` names, if the rule has exceptions."""

    path: str
    line: int
    message: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def large_folders(modules: Iterable[Module]) -> Iterator[Violation]:
    """Folders with more modules than `MAX_MODULES`; `__init__` does not count."""
    counts: dict[str, int] = defaultdict(int)
    for module in modules:
        counts[module.folder] += not module.is_package
    for folder, count in counts.items():
        if count > MAX_MODULES and folder != GROWING_FOLDER:
            yield Violation(folder, 0, f"{count} modules; at most {MAX_MODULES} in one package")


def import_cycles(modules: Iterable[Module]) -> Iterator[Violation]:
    """Cycles between the children (modules and sub-packages) of each package.

    An import inside a function counts as well. The root stands for the package of all packages.
    """
    modules = list(modules)
    known = {module.name for module in modules}
    graphs: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module in modules:
        for path, _ in module.imported():
            target = path if path in known else path.rpartition(".")[0]
            if target in known:
                _add_edge(graphs, module.name, target)
    for container, graph in graphs.items():
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle = " <- ".join(error.args[1])
            yield Violation(container or ".", 0, f"import cycle: {cycle}")


def _add_edge(graphs: dict[str, dict[str, set[str]]], source: str, target: str) -> None:
    """Adds the edge to the graph of the innermost package that holds both modules."""
    one, other = source.split("."), target.split(".")
    shared = 0
    while shared < min(len(one), len(other)) and one[shared] == other[shared]:
        shared += 1
    if shared < len(one) and shared < len(other):
        graph = graphs[".".join(one[:shared])]
        graph[".".join(one[: shared + 1])].add(".".join(other[: shared + 1]))


def long_files(modules: Iterable[Module]) -> Iterator[Violation]:
    for module in modules:
        count = len(module.source.splitlines())
        if count > MAX_FILE_LINES:
            yield Violation(
                module.path, 1, f"{count} lines; at most {MAX_FILE_LINES}", key=module.path
            )


def long_functions(modules: Iterable[Module]) -> Iterator[Violation]:
    for module in modules:
        for function in module.functions():
            count = _body_lines(function)
            if count > MAX_BODY_LINES:
                yield Violation(
                    module.path,
                    function.lineno,
                    f"`{function.name}` has {count} lines; at most {MAX_BODY_LINES}",
                    key=f"{module.path}:{function.name}",
                )


def _body_lines(function: Function) -> int:
    """Lines of a function's body without its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def banned_identifiers(modules: Iterable[Module]) -> Iterator[Violation]:
    """Names that the code binds and that contain a banned word, once per file."""
    for module in modules:
        first: dict[str, int] = {}
        for name, line in [*_bound_names(module.tree), *_file_names(module)]:
            first.setdefault(name, line)
        for name, line in first.items():
            for word, plain in vocabulary.banned_in_identifier(name):
                yield Violation(module.path, line, f"name `{name}`: not {word!r} but: {plain}")


def _file_names(module: Module) -> list[tuple[str, int]]:
    return [(module.name.rpartition(".")[2], 0)]


def _bound_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a statement, parameter or pattern binds, with its line."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.Name(id=name, ctx=ast.Store())
                | ast.Attribute(attr=name, ctx=ast.Store())
                | ast.arg(arg=name)
                | ast.alias(asname=str(name))
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
            ):
                yield name, node.lineno


def banned_texts(modules: Iterable[Module]) -> Iterator[Violation]:
    """Docstrings and comments that contain a banned word."""
    for module in modules:
        for text in [*module.docstrings(), *module.comments()]:
            for words, plain in vocabulary.banned_in_text(text.text):
                yield Violation(module.path, text.line, f"text: not {words!r} but: {plain}")


def shared_names(modules: Iterable[Module]) -> Iterator[Violation]:
    """Public names that two modules define at their top level."""
    places: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for module in modules:
        if "/migrations/versions/" not in module.path:
            for name, line in set(_public_names(module)):
                places[name].append((module.path, line))
    for name, found in sorted(places.items()):
        for path, line in found if len(found) > 1 else ():
            others = ", ".join(other for other, _ in found if other != path)
            yield Violation(path, line, f"`{name}` is also defined in {others}", key=name)


def _public_names(module: Module) -> Iterator[tuple[str, int]]:
    qualified = module.path.startswith(tuple(f"{one}/" for one in exceptions.QUALIFIED_FUNCTIONS))
    for node in module.tree.body:
        for name in _defined(node):
            is_function = isinstance(node, Function)
            if not name.startswith("_") and not (is_function and qualified):
                yield name, node.lineno


def _defined(node: ast.stmt) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [one.id for target in targets for one in ast.walk(target) if _is_name(one)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
        case _:
            return []


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name)


def re_exports(modules: Iterable[Module]) -> Iterator[Violation]:
    """`__all__`, `import x as x` and `__init__` modules with more than a docstring."""
    for module in modules:
        for node in module.tree.body:
            if "__all__" in _defined(node) or _repeats_its_name(node):
                yield Violation(
                    module.path,
                    node.lineno,
                    "re-export: import the name from where it is defined",
                    key=module.path,
                )
        yield from _code_of_init(module)


def _repeats_its_name(node: ast.stmt) -> bool:
    is_import = isinstance(node, ast.Import | ast.ImportFrom)
    return is_import and any(alias.name == alias.asname for alias in node.names)


def _code_of_init(module: Module) -> Iterator[Violation]:
    body = module.tree.body[ast.get_docstring(module.tree) is not None :]
    if module.is_package and body:
        yield Violation(
            module.path,
            body[0].lineno,
            "an `__init__` holds a docstring only: move this to a module",
            key=module.path,
        )


#: Each rule with its exceptions.
RULES = {
    large_folders: {},
    import_cycles: {},
    long_files: exceptions.LONG_FILES,
    long_functions: exceptions.LONG_FUNCTIONS,
    banned_identifiers: {},
    banned_texts: {},
    shared_names: exceptions.SHARED_NAMES,
    re_exports: exceptions.INIT_WITH_CODE,
}
