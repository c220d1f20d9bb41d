"""Rows a second through one worker while the tables grow from nothing to ten million."""

from collections.abc import Iterator
from datetime import datetime
from hashlib import md5
from statistics import median

from bench import filling, plot
from bench.samples import course_ids, courses
from bench.stack import Ground, Size, service
from bench.table import Figure, rate

SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = SIZES[:3]
ROWS, QUICK_ROWS = 40_000, 10_000
#: Rows that a worker takes in hand at once.
BATCH_ROWS = 1_000
#: How many rows after a registration its withdrawal stands in the file.
LATER = 2_000
AT_LEAST_PERCENT = 80.0


def measure(ground: Ground, size: Size) -> list[Figure]:
    """One run at each size; at the last one several, in turn with an empty table."""
    sizes = QUICK_SIZES if size.is_quick else SIZES
    rows = QUICK_ROWS if size.is_quick else ROWS
    rates: dict[int, list[float]] = {}
    gigabytes = {}
    before, run = 0, 0
    with ground.database() as url:
        filling.begin(url)
        for enrollments in sizes:
            gigabytes[enrollments] = filling.grow(url, before, enrollments)
            rates[enrollments] = [_rate(ground, url, enrollments, rows, run)]
            before, run = enrollments, run + 1
        empty = [_empty_rate(ground, rows)]
        for again in range(run, run + size.runs - 1):
            rates[before].append(_rate(ground, url, before, rows, again))
            empty.append(_empty_rate(ground, rows))
    plot.draw({number: median(some) for number, some in rates.items()}, median(empty))
    return _figures(rates, empty, gigabytes)


def _figures(
    rates: dict[int, list[float]], empty: list[float], gigabytes: dict[int, float]
) -> list[Figure]:
    greatest = max(rates)
    shares = [100 * full / none for full, none in zip(rates[greatest], empty, strict=True)]
    return [
        Figure(
            f"growth: {greatest:,} enrollments, of an empty table",
            "%",
            shares,
            at_least=AT_LEAST_PERCENT,
            ours=rate(rates[greatest], "rows/s"),
            theirs=rate(empty, "rows/s"),
        ),
        *(
            Figure(
                f"growth: with {number:,} enrollments",
                "rows/s",
                some,
                ours=f"{gigabytes[number]:.2f} GB",
            )
            for number, some in rates.items()
        ),
    ]


def _empty_rate(ground: Ground, rows: int) -> float:
    with ground.database() as url:
        filling.begin(url)
        return _rate(ground, url, 0, rows, 0)


def _rate(ground: Ground, url: str, enrollments: int, rows: int, run: int) -> float:
    """From the moment the first batch was taken in hand to that of the last, not counted."""
    known = filling.learners_of(enrollments)
    with service(ground, url, workers=1) as made:
        made.load_courses(courses())
        done = made.until_done(made.submit("".join(_lines(rows, known, run)).encode()))
    counts = done["counts"]
    if (counts["enrolled"], counts["deactivated"]) != (rows * 3 // 4, rows // 4):
        raise RuntimeError(f"the outcomes are wrong: {counts}")
    begun, ended = (datetime.fromisoformat(done[name]) for name in ("started_at", "finished_at"))
    return (rows - BATCH_ROWS) / (ended - begun).total_seconds()


def _lines(rows: int, known: int, run: int) -> Iterator[str]:
    """Of four rows two register newcomers, one a learner who is known, one withdraws a newcomer.

    The run makes newcomers new and sends the known to courses where they are not yet.
    """
    here = course_ids()
    yield "user,course_id,mode,is_active\n"
    for number in range(0, rows, 4):
        for one in (number, number + 1):
            yield f"{_newcomer(run, one)},{here[one % len(here)]},audit,true\n"
        friend = number // 4 * known // (rows // 4) + 1
        course_id = here[(friend + run) % len(here)]
        yield f"{filling.past_username(friend)},{course_id},audit,true\n"
        gone = number - LATER if number >= LATER else number + 1
        yield f"{_newcomer(run, gone)},{here[gone % len(here)]},audit,false\n"


def _newcomer(run: int, number: int) -> str:
    return "u" + md5(f"new-{run}-{number}".encode()).hexdigest()[:16]
