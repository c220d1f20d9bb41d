"""Files of other systems, taken unchanged: how each is known, and what its rows ask for."""

import io

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from enrollment.domain.codes import Code, IdKind, Reason
from enrollment.domain.crosswalks import ExternalId
from enrollment.domain.model import Outcome
from schemas.files.batch_draft import FileOptions
from schemas.files.csv_rows import cells_of
from schemas.files.formats.detect import FORMAT_NAMES, FORMATS, column_meanings
from schemas.files.raw_rows import RawRow, RowFormat, decode_raw_rows, rows_for_display
from schemas.files.source import Limits, SpooledSource, UnreadableFile
from schemas.files.splitter import split
from schemas.requests.parsed import ParsedRequest
from schemas.result_file import layout_of
from tests.support.format_files import FORMS, RequestedChange, file_of, lines_of, ndjson_of, sayable

KEY = "course-v1:edX+DemoX+Demo"
OTHER = "course-v1:edX+Other+Demo"

#: A file of each format: alice comes in, bob leaves, cyd is a teacher, dan is good again.
SAMPLES = {
    "canvas": (
        "course_id,root_account,user_id,role,role_id,section_id,status,associated_user_id\n"
        "MATH,,alice,student,,,active,\n"
        "MATH,,bob,student,,,deleted,\n"
        "MATH,,cyd,teacher,,,active,\n"
        "MATH,,dan,student,,,active,\n"
    ),
    "oneroster": (
        '"sourcedId","status","dateLastModified","classSourcedId","schoolSourcedId",'
        '"userSourcedId","role","primary","beginDate","endDate","metadata.x"\n'
        '"e1","active","2026-01-01","MATH","s","alice","student","","","",""\n'
        '"e2","tobedeleted","2026-01-01","MATH","s","bob","student","","","",""\n'
        '"e3","active","2026-01-01","MATH","s","cyd","teacher","","","",""\n'
        '"e4","","","MATH","s","dan","student","","2026-01-01","2026-06-01",""\n'
    ),
    "registrar": (
        "student_key,course_id,status,course_staff\n"
        "alice,MATH,active,FALSE\nbob,MATH,inactive,\ncyd,MATH,active,true\ndan,MATH,active,0\n"
    ),
    "d2l": (
        "type,action,child_code,role_name,parent_code\n"
        "enrollment,CREATE,alice,Learner,MATH\nenrollment,DELETE,bob,Student,MATH\n"
        "enrollment,UPDATE,cyd,Instructor,MATH\nenrollment,,dan,learner,MATH\n"
    ),
    "blackboard": (
        "EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY|ROLE|ROW_STATUS|AVAILABLE_IND|DATA_SOURCE_KEY\n"
        "MATH|alice|Student|ENABLED|Y|sis\nMATH|bob|S|DISABLED|Y|sis\n"
        "MATH|cyd|Instructor|ENABLED|Y|sis\nMATH|dan||enabled||sis\n"
    ),
    "moodle_flat": (
        "add, student, alice, MATH\ndel, student, bob, MATH, 0, 0\n"
        "add, editingteacher, cyd, MATH\nADD,Student,dan,MATH,1700000000,1800000000\n"
    ),
    "moodle_users": (
        "username,firstname,email,course1,role1,type1,enrolstatus1\n"
        "alice,A,a@b,MATH,,,\nbob,B,b@b,MATH,student,1,1\n"
        "cyd,C,c@b,MATH,editingteacher,,\ndan,D,d@b,MATH,student,,0\n"
    ),
    "sds": (
        "classSourcedId,userSourcedId,role\nMATH,alice,student\n"
        "MATH,,student\nMATH,cyd,teacher\nMATH,dan,student\n"
    ),
    "sds_v1": "Section SIS ID,Student SIS ID\nMATH,alice\nMATH,\n,cyd\nMATH,dan\n",
    "clever": ("School_id,Section_id,Student_id\ns,MATH,alice\ns,MATH,\ns,,cyd\ns,MATH,dan\n"),
    "openedx_dashboard": (
        "alice@example.org,alice,Alice A,US\nbob@example.org,,Bob B,US\n"
        "cyd@@,cyd,Cyd C,US\ndan@example.org,dan,Dan D,US\n"
    ),
    "openedx_bulk_change": f"course_id,mode,user\n{KEY},audit,alice\n{KEY},honor,dan\n",
}
CROSSWALK = {("MATH", IdKind.COURSE): KEY, ("BIO", IdKind.COURSE): OTHER}


