"""The packages keep the rules for layout, sizes and names; and each rule finds what breaks it."""

from pathlib import Path

import pytest

from tests.layout import house_rules, vocabulary
from tests.layout.house_rules import RULES
from tests.layout.source_tree import read_modules

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def modules():
    return read_modules(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_packages_keep_the_rule(rule, modules):
    violations = [str(one) for one in rule(modules) if one.key not in RULES[rule]]

    if violations:
        pytest.fail("\n".join([rule.__name__, *violations]), pytrace=False)


@pytest.mark.parametrize("rule", [rule for rule in RULES if RULES[rule]], ids=lambda r: r.__name__)
def test_exceptions_are_needed(rule, modules):
    unneeded = RULES[rule].keys() - {one.key for one in rule(modules)}

    assert unneeded == set()


@pytest.mark.parametrize("identifier", vocabulary.IDENTIFIERS_THAT_STAY)
def test_identifiers_that_stay_are_in_use(identifier, modules):
    assert any(identifier in f"{module.path} {module.source}" for module in modules)


# --- each rule finds what breaks it ---------------------------------------------------------------


@pytest.fixture
def found(tmp_path):
    """Writes the files of a small source tree; returns the messages of a rule about it."""

    def write_and_check(rule, files):
        for path, source in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(source)
        return [str(one) for one in rule(read_modules(tmp_path))]

    return write_and_check


def test_a_large_package_is_found(found):
    at_the_limit = {f"worker/m{number}.py": "" for number in range(house_rules.MAX_MODULES)}

    assert found(house_rules.large_folders, {**at_the_limit, "worker/__init__.py": ""}) == []
    assert found(house_rules.large_folders, {"worker/m15.py": ""}) == [
        "worker:0: 16 modules; at most 15 in one package"
    ]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(
            {
                "schemas/a/x.py": "from schemas.b import y",
                "schemas/b/y.py": "def f():\n    import schemas.a.z\n",
                "schemas/a/z.py": "",
            },
            id="between sub-packages, one import inside a function",
        ),
        pytest.param(
            {"schemas/a.py": "from .b import f", "schemas/b.py": "from schemas.a import g"},
            id="between modules",
        ),
        pytest.param(
            {"schemas/a.py": "import worker.b", "worker/b.py": "import schemas.a"},
            id="between packages",
        ),
    ],
)
def test_an_import_cycle_is_found(found, files):
    (message,) = found(house_rules.import_cycles, files)

    assert "import cycle" in message


def test_imports_in_one_direction_are_no_cycle(found):
    files = {
        "schemas/a/x.py": "from schemas.b import y\nfrom schemas.a import z",
        "schemas/a/z.py": "import schemas.c",
        "schemas/b/y.py": "from schemas import c",
        "schemas/c.py": "",
    }

    assert found(house_rules.import_cycles, files) == []


def test_a_long_file_is_found(found):
    line = "x = 1\n"

    assert found(house_rules.long_files, {"worker/a.py": line * 300}) == []
    assert found(house_rules.long_files, {"worker/a.py": line * 301}) == [
        "worker/a.py:1: 301 lines; at most 300"
    ]


def test_a_long_function_is_found_and_its_docstring_does_not_count(found):
    body = "".join(f"    x{number} = 1\n" for number in range(30))
    documented = f'def f():\n    """One\n\n    two.\n    """\n{body}'

    assert found(house_rules.long_functions, {"worker/a.py": documented}) == []
    assert found(house_rules.long_functions, {"worker/a.py": f"async def f():\n{body}    y = 1\n"})


@pytest.mark.parametrize(
    "source",
    [
        "def ring_all(): ...",
        "class RingBuffer: ...",
        "class XMLWish: ...",
        "MAX_WISHES = 1",
        "def f(*, wish): ...",
        "def f(x):\n    x.wish = 1",
        "import a as wish",
        "for wish in []: ...",
        "try: ...\nexcept ValueError as wish: ...",
        "match 1:\n    case wish: ...",
        "match 1:\n    case [*wish]: ...",
        "x = [wish for wish in []]",
        "if wish := 1: ...",
        "with open() as wish: ...",
        "lambda wish: 1",
    ],
)
def test_a_banned_identifier_is_found_with_its_alternative(found, source):
    (message,) = found(house_rules.banned_identifiers, {"worker/a.py": source})

    word = "ring" if "ring" in source.lower() else "wish"
    assert word in message.lower()
    assert vocabulary.IN_IDENTIFIERS[word] in message


def test_a_banned_file_name_is_found(found):
    assert found(house_rules.banned_identifiers, {"worker/ringing.py": ""})


@pytest.mark.parametrize(
    "source",
    [
        "string = wrong = bring = 1",
        "print(library.ring, library(told=1))",
        "suspicion = batches.c.suspicion",
        "log.info('ring.lost')",
    ],
)
def test_other_names_are_no_violation(found, source):
    assert found(house_rules.banned_identifiers, {"worker/a.py": source}) == []


@pytest.mark.parametrize(
    "source",
    [
        '"""Stores what a caller wishes."""',
        'def f():\n    """Returns the upstream code."""',
        "x = 1  # nobody reads this",
        "# The caller was\n# told already.",
        "#: Rings\n#: for a batch.",
        '"""Reads rows. Who waits gets them."""',
        '"""What a batch holds."""',
        "# Judging is pure.",
    ],
)
def test_banned_words_of_docstrings_and_comments_are_found(found, source):
    (message,) = found(house_rules.banned_texts, {"worker/a.py": source})

    assert "but: " in message


@pytest.mark.parametrize(
    "source",
    [
        '"""Reads the column `wish` and logs ``ring.lost``."""',
        '"""Returns what was stored."""',
        '"""Returns rows. What if there are none?"""',
        "x = 'nobody'  # noqa: S105 (whoever)",
        "# A course whose window ended.",
    ],
)
def test_other_texts_are_no_violation(found, source):
    assert found(house_rules.banned_texts, {"worker/a.py": source}) == []


def test_a_name_that_two_modules_define_is_found(found):
    files = {"schemas/a.py": "LIMIT = 1\nclass Page: ...", "worker/b.py": "LIMIT: int = 2"}

    assert found(house_rules.shared_names, files) == [
        "schemas/a.py:1: `LIMIT` is also defined in worker/b.py",
        "worker/b.py:1: `LIMIT` is also defined in schemas/a.py",
    ]


def test_private_names_and_qualified_functions_may_be_shared(found):
    files = {
        "enrollment/storage/a.py": "_X = 1\ndef find(): ...\n",
        "enrollment/storage/b.py": "_X = 1\ndef find(): ...\n",
    }

    assert found(house_rules.shared_names, files) == []


@pytest.mark.parametrize(
    "files",
    [
        {"worker/a.py": "from b import c\n__all__ = ['c']"},
        {"worker/a.py": "from b import c as c"},
        {"worker/__init__.py": '"""The worker."""\nfrom worker.a import b'},
        {"worker/__init__.py": "x = 1"},
    ],
)
def test_a_re_export_is_found(found, files):
    assert found(house_rules.re_exports, files)


def test_an_init_with_a_docstring_is_no_re_export(found):
    assert found(house_rules.re_exports, {"worker/__init__.py": '"""The worker."""\n'}) == []
