"""Archives as programs make them: siblings of enrollments, files of the system, names, records."""

import io
import shutil
import subprocess
import zipfile

import pytest

from enrollment.domain.submissions import ArchiveMember, PassedOverFile, decode_files, encode_files
from schemas.files.archives import zip_reader
from schemas.files.archives.siblings import sibling_kind
from schemas.files.archives.zip_splitter import split_archive
from schemas.files.batch_draft import FileOptions
from schemas.files.csv_splitter import NO_FILE_OPTIONS
from schemas.files.source import FileTooLarge, Limits, UnreadableFile

KEY = "course-v1:edX+DemoX+Demo"
OURS = f"user,course_id\nkai,{KEY}\n"
CANVAS = "course_id,user_id,role,section_id,status\nMATH,ada,student,MATH.A,active\n"


def archive(files, method=zipfile.ZIP_DEFLATED):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return packed


def read(packed, options=NO_FILE_OPTIONS):
    """Returns the file info of an archive, and the number of rows."""
    info, drafts = split_archive(packed, Limits(), options)
    return info, sum(draft.rows for draft in drafts)


def names_of(info):
    return [file.name for file in info.files], [file.name for file in info.passed_over]


#: Exports of one system: the file of enrollments, and its siblings.
EXPORTS = {
    "canvas": (
        ("enrollments.csv", CANVAS),
        {
            "users.csv": "user_id,login_id,first_name,last_name,email,status\nada,ada,A,B,a@x.org,active\n",
            "2026-09 provisioning users.csv": "canvas_user_id,user_id,integration_id,authentication_provider_id,login_id,first_name,email,status\n",
            "courses.csv": "course_id,short_name,long_name,account_id,term_id,status\n",
            "sections.csv": "section_id,course_id,name,status\n",
            "terms.csv": "term_id,name,status,start_date,end_date\n",
            "accounts.csv": "account_id,parent_account_id,name,status\n",
            "logins.csv": "user_id,login_id,password,existing_user_id\n",
            "xlists.csv": "xlist_course_id,section_id,status\n",
            "xlist.csv": "xlist_course_id,section_id,status\n",
            "groups.csv": "group_id,group_category_id,course_id,name,status\n",
            "group_categories.csv": "group_category_id,account_id,course_id,category_name,status\n",
            "groups_membership.csv": "group_id,user_id,status\n",
            "group_membership.csv": "group_id,user_id,status\n",
            "admins.csv": "user_id,account_id,role_id,role,status\n",
            "user_observers.csv": "observer_id,student_id,status\n",
            "change_sis_ids.csv": "old_id,new_id,type\n",
        },
    ),
    "oneroster": (
        (
            "enrollments.csv",
            """sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role
e1,,,MATH,s,ada,student
""",
        ),
        {
            "users.csv": "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,email\n",
            "classes.csv": "sourcedId,status,dateLastModified,title,grades,courseSourcedId\n",
            "courses.csv": "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode\n",
            "orgs.csv": "sourcedId,status,dateLastModified,name,type,identifier\n",
            "academicSessions.csv": "sourcedId,status,dateLastModified,title,type,startDate,endDate\n",
            "demographics.csv": "sourcedId,status,dateLastModified,birthDate,sex\n",
            "lineItems.csv": "sourcedId,status,dateLastModified,title,classSourcedId\n",
            "results.csv": "sourcedId,status,dateLastModified,lineItemSourcedId,studentSourcedId\n",
            "roles.csv": "sourcedId,status,dateLastModified,userSourcedId,roleType,role\n",
        },
    ),
    "sds": (
        ("enrollments.csv", "classSourcedId,userSourcedId,role\nMATH,ada,student\n"),
        {
            "users.csv": "sourcedId,username,givenName,familyName,password,email,phone\n",
            "orgs.csv": "sourcedId,name,type,parentSourcedId\n",
            "classes.csv": "sourcedId,orgSourcedId,title,sessionSourcedIds,courseSourcedId\n",
            "courses.csv": "sourcedId,orgSourcedId,title,code\n",
            "roles.csv": "userSourcedId,orgSourcedId,role,sessionSourcedId,grade\n",
            "relationships.csv": "userSourcedId,relationshipUserSourcedId,relationshipRole\n",
            "academicSessions.csv": "sourcedId,title,type,schoolYear,startDate,endDate\n",
        },
    ),
    "sds_v1": (
        ("StudentEnrollment.csv", "Section SIS ID,Student SIS ID\nMATH,ada\n"),
        {
            "School.csv": "SIS ID,Name,School Number\n",
            "Section.csv": "SIS ID,School SIS ID,Section Name,Section Number\n",
            "Student.csv": "SIS ID,School SIS ID,Username,Email\n",
            "Teacher.csv": "SIS ID,School SIS ID,Username,Email\n",
            "TeacherRoster.csv": "Section SIS ID,SIS ID\n",
        },
    ),
    "clever": (
        ("enrollments.csv", "School_id,Section_id,Student_id\ns,MATH,ada\n"),
        {
            "schools.csv": "School_id,School_name,School_number\n",
            "sections.csv": "School_id,Section_id,Teacher_id,Name,Grade\n",
            "students.csv": "School_id,Student_id,Student_number,Student_email\n",
            "teachers.csv": "School_id,Teacher_id,Teacher_number,Teacher_email\n",
            "staff.csv": "School_id,Staff_id,Staff_email\n",
        },
    ),
    "d2l": (
        (
            "8-Enrollments.csv",
            "type,action,child_code,role_name,parent_code\nenrollment,CREATE,ada,Learner,MATH\n",
        ),
        {
            "7-Users.csv": "type,action,username,org_defined_id,first_name,last_name,password,is_active,role_name,email\n",
            "5-Offerings.csv": "type,action,code,name,start_date,end_date,is_active,department_code\n",
            "6-Sections.csv": "type,action,code,name,start_date,end_date,is_active,offering_code\n",
            "1-Other.csv": "type,action,code,name,start_date,end_date,is_active\n",
        },
    ),
    "blackboard": (
        (
            "memberships.txt",
            "EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY|ROLE|ROW_STATUS\nMATH|ada|Student|ENABLED\n",
        ),
        {
            "persons.txt": "EXTERNAL_PERSON_KEY|USER_ID|FIRSTNAME|LASTNAME|EMAIL\n",
            "courses.txt": "EXTERNAL_COURSE_KEY|COURSE_ID|COURSE_NAME|TERM_KEY\n",
            "terms.txt": "EXTERNAL_TERM_KEY|NAME|START_DATE\n",
        },
    ),
}