def ours(source, crosswalk=CROSSWALK):
    return {ExternalId(source, kind, theirs): known for (theirs, kind), known in crosswalk.items()}


def read(text, wanted="auto", course_id=None, crosswalk=CROSSWALK, limits=None, ignore=()):
    """A file as the worker reads it: its head, and every row in our ids."""
    body = text.encode() if isinstance(text, str) else text
    limits = limits or Limits(batch_rows=3)
    chunks = SpooledSource(io.BytesIO(body), limits)
    asked = FileOptions(wanted, course_id, ignored=frozenset(ignore))
    head, drafts = split(chunks, media_type="text/csv", limits=limits, options=asked)
    form = RowFormat(head.encoding, head.header, head.format, course_id)
    rows = []
    for draft in drafts:
        sent = list(decode_raw_rows(draft.payload, form))
        assert len(sent) == draft.rows
        shown = list(rows_for_display(draft.payload, form))
        assert [row.line for row in shown] == [one.line for one in sent]
        rows += [one.row(head.format, ours(head.format, crosswalk)) for one in sent]
    return head, rows


def told(row):
    """What a row asks for, a list of what is wrong with it, or a set of why it is skipped."""
    if row.not_applicable is not None:
        assert row.request is None
        assert row.findings is None
        return {(row.not_applicable.field, row.not_applicable.value, row.not_applicable.reason)}
    if row.request is None:
        return [(found["field"], found["value"], found["rule"]) for found in row.findings]
    return row.request.username, row.request.course_id, row.request.is_active


def refusal_of(text, wanted="auto", **how):
    with pytest.raises(UnreadableFile) as refusal:
        read(text, wanted, **how)
    return refusal.value


#: Begins the message on a file without a header.
NO_HEADER = (
    "the header has no course_id and no user or email: the first line is taken for the header; "
    "yours is"
)


# --- detection ---------------------------------------------------------------------------


def loud(text):
    """The header in capital letters, if there is one."""
    head, _, rest = text.partition("\n")
    return text if head.startswith(("add", "alice@")) else f"{head.upper()}\n{rest}"


#: The same file as other programs write it, by its text and what separates its cells.
SPELLINGS = {
    "plain": lambda text, _: text.encode(),
    "byte order mark": lambda text, _: b"\xef\xbb\xbf" + text.encode(),
    "crlf": lambda text, _: text.replace("\n", "\r\n").encode(),
    "semicolons": lambda text, mark: text.replace(mark, ";").encode(),
    "tabs": lambda text, mark: text.replace(mark, "\t").encode(),
    "pipes": lambda text, mark: text.replace(mark, "|").encode(),
    "cp1252": lambda text, _: text.replace("Alice", "Zo\xe9").encode("cp1252"),
    "blank lines": lambda text, _: ("\n\n" + text.replace("\n", "\n\n")).encode(),
    "loud": lambda text, _: loud(text).encode(),
}


def spelled(text, how):
    return SPELLINGS[how](text, "|" if text.startswith("EXTERNAL") else ",")


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("how", SPELLINGS)
def test_a_file_is_known_by_its_content_however_it_is_written(name, how):
    course_id = KEY if name == "openedx_dashboard" else None
    plain = read(SAMPLES[name], course_id=course_id)
    head, rows = read(spelled(SAMPLES[name], how), course_id=course_id)

    assert head.format == plain[0].format == read(SAMPLES[name], name, course_id)[0].format == name
    assert [str(told(row)).casefold() for row in rows] == [
        str(told(row)).casefold() for row in plain[1]
    ]


def test_every_format_has_a_sample_and_can_be_forced():
    assert set(FORMAT_NAMES) == {"auto", "native", *SAMPLES}
    assert len({format_.name for format_ in FORMATS}) == len(FORMATS)


