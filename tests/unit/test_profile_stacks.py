"""The profile names functions in strings: each of them exists where the string says."""

import ast
import importlib.util
from itertools import chain
from pathlib import Path

import pytest

from bench import profile_stacks

ROOT = Path(__file__).parents[2]
PACKAGES = ("api_gateway", "enrollment", "intake_store", "schemas", "worker")
OWN = [
    *profile_stacks.WAITS,
    *profile_stacks.TASK,
    *chain.from_iterable(profile_stacks.WORKER_STAGES.values()),
    *chain.from_iterable(profile_stacks.GATEWAY_STAGES.values()),
]


def frames(path, shown):
    """The functions of a file as py-spy names them, with the path that it shows."""

    def walk(node, prefix):
        for child in ast.iter_child_nodes(node):
            inner = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{prefix}{child.name} ({shown}:{child.lineno})"
                inner = f"{prefix}{child.name}.<locals>."
            elif isinstance(child, ast.ClassDef):
                inner = f"{prefix}{child.name}."
            yield from walk(child, inner)

    return list(walk(ast.parse(path.read_text()), ""))


@pytest.fixture(scope="module")
def own_frames():
    paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return [frame for path in paths for frame in frames(path, path.relative_to(ROOT))]


@pytest.mark.parametrize("name", OWN)
def test_a_function_of_ours_exists_once(own_frames, name):
    assert len([frame for frame in own_frames if frame.startswith(name)]) == 1


@pytest.mark.parametrize("name", profile_stacks.LOOPS)
def test_a_loop_of_a_library_exists_once(name):
    shown = name.partition(" (")[2]
    module = shown.removesuffix(".py").replace("/", ".")
    path = Path(importlib.util.find_spec(module).origin)

    assert len([frame for frame in frames(path, shown) if frame.startswith(name)]) == 1
