"""Columns and lines of uploaded files: what is not read, what is no row, what is read as an id."""

import io
import json

import pytest

from schemas.files.batch_draft import FileOptions
from schemas.files.raw_rows import RowFormat, decode_raw_rows, rows_for_display
from schemas.files.source import Limits, SpooledSource, UnreadableFile
from schemas.files.splitter import split

KEY = "course-v1:edX+DemoX+Demo"
CANVAS = "course_id,user_id,role,status"


def read(text, *, format_="auto", course_id=None, ignore=(), media_type="text/csv"):
    """Splits and decodes a file; returns its info and its rows."""
    limits = Limits(batch_rows=3)
    chunks = SpooledSource(io.BytesIO(text.encode()), limits)
    options = FileOptions(format_, course_id, None, frozenset(ignore))
    info, drafts = split(chunks, media_type=media_type, limits=limits, options=options)
    form = RowFormat(info.encoding, info.header, info.format, course_id, None, options.ignored)
    rows = []
    for draft in drafts:
        if form.is_native:
            decoded = list(rows_for_display(draft.payload, form))
            raw = [one.row(None, {}) for one in decode_raw_rows(draft.payload, form)]
            assert [(r.line, r.request, r.findings) for r in raw] == [
                (r.line, r.request, r.findings) for r in decoded
            ]
        else:
            decoded = [one.row(None, {}) for one in decode_raw_rows(draft.payload, form)]
        assert len(decoded) == draft.rows
        rows += decoded
    return info, rows


def users(rows):
    return [(row.line, row.request and (row.request.username or row.request.email)) for row in rows]


def refusal_of(text, **options):
    with pytest.raises(UnreadableFile) as refusal:
        read(text, **options)
    return refusal.value


# --- columns that are not read -----------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "name", "near"),
    [
        ("user,course_id,status", "status", "is_active"),
        ("user,course_id,State", "State", "is_active"),
        ("user,course_id,isactive", "isactive", "is_active"),
        ("user,course_id,is active", "is active", "is_active"),
        ("user,course_id,Action", "Action", "is_active"),
        ("user,course_id,enrolled", "enrolled", "is_active"),
        ("user,course_id,operation", "operation", "is_active"),
        ("user,course_id,active", "active", "is_active"),
        ("user,course_id,mod", "mod", "mode"),
        ("user;course_id;Cohrt", "Cohrt", "cohort"),
        ("user,course_id,e-mail", "e-mail", "email"),
        ("user,course_id,is_active,status", "status", "is_active"),
        (f"{CANVAS},rol", "rol", "role"),
        ("classSourcedId,userSourcedId,role,status", "status", ""),
        ("School_id,Section_id,Student_id,status", "status", ""),
        ("username,course1,rle1", "rle1", "role1"),
        ("username,course1,status", "status", "enrolstatus1"),
        ("username,course1,enrolstatus", "enrolstatus", "enrolstatus1"),
        ("username,course1,Enrol Status", "Enrol Status", "enrolstatus1"),
        ("username,course1,role", "role", "role1"),
        ("External_Course_Key|External_Person_Key|row_statu", "row_statu", "ROW_STATUS"),
        ("External_Course_Key|External_Person_Key|STATUS", "STATUS", "ROW_STATUS"),
    ],
)
def test_a_column_that_looks_like_one_that_is_read_refuses_the_file(header, name, near):
    text = f"\n{header}\nx\n"
    refusal = refusal_of(text)

    assert (refusal.code, refusal.line, refusal.is_malformed) == ("unread_columns", 2, False)
    assert f"ignore={name.casefold()}" in refusal.message
    found = refusal.finding()
    assert (found["value"], found["rule"]) == (name, "unread_columns")
    assert found["expected"] == ([near] if near else [f"no column {name}"])
    assert read(text, ignore={name.casefold()})[0].ignored_columns == (name,)


@pytest.mark.parametrize(
    ("header", "ignored"),
    [
        ("user,course_id", ()),
        ("No, User ,course_id,Course Name,,Full name,email2", ("No", "Course Name", "Full name", "email2")),
        ("user,course_id,outcome,reason,message", ()),
        (("line,user,email,course_id,mode,is_active,requested_at,enrollment_attributes,cohort,"
         "force_enrollment,outcome,reason,message"), ("line",)),
        ("user,course_id,course_details.course_id", ()),
    ],
)  # fmt: skip
def test_other_columns_are_kept_and_named(header, ignored):
    assert read(f"{header}\nx,y,z\n")[0].ignored_columns == ignored