@pytest.mark.parametrize("folder", ["", "export/", "export\\2026\\"])
@pytest.mark.parametrize("system", EXPORTS)
def test_the_siblings_of_an_export_are_passed_over_and_named(system, folder):
    (name, text), siblings = EXPORTS[system]
    filled = {n: header + "x" + ",x" * header.count(",") + "\n" for n, header in siblings.items()}
    files = {folder + n: content for n, content in {**filled, name: text}.items()}

    info, rows = read(archive(files))

    shown = folder.replace("\\", "/")
    assert (info.format, rows) == (system, 1)
    assert names_of(info) == ([shown + name], sorted(shown + n for n in siblings))
    assert all("without enrollments" in reason for _, reason in info.passed_over)


def test_a_sibling_is_none_although_its_email_and_the_option_make_it_complete():
    (_, users) = next(iter(EXPORTS["canvas"][1].items()))
    files = {"users.csv": users, "term.csv": "email\nada@example.org\n"}

    info, rows = read(archive(files), FileOptions(course_id=KEY))

    assert (names_of(info), rows) == ((["term.csv"], ["users.csv"]), 1)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("users.csv", f"user,course_id\nada,{KEY}\n", id="ours"),
        pytest.param("courses.csv", CANVAS, id="enrollments"),
        pytest.param(
            "users.csv",
            "user_id,login_id,status,course_id,role\nada,ada,active,MATH,student\n",
            id="both",
        ),
        pytest.param("sections.csv", "School_id,Section_id,Student_id\ns,M,a\n", id="clever"),
    ],
)
def test_a_file_with_enrollments_is_read_whatever_its_name(name, text):
    info, rows = read(archive({name: text}))

    assert (names_of(info), rows) == (([name], []), 1)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("list.csv", "user_id,login_id,first_name,last_name,email,status"),
        ("users.csv", "name,address"),
        ("users.csv", ""),
    ],
)
def test_a_sibling_has_both_the_name_and_the_header(name, header):
    assert sibling_kind(name, header) is None
    with pytest.raises(UnreadableFile) as refusal:
        read(archive({name: f"{header}\n1,2\n", "a.csv": OURS}))
    assert refusal.value.code == "unknown_columns"


