"""Tables of any size, as if the service had filled them: copies of a few rows that it stored."""

from uuid import UUID

import psycopg

from tests.support.in_process_service import COURSE, OTHER, SERVER, World, request, row

#: The caller of all copies.
CALLER = "key:sis"
#: Rows for each copy of a file, and for each batch more of the longest one.
ROWS_PER_FILE, ROWS_PER_BATCH = 10, 50

#: `n` counts the copies of the rows of one single and of one file. Half of the enrollments are in one
#: course; those of one transaction have the same time.
_COPIES = """
INSERT INTO learner (username, email) SELECT 'copy' || n, 'copy' || n || '@example.org' FROM
generate_series(1, %(rows)s) AS n;

INSERT INTO course (course_id, name, invite_only, self_paced, cohorts) SELECT 'course-v1:Copy+C'
|| n || '+2026', '', false, false, '[]' FROM generate_series(1, %(rows)s / 10) AS n;

INSERT INTO mode (course_id, slug, position, name, min_price, suggested_prices, currency) SELECT
id, 'audit', 0, '', 0, '', 'usd' FROM course WHERE course_id LIKE '%%Copy+%%';

INSERT INTO enrollment (learner_id, course_id, mode, is_active, created, version, event_id,
active_at, active_rank, active_line) SELECT l.id, c.id, 'audit', true, timestamptz '2026-01-01Z'
+ l.id / 500 * interval '1 millisecond', 1, l.id, 0, 0, 0 FROM learner l, course c WHERE l.username LIKE 'copy%%' AND l.id %% 2 = 0 AND
c.course_id = %(large)s;

INSERT INTO enrollment (learner_id, course_id, mode, is_active, created, version, event_id,
active_at, active_rank, active_line) SELECT l.id, c.id, 'audit', true, timestamptz '2026-01-01Z'
+ l.id * interval '1 second', 1, l.id, 0, 0, 0 FROM learner l JOIN course c ON c.course_id =
'course-v1:Copy+C' || (l.id %% (%(rows)s / 10) + 1) || '+2026' WHERE l.username LIKE 'copy%%'
AND l.id %% 2 = 1;

INSERT INTO batch (lane, alone, requests, payload, announced_at, waiting_since, answered_at,
outcomes, tally) SELECT lane, alone, requests, payload, announced_at, waiting_since, answered_at
- n * interval '1 second', outcomes, tally FROM batch, generate_series(1, %(rows)s) AS n WHERE
id = %(single)s;

INSERT INTO submission (id, kind, caller, caller_kind, received_at, published_at, total,
batch_id, position) SELECT md5('single' || b.id)::uuid, kind, %(caller)s, caller_kind,
b.answered_at, b.answered_at, 1, b.id, 0 FROM submission s, batch b WHERE s.batch_id =
%(single)s AND b.submission_id IS NULL AND b.id > %(file_batch)s;

INSERT INTO submission (id, kind, caller, caller_kind, received_at, published_at, total, lane,
encoding, format, options, header, tally, started_at, finished_at) SELECT md5('file' ||
n)::uuid, kind, %(caller)s, caller_kind, received_at - n * interval '1 minute', published_at,
total, lane, encoding, format, options, header, tally, started_at, finished_at - n * interval '1
minute' FROM submission, generate_series(1, %(files)s) AS n WHERE id = %(file)s;

INSERT INTO batch (submission_id, ordinal, lane, alone, requests, payload, announced_at,
waiting_since, answered_at, outcomes, tally) SELECT md5('file' || n)::uuid, ordinal, lane,
alone, requests, payload, announced_at, waiting_since, answered_at, outcomes, tally FROM batch,
generate_series(1, %(files)s) AS n WHERE id = %(file_batch)s;

INSERT INTO batch (submission_id, ordinal, lane, alone, requests, payload, announced_at,
waiting_since, answered_at, outcomes, tally) SELECT submission_id, n, lane, alone, requests,
payload, announced_at, waiting_since, answered_at, outcomes, tally FROM batch,
generate_series(1, %(batches)s) AS n WHERE id = %(file_batch)s;

INSERT INTO event (id, kind, course_id, username, at, submission_id, line, caller, after) SELECT
((n / 10 + 1000000)::bigint << 14) + n %% 10, 'created', %(large)s, 'copy' || n, now(),
%(file)s, n, %(caller)s, '{"mode": "audit", "is_active": true}' FROM generate_series(0, %(rows)s
- 1) AS n;

INSERT INTO feed (first, last, batch_id) SELECT head.last + n * 10 + 1, head.last + n * 10 + 10,
n + 1000000 FROM (SELECT max(last) AS last FROM feed) AS head, generate_series(0, %(rows)s / 10
- 1) AS n;

INSERT INTO crosswalk (source, kind, theirs, ours) SELECT 'canvas', 'learner', 't' || n, 'copy'
|| n FROM generate_series(1, %(rows)s) AS n;

INSERT INTO invitation (course_id, email, created, auto_enroll) SELECT %(large)s, 'copy' || n ||
'@example.org', now(), false FROM generate_series(1, %(rows)s) AS n;

INSERT INTO webhook (id, url, types, courses, callers, secret, created, since) VALUES
('01900000-0000-7000-8000-000000000000', 'https://lms.example.org/', '[]', '[]', '[]', 'x', now(),
0);

INSERT INTO webhook_delivery (webhook_id, message_id, type, position, order_key, state, created)
SELECT '01900000-0000-7000-8000-000000000000', gen_random_uuid(), 'enrollment.created', n, n,
'delivered', now() FROM generate_series(1, %(rows)s) AS n;

INSERT INTO destination (id, name, kind, url, auth, courses, concurrency, is_paused, created, since)
VALUES ('01900000-0000-7000-8000-000000000000', 'lms', 'openedx', 'https://lms.example.org/', 'x',
'[]', 4, true, now(), 0);

INSERT INTO destination_delivery (destination_id, course_id, username, position, is_forced, state,
created) SELECT '01900000-0000-7000-8000-000000000000', %(large)s, 'copy' || n, n, false,
'delivered', now() FROM generate_series(1, %(rows)s) AS n;

INSERT INTO idempotency (caller, key, fingerprint, submission_id, created) SELECT %(caller)s, n,
'', %(file)s, now() - n * interval '1 second' FROM generate_series(1, %(rows)s) AS n
"""