@pytest.mark.parametrize(
    ("header", "format_"),
    [
        ("user,mode,course_id", "openedx_bulk_change"),
        ("COURSE_ID;User;Mode", "openedx_bulk_change"),
        ("user,mode,course_id,outcome,reason,message", "openedx_bulk_change"),
        ("user,mode,course_id,is_active", "native"),
        ("user,course_id", "native"),
        ("email,course_id", "native"),
        ("user,course_id,email,mode,cohort,is_active", "native"),
        ("user,course_id,status,role", "native"),
        ("user,user_id,course_id,status", "native"),
        ("School_id,Section_id,Student_id,user,course_id", "clever"),
        ("username,email,full name,country,course_id", "native"),
    ],
)
def test_who_names_our_columns_means_them(header, format_):
    mark = ";" if ";" in header else ","
    text = f"{header}\n{mark.join('x' * len(header.split(mark)))}\n"

    assert read(text, ignore={"status"})[0].format == format_


@pytest.mark.parametrize(
    ("header", "format_"),
    [
        ("user,user_id,course_id,status,role", "canvas"),
        ("course_id;user_id;role;status;email", "canvas"),
        ("student_key,course_id,status,user", "registrar"),
    ],
)
def test_a_file_that_has_all_another_systems_has_is_its_file_whatever_is_beside(header, format_):
    mark = ";" if ";" in header else ","
    text = f"{header}\n{mark.join('x' * len(header.split(mark)))}\n"

    assert read(text)[0].format == format_
    assert read(text, "native", ignore={"status"})[0].format == "native"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "course_id,user_id\nMATH,ada\n",
            "this looks like canvas, but the header has no role or role_id and no status",
        ),
        (
            "type,action,child_code,rolename,parent_code\n",
            (
                "this looks like d2l, but the header has no role_name "
                "('rolename' looks like 'role_name')"
            ),
        ),
        ("A,b\n1,2\n", f"{NO_HEADER} `A,b`. If it is a row, put `user,course_id` above it"),
        (
            "enrol;student;Ada;MATH\n",
            f"{NO_HEADER} `enrol;student;Ada;MATH`. If it is a row, put `user;course_id` above it",
        ),
    ],
)
def test_a_file_that_is_not_known_is_told_what_was_found_and_what_is_known(text, message):
    refusal = refusal_of(text)

    assert (refusal.code, refusal.message) == ("unknown_columns", message)
    assert refusal.finding()["value"] == text.partition("\n")[0]
    assert not refusal.is_malformed


@pytest.mark.parametrize(
    ("text", "course_id", "expected"),
    [
        ("a,b\n1,2\n", None, ["user or email", "course_id"]),
        ("a,b\n1,2\n", KEY, ["user or email"]),
        (
            "course_id,user_id,Role\nMATH,ada,student\n",
            None,
            [
                "course_id or section_id",
                "user_id or user_integration_id",
                "role or role_id",
                "status",
            ],
        ),
        ("type,action,child_code,rolename\n", None, [
            "type", "action", "child_code", "role_name", "parent_code",
        ]),
    ],
)  # fmt: skip
def test_what_the_nearest_format_needs_is_listed(text, course_id, expected):
    refusal = refusal_of(text, course_id=course_id)

    assert refusal.finding()["expected"] == expected


@pytest.mark.parametrize(
    ("header", "name", "missing"),
    [
        ("EXTERNAL_ORGANIZATION_KEY|EXTERNAL_PERSON_KEY|ROLE", "blackboard", "EXTERNAL_COURSE_KEY"),
        ("student_key,course", "registrar", "status"),
        ("Section SIS ID,SIS ID", "sds_v1", "Student SIS ID"),
        ("child_code,parent_code,role_name,action", "d2l", "type"),
        ("username,class", None, "course_id"),
        ("status,class", None, "course_id"),
        ("section_id,class", None, "course_id"),
    ],
)
def test_a_header_that_has_half_of_a_format_and_a_name_of_its_own_is_near_it(header, name, missing):
    message = refusal_of(f"{header}\n1,2,3,4\n").message

    assert message.startswith(f"this looks like {name}, but" if name else "the header has no")
    assert f"has no {missing}" in message


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("name,class\nann,7a\n", "unknown_columns", 1),
        ("\n\nuser_id,course_id\nada,x\n", "unknown_columns", 3),
        ("sep=,\nuser,user,course_id\n", "repeated_columns", 2),
        ("student_key,status\na,enrolled\n", "course_missing", 1),
        ('user,course_id,"no\nte",status\na,b,c,d\n', "unread_columns", 1),
    ],
)
def test_what_is_wrong_with_a_header_is_in_its_line(text, code, line):
    found = refusal_of(text).finding()

    assert (found["rule"], found["line"]) == (code, line)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("canvas", "user,course_id\nada,x\n", "no user_id or user_integration_id and no role"),
        ("native", SAMPLES["canvas"], "has no user or email"),
        ("oneroster", SAMPLES["sds"], "has no sourcedId or schoolSourcedId"),
    ],
)
def test_a_forced_format_that_does_not_fit_says_what_is_missing(name, text, message):
    refusal = refusal_of(text, name)

    assert refusal.code == "unknown_columns"
    assert message in refusal.message