def test_an_archive_of_siblings_alone_says_what_is_missing():
    siblings = EXPORTS["canvas"][1]

    with pytest.raises(UnreadableFile) as refusal:
        read(archive({name: siblings[name] for name in ("users.csv", "courses.csv")}))

    assert (refusal.value.code, refusal.value.is_malformed) == ("empty", False)
    assert refusal.value.message == (
        "the archive contains no request: courses.csv is not read (a file of canvas without "
        "enrollments), and 1 more were passed over; add the file of enrollments"
    )


@pytest.mark.parametrize(
    ("manifest", "text", "enrollments", "passed_over"),
    [
        (
            "manifest.csv",
            "propertyName,value\noneroster.version,1.1\nfile.enrollments,bulk\n",
            EXPORTS["oneroster"][0],
            ["note.txt", "other.csv"],
        ),
        ("manifest.json", "{}", EXPORTS["d2l"][0], ["other.csv", "note.txt"]),
    ],
)
def test_what_a_manifest_leaves_out_is_named(manifest, text, enrollments, passed_over):
    name, rows = enrollments
    files = {manifest: text, name: rows, "other.csv": "a,b\n1,2\n", "note.txt": "x"}

    info, _ = read(archive(files))

    assert names_of(info) == ([name], passed_over)


@pytest.mark.parametrize(
    ("second", "format_"), [(CANVAS, "canvas"), (OURS, "mixed"), ("x.json", "mixed")]
)
def test_the_format_of_several_files_is_mixed(second, format_):
    files = {"a.csv": CANVAS, "b.csv": second}
    if second == "x.json":
        files = {"a.csv": CANVAS, "b.json": f'[{{"user": "ada", "course_id": "{KEY}"}}]'}

    assert read(archive(files))[0].format == format_


# --- files of systems and programs --------------------------------------------------------

NOISE = [
    "Thumbs.db",
    "export/THUMBS.DB",
    "ehthumbs.db",
    "desktop.ini",
    "export/Desktop.ini",
    "~$term.xlsx",
    "export/~$x.docx",
    ".DS_Store",
    "export/._term.csv",
    "__MACOSX/._term.csv",
    "export/__MACOSX/x.csv",
    "$RECYCLE.BIN/x.csv",
    "System Volume Information/x.dat",
    ".git/config",
    ".~lock.term.csv#",
    "Icon\r",
    "export\\Thumbs.db",
    "export\\",
    "export/",
]


@pytest.mark.parametrize("name", NOISE)
def test_files_of_systems_and_programs_are_passed_over(name):
    info, rows = read(archive({name: b"", "term.csv": OURS}))

    assert (names_of(info), rows) == ((["term.csv"], []), 1)


@pytest.mark.parametrize("name", ["README.txt", "export/readme.md", "ReadMe", "read_me.html"])
def test_a_text_for_readers_is_passed_over_and_named(name):
    info, rows = read(archive({name: "user,course_id\nx,y\n", "term.csv": OURS}))

    assert (names_of(info), rows) == ((["term.csv"], [name]), 1)


# --- names --------------------------------------------------------------------------------


def test_a_backslash_separates_folders():
    info, rows = read(archive({"export\\term.csv": OURS}))

    assert (names_of(info), rows) == ((["export/term.csv"], []), 1)