#: Headers as other systems write them, with every column that they may have.
GENUINE = {
    "canvas": (
        "canvas_course_id,course_id,canvas_user_id,user_id,role,role_id,canvas_section_id,"
        "section_id,status,canvas_associated_user_id,associated_user_id,created_by_sis,"
        "base_role_type,limit_section_privileges,root_account,start_date,end_date,"
        "user_integration_id,notify,temporary_enrollment_source_user_id,canvas_enrollment_id"
    ),
    "oneroster": (
        "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,"
        "primary,beginDate,endDate,metadata.state,metadata.role"
    ),
    "registrar": "course_id,student_key,status,course_staff,student_name,title",
    "d2l": "type,action,child_code,role_name,parent_code",
    "blackboard": (
        "EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY|ROLE|ROW_STATUS|AVAILABLE_IND|DATA_SOURCE_KEY|"
        "NEW_DATA_SOURCE_KEY|IMAGE_FILE|LINK_NAME_1|LINK_URL_1|LINK_DESC_1|INTRODUCTION|NOTES|PINFO|"
        "ROSTER_IND|RECEIVE_EMAIL_IND|EXTERNAL_ORGANIZATION_KEY"
    ),
    "moodle_users": (
        "username,password,firstname,lastname,email,auth,idnumber,institution,department,phone1,"
        "phone2,address,city,country,lang,timezone,mailformat,maildisplay,oldusername,deleted,"
        "suspended,profile_field_role,course1,type1,role1,group1,enrolperiod1,enrolstatus1,"
        "enroltimestart1,cohort1,sysrole1,category1,categoryrole1,theme,interests"
    ),
    "sds": "classSourcedId,userSourcedId,role",
    "sds_v1": "Section SIS ID,Student SIS ID",
    "clever": "School_id,Section_id,Student_id",
    "openedx_bulk_change": "user,mode,course_id",
}


@pytest.mark.parametrize("name", GENUINE)
def test_a_genuine_export_of_another_system_is_never_refused(name):
    assert read(f"{GENUINE[name]}\nx\n")[0].format == name


# --- members of JSON rows ----------------------------------------------------------------


def test_a_member_that_looks_like_one_that_is_read_makes_its_row_invalid():
    bodies = [
        {"user": "ada", "course_id": KEY, "mod": "verified"},
        {"user": "bob", "course_id": KEY, "Status": "inactive", "enrolled": 0},
        {"user": "cyd", "course_id": KEY, "note": 1, "email_opt_in": True},
        {"user": "dan", "course_details": {"course_id": KEY}, "isactive": False},
    ]
    ndjson = "\n".join(map(json.dumps, bodies))
    for text, media_type in [
        (ndjson, "application/x-ndjson"),
        (json.dumps(bodies), "application/json"),
    ]:
        _, rows = read(text, media_type=media_type)
        found = [[(f["field"], f["rule"], f["expected"]) for f in r.findings or ()] for r in rows]
        assert found == [
            [("mod", "unknown_member", "mode")],
            [
                ("Status", "unknown_member", "is_active"),
                ("enrolled", "unknown_member", "is_active"),
            ],
            [],
            [("isactive", "unknown_member", "is_active")],
        ]
        assert [(row.user, row.course_id) for row in rows][:2] == [("ada", KEY), ("bob", KEY)]
        ignore = {"mod", "status", "enrolled", "isactive"}
        _, rows = read(text, media_type=media_type, ignore=ignore)
        assert users(rows) == [(1, "ada"), (2, "bob"), (3, "cyd"), (4, "dan")]


# --- lines that are no rows --------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("spelling", ["sep={}", "SEP={}", '"sep={}"', "sep={} "])
def test_a_line_that_names_the_separator_is_no_header(delimiter, spelling):
    rows = ["user,course_id", f"ada,{KEY}", "", f"bob,{KEY}"]
    body = "\r\n".join(rows).replace(",", delimiter)
    _, found = read(f"\ufeff{spelling.format(delimiter)}\r\n{body}\r\n")

    assert users(found) == [(3, "ada"), (5, "bob")]


def test_a_line_that_names_the_separator_may_stand_above_a_file_without_a_header():
    info, rows = read(f"sep=;\nadd;student;ada;{KEY}\n")

    assert (info.format, users(rows)) == ("moodle_flat", [(2, "ada")])


FOOTED = (
    "EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY|ROLE|ROW_STATUS|AVAILABLE_IND\n"
    f"{KEY}|fay|Student|ENABLED|Y\n{KEY}|gus|Student|ENABLED|Y\n"
)


