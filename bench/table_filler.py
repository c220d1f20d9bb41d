"""Fills the tables inside PostgreSQL as years of terms would.

Learners, seats, precedence, events and feed positions are consistent, as if the service had written
them. Submissions and batches are missing, as after their retention.
"""

from hashlib import md5

import psycopg

from enrollment.domain.events import ORDINAL_BITS

#: Learners that exist before the first enrollment, and enrollments of each one.
INITIAL_LEARNERS, PER_LEARNER = 10_000, 4
#: Past courses, over which the enrollments are spread.
COURSES = 2_200
#: Events per past batch; tables grow by whole batches.
BATCH = 1_000
#: Ids reserved for past rows; the service continues after them.
_RESERVED_LEARNER_IDS, _RESERVED_BATCH_IDS = 10_000_000, 1_000_000

_RESERVE = """
SELECT setval(pg_get_serial_sequence('learner', 'id'), %(learners)s),
    setval(pg_get_serial_sequence('batch', 'id'), %(batches)s)
"""
_COURSES = """
INSERT INTO course (course_id, name, invite_only, self_paced, cohorts)
SELECT 'course-v1:Past+C' || n || '+2025', 'Course ' || n, false, false, '[]'
FROM generate_series(0, %(courses)s - 1) AS n
"""
_MODES = """
INSERT INTO mode (course_id, slug, position, name, min_price, suggested_prices, currency)
SELECT id, 'audit', 0, 'Audit', 0, '', 'usd' FROM course WHERE course_id LIKE 'course-v1:Past+%'
"""
#: Usernames are in random order, so that look-ups are spread over the index.
_LEARNERS = """
INSERT INTO learner (id, username)
SELECT n, 'u' || left(md5('past-' || n), 16) FROM generate_series(%(first)s::int, %(last)s) AS n
"""
#: Columns of the n-th past enrollment.
_PAST = """
WITH past AS (
    SELECT n / %(each)s + 1 AS learner,
        (n / %(each)s * 37 + n %% %(each)s * 501) %% %(courses)s AS course,
        ((n / %(batch)s + 1)::bigint << %(ordinal_bits)s::int) + n %% %(batch)s AS event,
        n %% %(batch)s + 2 AS line,
        timestamptz '2025-01-01 00:00Z' + n * interval '1 second' AS at
    FROM generate_series(%(first)s::int, %(last)s) AS n
)
"""
_ENROLLMENTS = f"""{_PAST}
INSERT INTO enrollment (learner_id, course_id, mode, is_active, created, version, event_id,
    active_at, active_rank, active_line)
SELECT learner, course.first + course, 'audit', true, at, 1, event,
    extract(epoch FROM at)::bigint * 1000000, event, line
FROM past, (SELECT min(id) AS first FROM course WHERE course_id LIKE 'course-v1:Past+%%') AS course
"""
_EVENTS = f"""{_PAST}
INSERT INTO event (id, kind, course_id, username, at, submission_id, line, caller, after)
SELECT event, 'created', 'course-v1:Past+C' || course || '+2025',
    'u' || left(md5('past-' || learner), 16), at,
    md5((event >> %(ordinal_bits)s::int)::text)::uuid, line,
    'key:past', '{{"mode":"audit","is_active":true}}'
FROM past
"""
_FEED = """
WITH head AS (SELECT coalesce(max(last), 0) AS before FROM feed)
INSERT INTO feed (first, last, batch_id)
SELECT before + n - %(first)s + 1, before + n - %(first)s + %(batch)s, n / %(batch)s + 1
FROM head, generate_series(%(first)s::int, %(last)s, %(batch)s::int) AS n
"""
_SEATS = """
UPDATE course SET seats_taken = taken.number
FROM (SELECT course_id, count(*) AS number FROM enrollment WHERE is_active GROUP BY 1) AS taken
WHERE course.id = taken.course_id
"""


def past_username(number: int) -> str:
    """Returns the username of the n-th past learner, counted from 1."""
    return "u" + md5(f"past-{number}".encode()).hexdigest()[:16]


def learners_of(enrollments: int) -> int:
    """Returns the number of learners that belong to a number of enrollments."""
    return max(INITIAL_LEARNERS, enrollments // PER_LEARNER)


def prepare(url: str) -> None:
    """Creates the past courses and the initial learners, without enrollments."""
    with _connected(url) as connection:
        reserved = {"learners": _RESERVED_LEARNER_IDS, "batches": _RESERVED_BATCH_IDS}
        connection.execute(_RESERVE, reserved)
        connection.execute(_COURSES, {"courses": COURSES})
        connection.execute(_MODES)
        connection.execute(_LEARNERS, {"first": 1, "last": INITIAL_LEARNERS})
        _vacuum(connection)


def grow(url: str, before: int, after: int) -> float:
    """Adds past enrollments up to number `after`; returns the size of the database in GB."""
    numbers = {"first": before, "last": after - 1, "batch": BATCH}
    spread = numbers | {"each": PER_LEARNER, "courses": COURSES, "ordinal_bits": ORDINAL_BITS}
    new_learners = {"first": learners_of(before) + 1, "last": learners_of(after)}
    with _connected(url) as connection:
        connection.execute(_LEARNERS, new_learners)
        connection.execute(_ENROLLMENTS, spread)
        connection.execute(_EVENTS, spread)
        connection.execute(_FEED, numbers)
        connection.execute(_SEATS)
        _vacuum(connection)
        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    return 0.0 if row is None else row[0] / 1e9


def add_enrollments(url: str, number: int) -> None:
    """Adds the first past enrollments with their learners, without events and seats."""
    spread = {"first": 0, "last": number - 1, "batch": BATCH}
    spread |= {"each": PER_LEARNER, "courses": COURSES, "ordinal_bits": ORDINAL_BITS}
    new_learners = {"first": INITIAL_LEARNERS + 1, "last": learners_of(number)}
    with _connected(url) as connection:
        connection.execute(_LEARNERS, new_learners)
        connection.execute(_ENROLLMENTS, spread)
        _vacuum(connection)


def _connected(url: str) -> psycopg.Connection:
    plain = url.replace("postgresql+psycopg://", "postgresql://", 1)
    return psycopg.connect(plain, autocommit=True)


def _vacuum(connection: psycopg.Connection) -> None:
    """Vacuums and checkpoints now, so that PostgreSQL does not do so during the measure."""
    connection.execute("VACUUM (ANALYZE)")
    connection.execute("CHECKPOINT")