def test_a_column_that_is_read_may_not_be_there_twice():
    refusal = refusal_of("course_id,user_id,role,status,user_id\n")

    assert refusal.code == "repeated_columns"
    assert refusal.message == "the column 'user_id' is there 2 times: keep one of them"
    assert refusal.finding()["value"] == "user_id"


@pytest.mark.parametrize(
    ("text", "name"),
    [(SAMPLES["openedx_dashboard"], "openedx_dashboard"), ("student_key,status\na,enrolled\n", "")],
)
def test_rows_without_a_course_need_one_beside_them(text, name):
    assert refusal_of(text).code == "course_missing"
    _, rows = read(text, course_id=KEY)
    assert told(rows[0])[1] == KEY


def test_a_course_is_named_by_the_rows_or_beside_them_but_not_twice():
    assert refusal_of(SAMPLES["canvas"], course_id=KEY).code == "course_twice"
    assert refusal_of(f"user,course_id\nada,{KEY}\n", course_id=KEY).code == "course_twice"


def test_it_is_said_what_each_column_is_taken_for():
    head, _ = read(SAMPLES["canvas"])
    assert column_meanings(head.format, head.header) == {
        "course_id": "course",
        "section_id": "course",
        "user_id": "learner",
        "role": "role",
        "role_id": "role",
        "status": "status",
    }
    head, _ = read(SAMPLES["moodle_users"])
    assert column_meanings(head.format, head.header) == {
        "username": "learner",
        "course1": "course",
        "role1": "role",
        "type1": "role",
        "enrolstatus1": "status",
    }
    head, _ = read("No,User ,course_id,mode,is_active\n,ada,x,,\n")
    assert column_meanings(head.format, head.header) == {
        "User": "learner",
        "course_id": "course",
        "mode": "mode",
        "is_active": "status",
    }


# --- what rows ask for -------------------------------------------------------------------

ROLE_COLUMNS = {
    "canvas": ("role", "teacher"),
    "oneroster": ("role", "teacher"),
    "registrar": ("course_staff", "true"),
    "d2l": ("role_name", "Instructor"),
    "blackboard": ("ROLE", "Instructor"),
    "moodle_flat": ("role", "editingteacher"),
    "moodle_users": ("role1", "editingteacher"),
}


@pytest.mark.parametrize("name", ROLE_COLUMNS)
def test_learners_come_in_and_leave_and_nobody_else_does(name):
    _, rows = read(SAMPLES[name])

    column, value = ROLE_COLUMNS[name]
    assert list(map(told, rows)) == [
        ("alice", KEY, True),
        ("bob", KEY, False),
        {(column, value, "role_not_learner")},
        ("dan", KEY, True),
    ]
    assert (rows[2].user, rows[2].course_id) == ("cyd", "MATH")


