"""Progress on a terminal, and elsewhere."""

from api_gateway.cli.progress import ProgressCounter, progress


def test_plain_lines_come_now_and_then_and_at_the_end(capsys):
    moments = iter([0.0, 0.0, 0.0, 1.0, 3.0, 3.0, 3.5])

    with progress("rows", clock=lambda: next(moments)) as shown:
        shown(1, 4, 1_000, 180)
        shown(2, 4, 1_000, 2)
        shown(3, 4, 1_000, None)
        shown(4, 4, 1_000, 0)
        shown(4, 4, 1_000, 0)

    assert capsys.readouterr().err.splitlines() == [
        "rows: 1 of 4, 1,000/s, 3 min 00 s left",
        "rows: 3 of 4, 1,000/s",
        "rows: 4 of 4, 1,000/s",
    ]


def test_nothing_is_shown_of_what_is_not_worth_it(capsys):
    with progress("bytes", is_shown=False) as shown:
        shown(1, 1, 1, None)

    assert capsys.readouterr().err == ""


def test_a_rate_counts_what_was_sent():
    told = []
    moments = iter([0.0, 2.0, 4.0])
    rate = ProgressCounter(100, lambda *what: told.append(what), clock=lambda: next(moments))

    rate.add(50)
    rate.add(70)

    assert told == [(50, 100, 25.0, 2.0), (100, 100, 25.0, 0.0)]