@pytest.mark.parametrize(
    "footer",
    [
        "***FileFooter|2|17:35:21 09/01/2026\n",
        "***FILEFOOTER|2|x",
        '"***FileFooter"|"2"\n\n\n',
        "***FileFooter|2\n\x1a",
    ],
)
def test_a_footer_is_no_row(footer):
    info, rows = read(FOOTED + footer)

    assert (info.format, users(rows)) == ("blackboard", [(2, "fay"), (3, "gus")])


def test_a_footer_of_one_part_of_joined_files_is_no_row_either():
    row = f"{KEY}|hal|Student|ENABLED|Y\n"

    assert users(read(f"{FOOTED}***FileFooter|2\n{row}")[1]) == [
        (2, "fay"),
        (3, "gus"),
        (5, "hal"),
    ]


def test_only_the_format_that_has_a_footer_has_one():
    assert users(read(f"user,course_id\n***FileFooter,{KEY}\n")[1]) == [(2, None)]


@pytest.mark.parametrize("end", ["\x1a", "\r\n\x1a", "\n\x1a\n", "\n\x1a\x1a"])
def test_ctrl_z_at_the_end_is_no_row(end):
    assert users(read(f"user,course_id\nada,{KEY}{end}")[1]) == [(2, "ada")]
    assert users(read(f"email\na@b.org{end}", course_id=KEY)[1]) == [(2, "a@b.org")]


def test_ctrl_z_at_the_end_of_ndjson_is_no_row():
    row = json.dumps({"user": "ada", "course_id": KEY})

    for end in ("\x1a", "\r\n\x1a"):
        assert users(read(row + end, media_type="application/x-ndjson")[1]) == [(1, "ada")]


# --- options that complete the header ----------------------------------------------------


@pytest.mark.parametrize("media", ["text/csv", "text/plain"])
def test_a_learners_column_is_enough_where_the_course_is_named_beside_the_file(media):
    for header, cell in (("email", "mia@example.org"), ("User", "mia")):
        info, rows = read(f"{header}\n{cell}\n\n{cell}\n", course_id=KEY, media_type=media)
        assert (info.format, users(rows)) == ("native", [(2, cell), (4, cell)])
        assert {row.request.course_id for row in rows} == {KEY}
    _, rows = read("note;user;mode;email\nx;mia;audit;\n", course_id=KEY)
    assert rows[0].request[:5] == ("mia", None, KEY, True, "audit")


def test_without_a_course_beside_the_file_it_is_said_how_to_name_one():
    assert "option course_id" in refusal_of("email\nmia@example.org\n").message
    assert refusal_of(f"user,course_id\nada,{KEY}\n", course_id=KEY).code == "course_twice"
    assert "put `user` above it" in refusal_of("mia@example.org\n", course_id=KEY).message


def test_the_dashboards_file_stays_the_dashboards():
    info, _ = read("ada@example.org,ada,Ada,GB\n", course_id=KEY)

    assert info.format == "openedx_dashboard"


# --- cells -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "user"),
    [
        ("'0012", "0012"),
        ("'0012'", "0012"),
        ('"=""0013"""', "0013"),
        ('="0013"', "0013"),
        ("'0012ab", "0012ab"),
        ("'0012-a.b_c", "0012-a.b_c"),
        ('\'="0014"', "0014"),
        ("'-ada", "-ada"),
        ("'@ada", "@ada"),
        ("'ada", None),
        ('"=""ada"""', None),
    ],
)
def test_an_id_kept_as_text_is_read_as_the_id(cell, user):
    assert users(read(f"user,course_id\n{cell},{KEY}\n")[1]) == [(2, user)]
    assert users(read(f"{CANVAS}\n{KEY},{cell},student,active\n")[1]) == [(2, user)]


def test_only_ids_are_read_so_and_only_in_cells():
    _, rows = read(f"user,course_id,mode\nada,{KEY},'12\n")
    assert rows[0].request.mode == "'12"
    body = json.dumps({"user": "'0012", "course_id": KEY})
    assert users(read(body, media_type="application/x-ndjson")[1]) == [(1, None)]


def test_spaces_before_a_quote_belong_to_no_cell():
    _, rows = read(f'user, course_id, name\nyan, "{KEY}", "Yan, of Berg"\nzoe,  "{KEY}"\n')

    assert users(rows) == [(2, "yan"), (3, "zoe")]
    assert rows[0].cells == ["yan", KEY, "Yan, of Berg"]


def test_a_delimiter_inside_other_columns_does_no_harm():
    text = f'user;course_id;name\npia;{KEY};"Berg, Pia; PhD"\nquin;{KEY};Holm, Q\nrex;{KEY};a,b,c\n'

    assert users(read(text)[1]) == [(2, "pia"), (3, "quin"), (4, "rex")]