@pytest.mark.parametrize(
    ("name", "told_of"),
    [
        (
            "sds",
            [
                ("alice", KEY, True),
                [("userSourcedId", None, "required")],
                {("role", "teacher", "role_not_learner")},
                ("dan", KEY, True),
            ],
        ),
        (
            "clever",
            [
                ("alice", KEY, True),
                [("Student_id", None, "required")],
                [("Section_id", None, "required")],
                ("dan", KEY, True),
            ],
        ),
        (
            "sds_v1",
            [
                ("alice", KEY, True),
                [("Student SIS ID", None, "required")],
                [("Section SIS ID", None, "required")],
                ("dan", KEY, True),
            ],
        ),
    ],
)
def test_an_empty_cell_is_its_rows_fault_and_never_the_files(name, told_of):
    _, rows = read(SAMPLES[name])

    assert list(map(told, rows)) == told_of


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("user_id,course_id,role,status\n,MATH,student,active\n", "user_id"),
        ("USER_ID,section_id,role,status\nada,,student,active\n", "section_id"),
        ("User_ID,section_id,role,status\n,MATH,student,active\n", "User_ID"),
        ("user_integration_id,user_id,course_id,role,status\n,,MATH,student,active\n", None),
        ("username,course2\nada,\n", "course2"),
        ("username, Course01 \nada,\n", "Course01"),
        ("Type,action,child_code,role_name,parent_code\n,,ada,Learner,MATH\n", "Type"),
        ("external_course_key|External_Person_Key|ROLE\nMATH||S\n", "External_Person_Key"),
    ],
)
def test_a_row_is_wrong_in_a_column_that_its_file_has(text, field):
    _, rows = read(text)

    assert told(rows[0]) == [(field or "user_integration_id", None, "required")]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (",INT,student,,active", ("INT", KEY, True)),
        ("ID,INT,student,,active", ("INT", KEY, True)),
        ("ID,,student,,inactive", ("ID", KEY, False)),
        ("ID,,student,,deleted_last_completed", ("ID", KEY, False)),
        ("ID,,STUDENT,,Active", ("ID", KEY, True)),
        ("ID,,student,3,active", ("ID", KEY, True)),
        ("ID,,,3,active", [("role", None, "required")]),
        ("ID,,Student Helper,,active", {("role", "Student Helper", "role_not_learner")}),
        ("ID,,student,,completed", {("status", "completed", "status_not_applicable")}),
        ("ID,,student,,Concluded", {("status", "Concluded", "status_not_applicable")}),
        ("ID,,student,,invited", {("status", "invited", "status_not_applicable")}),
        ("ID,,student,,rejected", {("status", "rejected", "status_not_applicable")}),
        ("ID,,teacher,,completed", {("role", "teacher", "role_not_learner")}),
        ("ID,,teacher,,nonsense", [("status", "nonsense", "one_of")]),
        (",,teacher,,active", {("role", "teacher", "role_not_learner")}),
        ("ID,,student,,enrolled", [("status", "enrolled", "one_of")]),
        ("ID,,,,", [("status", None, "required"), ("role", None, "required")]),
    ],
)
def test_canvas_rows(cells, expected):
    _, rows = read(f"course_id,user_id,user_integration_id,role,role_id,status\nMATH,{cells}\n")

    assert told(rows[0]) == expected


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("enrolled", True),
        ("canceled", False),
        ("pending", "status_not_applicable"),
        ("suspended", "status_not_applicable"),
        ("ended", "status_not_applicable"),
        ("gone", "one_of"),
        ("", "required"),
    ],
)
def test_registrar_statuses(status, expected):
    _, rows = read(f"student_key,status\nada,{status}\n", course_id=KEY)

    found = told(rows[0])
    assert (found[2] if isinstance(found, tuple) else next(iter(found))[2]) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("add,student,ada,MATH,20,10", [("endtime", "10", "range")]),
        ("add,student,ada,MATH,20,0", ("ada", KEY, True)),
        ("add,student,ada,MATH,tomorrow", [("starttime", "tomorrow", "type")]),
        ("'add','student','ada','MATH'", ("ada", KEY, True)),
        ('"add","student","ada","MATH"', ("ada", KEY, True)),
        ("del;student;ada;MATH", ("ada", KEY, False)),
        ("move,student,ada,MATH", [("operation", "move", "one_of")]),
        ("add,student,ada,MATH,0,0,more", [("", "more", "columns")]),
        ("add,student,ada", [("course idnumber", None, "required")]),
    ],
)
def test_moodle_flat_lines(line, expected):
    _, rows = read(f"add,student,first,MATH\n{line}\nadd,student,last,MATH\n")

    assert [row.line for row in rows] == [1, 2, 3]
    assert told(rows[0]) == ("first", KEY, True)
    assert told(rows[1]) == expected
    assert told(rows[2]) == ("last", KEY, True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "external_person_key|External_Course_Key|available_ind|row_status\nada|MATH|N|ENABLED\n",
            {("available_ind", "N", "status_not_applicable")},
        ),
        (
            "external_person_key|External_Course_Key|available_ind|row_status\nada|MATH|N|DELETED\n",
            ("ada", KEY, False),
        ),
        (
            "external_person_key|External_Course_Key|available_ind|row_status\nada|MATH|X|ENABLED\n",
            [("available_ind", "X", "one_of")],
        ),
        (
            "external_person_key|External_Course_Key|available_ind|row_status\nada|MATH|y|ENABLED\n",
            ("ada", KEY, True),
        ),
        ("username,course1,deleted\nada,MATH,1\n", {("deleted", "1", "status_not_applicable")}),
        ("username,course1,deleted\nada,MATH,0\n", ("ada", KEY, True)),
        ("username,course1,deleted\nada,MATH,yes\n", [("deleted", "yes", "one_of")]),
        ("username,course1,type1\nada,MATH,3\n", {("type1", "3", "role_not_learner")}),
        ("username,course1,type1\nada,MATH,4\n", [("type1", "4", "one_of")]),
        (
            "student_key,course_id,status,course_staff\nada,MATH,active,perhaps\n",
            [("course_staff", "perhaps", "one_of")],
        ),
        (
            "type,action,child_code,role_name,parent_code\nsection,CREATE,ada,learner,MATH\n",
            {("type", "section", "status_not_applicable")},
        ),
        (
            "type,action,child_code,role_name,parent_code\nsection,CREATE,,,\n",
            {("type", "section", "status_not_applicable")},
        ),
        (
            "type,action,child_code,role_name,parent_code\nwhat,CREATE,ada,learner,MATH\n",
            [("type", "what", "one_of")],
        ),
        (
            "type,action,child_code,role_name,parent_code\n,CREATE,ada,learner,MATH\n",
            [("type", None, "required")],
        ),
    ],
)
def test_rows_that_ask_for_what_is_not_done_here(text, expected):
    assert [told(row) for row in read(text)[1]] == [expected]