@pytest.mark.parametrize(
    "name",
    [
        "..\\term.csv",
        "export\\..\\..\\term.csv",
        "../term.csv",
        "\\term.csv",
        "\\\\server\\term.csv",
        "C:\\term.csv",
        "c:term.csv",
        "a/../term.csv",
    ],
)
def test_a_name_that_leads_elsewhere_refuses_the_archive(name):
    with pytest.raises(UnreadableFile) as refusal:
        read(archive({name: OURS, "good.csv": OURS}))

    assert (refusal.value.code, refusal.value.is_malformed) == ("malformed_zip", True)


def test_two_names_that_a_backslash_makes_equal_are_refused():
    with pytest.raises(UnreadableFile, match="two files of one name"):
        read(archive({"a/term.csv": OURS, "a\\term.csv": OURS}))


# --- records ------------------------------------------------------------------------------


class Pipe(io.RawIOBase):
    """A stream that cannot seek, as a pipe."""

    def __init__(self):
        self.written = bytearray()

    def writable(self):
        return True

    def write(self, data):
        self.written += data
        return len(data)


def streamed(name, *, zip64):
    pipe = Pipe()
    with (
        zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as out,
        out.open(name, "w", force_zip64=zip64) as member,
    ):
        member.write(OURS.encode())
    return io.BytesIO(bytes(pipe.written))


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("name", ["term.csv", "-"])
def test_an_archive_that_was_streamed_is_read(name, zip64):
    info, rows = read(streamed(name, zip64=zip64))

    assert (names_of(info), rows) == (([name], []), 1)


def with_zip64_end(monkeypatch):
    """Returns an archive with the end records of ZIP64, as writers of long archives make them."""
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 0)
    return archive({"term.csv": OURS})


def test_the_end_records_of_zip64_are_read(monkeypatch):
    packed = with_zip64_end(monkeypatch)

    assert b"PK\x06\x06" in packed.getvalue()
    assert read(packed)[1] == 1


@pytest.mark.skipif(shutil.which("zip") is None, reason="needs the program zip")
@pytest.mark.parametrize("source", ["pipe", "folder"])
def test_what_zip_writes_to_a_pipe_is_read(source, tmp_path):
    (tmp_path / "term.csv").write_text(OURS)
    command = ["zip", "-q", "-", "-"] if source == "pipe" else ["zip", "-q", "-r", "-", "."]

    done = subprocess.run(
        command, input=OURS.encode(), cwd=tmp_path, capture_output=True, check=True
    )

    info, rows = read(io.BytesIO(done.stdout))
    assert (info.format, rows) == ("native", 1)


def test_the_directory_of_zip64_is_bounded_before_it_is_read(monkeypatch):
    packed = with_zip64_end(monkeypatch)
    body = bytearray(packed.getvalue())
    end = body.rindex(b"PK\x06\x06")
    body[end + 40 : end + 48] = (2_000_000).to_bytes(8, "little")

    with pytest.raises(FileTooLarge, match=f"{zip_reader.MAX_MEMBERS} files"):
        read(io.BytesIO(bytes(body)))


def test_one_file_may_not_unpack_to_too_much_beside_another_that_does_not():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("readme.txt", bytes(1_000_000), zipfile.ZIP_STORED)
        out.writestr("a.csv", OURS + "\n" * 5_000_000)

    with pytest.raises(FileTooLarge, match=r"a\.csv decompresses to more than 200 times"):
        read(packed)


# --- as stored ----------------------------------------------------------------------------


def test_files_are_stored_with_those_that_were_passed_over():
    files = (ArchiveMember("a.csv", 0, "csv", "canvas", "h", "canvas", 7),)
    passed_over = (PassedOverFile("b.csv", "why"),)

    assert decode_files(encode_files(files, passed_over)) == (files, passed_over)
    assert encode_files((), ()) is None
    assert decode_files(None) == ((), ())
    assert decode_files([["a.csv", 0, "csv", "native", None, None]])[0][0].rows is None
