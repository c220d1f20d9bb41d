"""Python columns as a table inside a statement: what goes in comes out."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Boolean, Integer, Text, select

from enrollment.storage.bulk.array_params import ArrayTable, as_json, as_uuid, encode_json
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import BigSerial

TABLE = ArrayTable("given", word=Text(), number=BigSerial, small=Integer(), flag=Boolean())

#: Everything that passes the shapes: no NUL, no half of a pair.
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ROWS = st.tuples(
    st.none() | TEXTS | st.sampled_from(["", "NULL", "null", '"', "\\", "{}", '","', "a,b", " "]),
    st.none() | st.integers(-(1 << 63), (1 << 63) - 1),
    st.none() | st.integers(-(1 << 31), (1 << 31) - 1),
    st.none() | st.booleans(),
)


def came_back(sessions, rows):
    with sessions.read() as session:
        table = TABLE.table(postgresql=is_postgresql(session))
        cells = [table.c[name] for name in (*TABLE.column_names, "ordinality")]
        columns = list(zip(*rows, strict=True)) or [()] * 4
        found = session.execute(
            select(*cells).order_by(table.c.ordinality), TABLE.parameters(session, *columns)
        )
        return [tuple(row) for row in found]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(rows=st.lists(ROWS, max_size=12))
def test_what_goes_in_comes_out_in_order(sessions, rows):
    assert came_back(sessions, rows) == [(*row, place) for place, row in enumerate(rows, 1)]


@pytest.mark.parametrize("number", [255, 256, 257, 513])
def test_long_columns_come_out_as_they_went_in(sessions, number):
    rows = [(str(n), n << 32, n - 100, n % 3 == 0) for n in range(number)]

    assert came_back(sessions, rows) == [(*row, place) for place, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    "word",
    [
        "",
        "NULL",
        'a "b"',
        "a\\b",
        "\\",
        "{a,b}",
        '","',
        "é\u2028😀",
        "a\r\n\tb",
        "'; DROP",
        "%s :x",
    ],
)
def test_texts_that_mean_something_to_a_database_mean_nothing_to_it(sessions, word):
    rows = [(word, 1, 2, True), (None, None, None, None), (word + word, -1, 0, False)]

    assert came_back(sessions, rows) == [(*row, place) for place, row in enumerate(rows, 1)]


def test_json_and_uuids_are_stored_as_such(sessions):
    table = ArrayTable("kept", document=Text(), id=Text())
    document = {"a": [1, None, 'é"\\']}
    with sessions.read() as session:
        postgresql = is_postgresql(session)
        source = table.table(postgresql=postgresql)
        found = session.execute(
            select(
                as_json(source.c.document, postgresql=postgresql),
                as_uuid(source.c.id, postgresql=postgresql),
            ),
            table.parameters(session, [encode_json(document)], ["0" * 31 + "7"]),
        ).one()

    kept = found[0] if postgresql else json.loads(found[0])
    assert kept == document
    assert str(found[1]).replace("-", "") == "0" * 31 + "7"