def test_a_line_of_many_courses_is_as_many_requests():
    head, rows = read(
        "username,course1,course2,role2,course10,enrolstatus10\n"
        "ada,MATH,BIO,teacher,MATH,1\nbob,,,,,\ncyd,,BIO,,,\ndan,MATH,BIO,,NONE YET,\n"
    )

    assert head.format == "moodle_users"
    assert [(row.line, told(row)) for row in rows] == [
        (2, ("ada", KEY, True)),
        (2, {("role2", "teacher", "role_not_learner")}),
        (2, ("ada", KEY, False)),
        (3, [("course1", None, "required")]),
        (4, ("cyd", OTHER, True)),
        (5, ("dan", KEY, True)),
        (5, ("dan", OTHER, True)),
        (5, [("course10", "NONE YET", "not_in_crosswalk")]),
    ]


def test_numbers_of_columns_are_numbers_however_they_are_written():
    head, rows = read("username,course01,role1,course2,role002\nada,MATH,teacher,BIO,student\n")

    assert head.format == "moodle_users"
    assert list(map(told, rows)) == [
        {("role1", "teacher", "role_not_learner")},
        ("ada", OTHER, True),
    ]
    assert rows[0].cells == ["ada", "MATH", "teacher", "", ""]
    assert refusal_of("username,course1,course01\na,b,c\n").code == "repeated_columns"


def test_the_dashboards_six_columns_have_cohort_and_mode():
    _, rows = read("ada@example.org,ada,Ada,GB,red,honor\n", course_id=KEY)

    assert rows[0].request == ParsedRequest(
        "ada", "ada@example.org", KEY, mode="honor", cohort="red"
    )


def test_cells_that_were_made_plain_text_are_read_as_before():
    _, rows = read(
        "course_id,user_id,role,status\n'=MATH,'-ada,student,active\n",
        crosswalk={
            ("=MATH", IdKind.COURSE): KEY,
            ("-ada", IdKind.LEARNER): "ada",
        },
    )

    assert told(rows[0]) == ("ada", KEY, True)


def test_a_quote_that_never_closes_costs_its_line():
    text = 'course_id,user_id,role,status\nMATH,"ada,student,active\nMATH,bob,student,active\n'
    _, rows = read(text)

    assert [(row.line, row.request and row.request.username) for row in rows] == [
        (2, None),
        (3, "bob"),
    ]


# --- ids ---------------------------------------------------------------------------------


def test_ids_that_are_ours_already_need_no_crosswalk():
    _, rows = read(f"course_id,user_id,role,status\n{KEY},ada,student,active\n", crosswalk={})

    assert told(rows[0]) == ("ada", KEY, True)


def test_an_id_that_nobody_knows_is_named():
    _, rows = read("course_id,user_id,role,status\nMATH,a;b,student,active\n", crosswalk={})

    assert told(rows[0]) == [
        ("course_id", "MATH", "not_in_crosswalk"),
        ("user_id", "a;b", "not_in_crosswalk"),
    ]


