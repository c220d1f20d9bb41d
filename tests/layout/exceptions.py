"""Places where a rule of the layout does not hold, each with the reason.

An entry that no rule needs any more fails `test_exceptions_are_needed`.
"""

#: Files longer than the limit.
LONG_FILES = {
    "enrollment/storage/tables.py": "one declaration per table; read as a list",
    "enrollment/storage/migrations/versions/0001_first.py": "a revision is never edited again",
}

#: Functions longer than the limit, as "path:function".
LONG_FUNCTIONS = {
    "enrollment/storage/migrations/versions/0001_first.py:_submission": "a list of columns",
    "enrollment/storage/migrations/versions/0001_first.py:_batch": "a list of columns",
}

#: Public names that several modules may define.
SHARED_NAMES = {
    "FORMAT": "one per file format, collected by `schemas.files.formats.detect`",
    "OPERATIONS": "one per module of OpenAPI operations, collected by `openapi.document`",
    "T": "type variable",
    "log": "the logger of each module",
}

#: Folders whose public functions are always called through their module or by click.
QUALIFIED_FUNCTIONS = {
    "api_gateway/cli": "click commands are found by their name on the command line",
    "enrollment/storage": "queries are called through their noun: `courses.find`",
}

#: `__init__` modules with more than a docstring.
INIT_WITH_CODE = {
    "api_gateway/cli/__init__.py": "entry point `api_gateway.cli:main`; registers the subcommands",
}
