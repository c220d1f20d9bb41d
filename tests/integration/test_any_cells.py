"""Whatever the cells of a file hold, a row costs its own outcome and never the file's or batch's."""

import csv
import io

import pytest
import structlog
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from api_gateway.resources.outcomes import _result_cells
from api_gateway.status import queries
from api_gateway.status.queries import OutcomeFilter, OutcomesCursor
from enrollment.domain.codes import Code
from enrollment.storage import cancellation, submissions
from enrollment.storage.engine.sessions import database_now, sessions_for
from schemas.files.formats import canvas, moodle_users
from schemas.files.formats.detect import FORMATS_BY_NAME
from schemas.files.formats.reader import FormatReader
from schemas.files.source import UnreadableFile
from schemas.outcomes import dump_outcome
from schemas.result_file import layout_of, ndjson_line
from tests.support.format_files import FORMS, RequestedChange
from tests.support.in_process_service import COURSE, World
from tests.support.migrated_databases import migrated_sqlite


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """One database for all examples; the rules of storage are tested on both kinds elsewhere."""
    url = migrated_sqlite(tmp_path_factory.mktemp("cells") / "any.sqlite3")
    sessions = sessions_for(url)
    made = World(sessions, batch_rows=3)
    made.course()
    yield made
    made.close()
    sessions.dispose()


def send(world, name, text):
    beside = {} if FORMS[name].has_course else {"course_id": COURSE}
    return world.send(text.encode(), format_=name, **beside)


def pages(world, file):
    """Every outcome so far with its row."""
    with world.sessions.read() as session:
        head = submissions.find(session, file)
        page = queries.read_outcomes_page(
            session, head, OutcomesCursor(), OutcomeFilter(), limit=1_000
        )
    return head, page.rows


def assert_shown(world, file):
    """The listing, the CSV and the NDJSON have every request of the submission."""
    head, rows = pages(world, file)
    assert len(rows) == head.total
    layout = layout_of(head.header, head.format)
    for row in rows:
        line = io.StringIO(layout.row_line(row.outcome, _result_cells(row)), newline="")
        cells = next(csv.reader(line, delimiter=layout.delimiter))
        assert cells[len(layout.columns)] == row.outcome.code
        assert dump_outcome(row.outcome)["line"] == row.outcome.line
        assert ndjson_line(row.outcome, {}).endswith("\n")


def cancel(world, file):
    with world.sessions.begin() as session:
        cancellation.request_cancel(session, file, None, now=database_now(session))


#: Good words, separators, quotes, line ends, invisible and wide characters.
CELLS = st.one_of(
    st.sampled_from(["x;y\nz", 'x;"y', "a;\rb"]),
    st.sampled_from(["x;y\nz", 'x;"y', '";"', "a,b\r\nc", "'a';'b'", "\r", "add;student;\n;a"]),
    st.sampled_from(
        ["ada", COURSE, "student", "active", "deleted", "add", "del", "enrollment", "DELETE", "1"]
    ),
    st.text(
        st.sampled_from(list(";,|\t\"'=\\\n\r\u2028\u0085\x1f \ufeff\u00df\u0130a1")), max_size=5
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
)


@st.composite
def files(draw, name):
    """The text of a file: its cells quoted as `csv` does, or not quoted at all."""
    form = FORMS[name]
    width = st.sampled_from([1, 1, 2, 4, 8])  # one cell with separators is a row of some formats
    widths = draw(st.lists(width, min_size=1, max_size=6))
    rows = [draw(st.lists(CELLS, min_size=number, max_size=number)) for number in widths]
    good = form.row(RequestedChange("ada", COURSE))
    rows.insert(draw(st.integers(0, len(rows))), good)
    text = io.StringIO(newline="")
    written = csv.writer(text, delimiter=form.mark)
    if form.header is not None:
        written.writerow(form.header)
    if draw(st.booleans()):
        written.writerows(rows)
        return text.getvalue()
    return text.getvalue() + "\n".join(form.mark.join(row) for row in rows)


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=20, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_cells_cost_their_own_outcome_alone(world, name, data):
    text = data.draw(files(name))
    try:
        worked, cancelled = send(world, name, text), send(world, name, text)
    except UnreadableFile as refusal:
        assume(refusal.code not in {"unknown_columns", "repeated_columns", "unclosed_quotes"})
        raise
    cancel(world, cancelled)
    assert pages(world, worked)[1] == []
    assert_shown_after_work(world, worked, cancelled)


def assert_shown_after_work(world, worked, cancelled):
    for file in (worked, cancelled):
        world.deliver(*world.batch_ids(file))
    assert not any(batch.parked or batch.attempts for batch in world.batches(worked))
    assert world.submission(worked).tally.completed == world.submission(worked).total
    assert_shown(world, worked)
    assert set(world.submission(cancelled).tally.counts) == {Code.CANCELLED}
    assert_shown(world, cancelled)


def test_a_line_end_in_a_cell_of_a_line_with_semicolons_costs_that_line(world):
    text = 'add, student, u1, c1\n"x;y\nz"\nadd, student, u2, c2\n'
    worked, cancelled = send(world, "moodle_flat", text), send(world, "moodle_flat", text)
    cancel(world, cancelled)

    assert_shown_after_work(world, worked, cancelled)
    assert [(one.line, one.code) for one in world.outcomes(worked)] == [
        (1, Code.REFUSED),
        (2, Code.INVALID),
        (4, Code.REFUSED),
    ]


# --- parsers that fail -------------------------------------------------------------------


def fails(*_):
    raise csv.Error("new-line character seen in unquoted field")


@pytest.mark.parametrize("member", ["normalize", "check", "parse_many", "count"])
def test_an_error_of_a_formats_parser_is_its_rows_finding_and_is_logged_once(
    world, monkeypatch, member
):
    name = "moodle_users" if member in {"parse_many", "count"} else "canvas"
    broken = {"canvas": canvas.FORMAT, "moodle_users": moodle_users.FORMAT}[name]
    monkeypatch.setitem(vars(FORMATS_BY_NAME[name]), member, fails)
    monkeypatch.setattr("schemas.files.formats.reader._logged", set())
    good = FORMS[name].row(RequestedChange("ada", COURSE))
    text = "\n".join([",".join(FORMS[name].header), ",".join(good), ",".join(good)])
    with structlog.testing.capture_logs() as logs:
        worked, cancelled = send(world, name, text), send(world, name, text)
        cancel(world, cancelled)
        assert_shown_after_work(world, worked, cancelled)

    assert broken is FORMATS_BY_NAME[name]
    found = world.outcomes(worked)
    if member != "count":
        assert [one.details["errors"][0]["rule"] for one in found] == ["unreadable"] * 2
    failures = [entry for entry in logs if entry["event"] == "format.reader_failed"]
    assert [(entry["log_level"], entry["format"]) for entry in failures] == [("error", name)]


def test_a_time_limit_is_no_finding(monkeypatch):
    from celery.exceptions import SoftTimeLimitExceeded

    def is_late(*_):
        raise SoftTimeLimitExceeded

    monkeypatch.setitem(vars(canvas.FORMAT), "check", is_late)
    columns = FormatReader("canvas", csv_columns("canvas"))

    with pytest.raises(SoftTimeLimitExceeded):
        columns.intents(FORMS["canvas"].row(RequestedChange("ada", COURSE)))


def csv_columns(name):
    from schemas.files.csv_rows import CsvColumns

    return CsvColumns(",", tuple(FORMS[name].header))