def test_ids_of_one_source_mean_nothing_to_another():
    known = {ExternalId("other", IdKind.COURSE, "MATH"): KEY}
    limits = Limits()
    chunks = SpooledSource(io.BytesIO(SAMPLES["canvas"].encode()), limits)
    head, drafts = split(chunks, media_type="text/csv", limits=limits)
    (draft,) = drafts
    sent = next(decode_raw_rows(draft.payload, RowFormat(head.encoding, head.header, head.format)))

    assert told(sent.row("canvas", known)) == [("course_id", "MATH", "not_in_crosswalk")]
    assert told(sent.row("other", known)) == ("alice", KEY, True)


@pytest.mark.parametrize(
    ("media_type", "text"),
    [
        ("text/csv", "user,email,course_id\n4711,,MATH\n,x@y,MATH\n,7,MATH\n"),
        (
            "application/x-ndjson",
            (
                '{"user":"4711","course_id":"MATH"}\n{"email":"x@y","course_id":"MATH"}\n'
                '{"email":"7","course_details":{"course_id":"MATH"}}\n'
            ),
        ),
    ],
)
def test_our_own_columns_may_hold_ids_of_a_source(media_type, text):
    known = {
        ExternalId("sis", IdKind.COURSE, "MATH"): KEY,
        ExternalId("sis", IdKind.LEARNER, "4711"): "ada",
        ExternalId("sis", IdKind.LEARNER, "x@y"): "bob",
    }
    chunks = SpooledSource(io.BytesIO(text.encode()), Limits())
    head, drafts = split(chunks, media_type=media_type, limits=Limits())
    (draft,) = drafts
    rows = [
        sent.row("sis", known)
        for sent in decode_raw_rows(
            draft.payload, RowFormat(head.encoding, head.header, head.format)
        )
    ]

    assert told(rows[0]) == ("ada", KEY, True)
    assert told(rows[1]) == ("bob", KEY, True)
    assert told(rows[2]) == [("email", "7", "not_in_crosswalk")]


@pytest.mark.parametrize(
    ("body", "who"),
    [
        ({"user": "Ada@X.org"}, (None, "ada@x.org")),
        ({"user": "Ada@X.org", "email": "bob@x.org"}, (None, "ada@x.org")),
        ({"user": "ada", "email": "bob@x.org"}, ("ada", "bob@x.org")),
        ({"email": "Bob@x.org"}, (None, "bob@x.org")),
        ({"user": "o'hara@x.org"}, (None, "o'hara@x.org")),
        ({"user": "known@x.org"}, ("cyd", None)),
        ({"user": "ada@"}, ("ada@", None)),
    ],
)
def test_an_id_that_looks_like_an_email_is_one_unless_the_crosswalk_knows_better(body, who):
    known = {ExternalId("sis", IdKind.LEARNER, "known@x.org"): "cyd"}
    request = RawRow(1, {**body, "course_id": KEY}).row("sis", known).request

    assert (request.username, request.email) == who
    untranslated = RawRow(1, {"user": "ada@x.org", "course_id": KEY}).row(None, known).request
    assert (untranslated.username, untranslated.email) == ("ada@x.org", None)


def test_a_course_in_upstreams_place_is_translated_too():
    line = '{"user":"ada","course_id":"BIO","course_details":{"course_id":"MATH"}}\n'
    chunks = SpooledSource(io.BytesIO(line.encode()), Limits())
    head, drafts = split(chunks, media_type="application/x-ndjson", limits=Limits())
    (draft,) = drafts
    (sent,) = decode_raw_rows(draft.payload, RowFormat(head.encoding, None, head.format))

    assert told(sent.row("sis", ours("sis"))) == ("ada", KEY, True)
    assert next(sent.ids("sis")).id == "MATH"


# --- result files ------------------------------------------------------------------------

REFUSED = Outcome(1, "x", "y", Code.REFUSED, Reason.COURSE_FULL, {"capacity": 1})