def fill(world: World, url: str, rows: int) -> UUID:
    """Fills every table in proportion to `rows`; returns a file with the longest outcomes.

    Few are open or cancelled, however large the tables are.
    """
    world.course(COURSE)
    world.course(OTHER)
    (single,) = world.ask(request("ada"))
    file = world.send([row("bob"), row("eve", OTHER)])
    world.work()
    parameters = {
        "rows": rows,
        "files": rows // ROWS_PER_FILE,
        "batches": rows // ROWS_PER_BATCH,
        "caller": CALLER,
        "large": COURSE,
        "file": file,
        "single": world.batch_ids(single)[0],
        "file_batch": world.batch_ids(file)[0],
    }
    with psycopg.connect(plain(url), autocommit=True) as connection:
        for statement in _COPIES.split(";"):
            connection.execute(statement, parameters)
        connection.execute("UPDATE submission SET caller = %(caller)s", parameters)
        _leave_open(world)
        connection.execute(_CANCEL, parameters)
        connection.execute("VACUUM (ANALYZE)")
    return file


#: Two of the singles were cancelled.
_CANCEL = """
UPDATE submission SET cancel_asked_at = received_at WHERE id IN (
    SELECT id FROM submission WHERE caller = %(caller)s AND batch_id IS NOT NULL
    ORDER BY received_at LIMIT 2)
"""


def _leave_open(world: World) -> None:
    """Stores two singles and two files; one of the files is being processed."""
    world.batch_rows = 1
    world.one_at_a_time()
    running = world.send([row("bob"), row("eve")], caller=SERVER)
    world.deliver(*world.batch_ids(running)[:1])
    world.send([row("bob")], caller=SERVER)
    for user in ("ada", "eve"):
        world.ask(request(user))


def plain(url: str) -> str:
    """Returns a SQLAlchemy URL in the form of libpq."""
    return url.replace("postgresql+psycopg://", "postgresql://", 1)
