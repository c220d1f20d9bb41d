"""Progress on a terminal, and elsewhere."""

import pytest

from api_gateway.cli.progress import ProgressCounter, format_bytes, progress


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


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (6_485_920, "6.5 MB"),
        (1_500, "1.5 kB"),
        (2.5e9, "2.5 GB"),
    ],
)
def test_bytes_have_a_unit(number, text):
    assert format_bytes(number) == text


def test_bytes_sent_are_shown_with_their_unit(capsys):
    with progress("sent", in_bytes=True, clock=lambda: 0.0) as shown:
        shown(2_000_000, 2_000_000, 1_500, None)

    assert capsys.readouterr().err == "sent: 2.0 MB of 2.0 MB, 1.5 kB/s\n"