@pytest.mark.parametrize("name", SAMPLES)
def test_a_result_file_of_every_format_can_be_sent_again_as_it_is(name):
    course_id = KEY if name == "openedx_dashboard" else None
    head, rows = read(SAMPLES[name], course_id=course_id)
    layout = layout_of(head.header, head.format)
    text = layout.header_line() + "".join(layout.row_line(REFUSED, row.cells) for row in rows)

    again, reread = read(text, course_id=course_id)
    second = layout_of(again.header, again.format)

    assert again.format == name
    assert list(map(told, reread)) == list(map(told, rows))
    assert text == second.header_line() + "".join(
        second.row_line(REFUSED, row.cells) for row in reread
    )
    assert cells_of(text.splitlines()[0], layout.delimiter)[-3:] == ["outcome", "reason", "message"]


# --- any rows, any format ----------------------------------------------------------------

WISHES = st.builds(
    RequestedChange,
    st.sampled_from(
        ["ada", "bob smith", "4711", "-x", "", "a;b", "zo\xe9", "ada@x.org", "o'h@x.org", "@x"]
    ),
    st.sampled_from(["MATH", "BIO", KEY, "NONE", ""]),
    st.booleans(),
).filter(lambda wish: wish.user or wish.course_id)


def rows_in(name, body, media_type="text/csv"):
    """A file of a format, forced, as the worker reads it with one crosswalk."""
    course_id = KEY if name in FORMS and not FORMS[name].has_course else None
    limits = Limits(batch_rows=3)
    chunks = SpooledSource(io.BytesIO(body), limits)
    wanted = FileOptions(name, course_id)
    head, drafts = split(chunks, media_type=media_type, limits=limits, options=wanted)
    form = RowFormat(head.encoding, head.header, head.format, course_id)
    return [
        sent.row("sis", ours("sis"))
        for draft in drafts
        for sent in decode_raw_rows(draft.payload, form)
    ]


def found_in(row):
    return [(found["value"], found["rule"]) for found in row.findings or ()]


@pytest.mark.parametrize("name", FORMS)
@given(table=st.lists(WISHES, min_size=1, max_size=12))
def test_any_rows_in_any_format_ask_for_the_same(name, table):
    wishes = sayable(name, table, beside=KEY)
    rows = rows_in(name, file_of(name, wishes))
    expected = rows_in("auto", ndjson_of(name, wishes), "application/x-ndjson")

    assert [row.request for row in rows] == [row.request for row in expected]
    assert list(map(found_in, rows)) == list(map(found_in, expected))


# --- files that say nothing --------------------------------------------------------------

#: What a file without a request may hold.
SILENT = {
    "nothing": lambda _: b"",
    "mark": lambda _: b"\xef\xbb\xbf",
    "blank": lambda _: b"\r\n \r\n\n",
    "header": lambda name: lines_of(name, []),
    "mark, header": lambda name: b"\xef\xbb\xbf" + lines_of(name, []),
    "header, blank": lambda name: lines_of(name, []) + b" \r\n\r\n",
    "header, empty cells": lambda name: lines_of(name, [[""] * 3] if FORMS[name].header else []),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("content", SILENT)
def test_a_file_without_a_request_is_refused(name, content):
    course_id = None if FORMS[name].has_course else KEY

    for wanted in ("auto", name):
        assert refusal_of(SILENT[content](name), wanted, course_id=course_id).code == "empty"


# --- bad rows among good ones ------------------------------------------------------------


@st.composite
def spoiled(draw, name):
    """Rows of a format: good ones, ones with empty or senseless cells, too few of them or many."""
    rows = []
    for number in range(draw(st.integers(1, 6))):
        cells = FORMS[name].row(
            RequestedChange(f"u{number}", draw(st.sampled_from([KEY, "MATH", "NONE"])))
        )
        for place in draw(st.sets(st.integers(0, len(cells) - 1))):
            cells[place] = draw(st.sampled_from(["", " ", "?", "'", '"', "teacher"]))
        width = draw(st.integers(1, len(cells) + 2))
        rows.append([*cells, "", "more"][:width])
    return rows


@pytest.mark.parametrize("name", FORMS)
@settings(max_examples=50)
@given(data=st.data())
def test_a_row_means_what_it_means_alone_whatever_stands_before_it(name, data):
    rows = [cells for cells in data.draw(spoiled(name)) if "".join(cells).strip(' "')]
    assume(rows)
    together = rows_in(name, lines_of(name, rows))

    def alone(cells):
        return rows_in(name, lines_of(name, [cells]))

    assert list(map(what, together)) == [what(row) for cells in rows for row in alone(cells)]


def what(row):
    return row.request, row.findings, row.unvalidated, row.cells
