"""Files of other systems over HTTP: crosswalks, archives, forms; mended rows sent again."""

import csv
import gzip
import io
import json
import zipfile

import pytest

from tests.support.gateway import AUDIT, VERIFIED, fresh

CANVAS = "course_id,user_id,role,section_id,status\r\n"


@pytest.fixture
def source(gateway):
    """A source of its own, and a course behind its id MATH."""
    name = fresh("source")
    course_id = gateway.course(AUDIT, VERIFIED)
    answer = gateway.call(
        "PUT",
        f"crosswalks/{name}",
        gateway.admin,
        json=[{"kind": "course", "theirs": "MATH", "ours": course_id}],
    )
    assert (answer.status_code, answer.json) == (200, {"saved": 1})
    return name, course_id


def archive(files, **options):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, **options) as out:
        for name, content in files.items():
            out.writestr(name, content)
    return packed.getvalue()


def form(content, name="file.csv", media_type="application/octet-stream", **fields):
    parts = "".join(
        f'--xyz\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'
        for field, value in fields.items()
    )
    head = f'--xyz\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    body = content if isinstance(content, bytes) else content.encode()
    return (
        parts.encode()
        + head.encode()
        + f"Content-Type: {media_type}\r\n\r\n".encode()
        + body
        + b"\r\n--xyz--\r\n"
    )


FORM = "multipart/form-data; boundary=xyz"


def outcomes(gateway, status, query=""):
    path = status.json["links"]["outcomes"] + query
    return gateway.get(path, gateway.admin).json["outcomes"]


def told(gateway, status):
    return [
        (one["line"], one["user"], one["course_id"], one["outcome"])
        for one in outcomes(gateway, status)
    ]


def result_file(gateway, status, query="?outcome=refused,invalid"):
    answer = gateway.get(
        status.json["links"]["outcomes"] + query, gateway.admin, headers={"Accept": "text/csv"}
    )
    assert answer.status_code == 200, answer.text
    assert answer.text.startswith("\ufeff")
    return answer.text


# --- crosswalks --------------------------------------------------------------------------


def test_a_file_of_another_system_is_taken_unchanged(gateway, source):
    name, course_id = source
    ada, bob = fresh("u"), fresh("u")
    text = CANVAS + (
        f"MATH,{ada},student,,active\r\nMATH,{bob},student,,deleted\r\n"
        f"MATH,{fresh('u')},teacher,,active\r\nBIO,{ada},student,,active\r\n"
    )

    status = gateway.submit(text, query_string=f"source={name}&default_mode=verified")

    shown = status.json
    assert shown["format"] == "canvas"
    assert shown["columns"]["user_id"] == "learner"
    assert shown["options"] == {
        "source": name, "default_mode": "verified", "on_error": "continue",
    }  # fmt: skip
    found = outcomes(gateway, status)
    assert [one["outcome"] for one in found] == ["enrolled", "deactivated", "skipped", "refused"]
    assert found[3]["reason"] == "course_not_found"
    assert found[3]["message"].startswith("course_id: 'BIO' has no entry in the crosswalk")
    assert (found[0]["course_id"], found[0]["mode"]) == (course_id, "verified")
    assert (found[2]["reason"], found[2]["value"]) == ("role_not_learner", "teacher")
    assert found[2]["message"] == "role is teacher: only learners are enrolled and withdrawn."
    (error,) = found[3]["errors"]
    assert error.pop("message").startswith("course_id: 'BIO' has no entry in the crosswalk")
    assert error == {
        "field": "course_id",
        "kind": "course",
        "value": "BIO",
        "rule": "not_in_crosswalk",
    }
    assert (found[3]["user"], found[3]["course_id"]) == (ada, "BIO")


def test_what_is_missing_is_filled_in_sent_back_and_the_rows_sent_again(gateway, source):
    name, _ = source
    other, ada = gateway.course(AUDIT), fresh("u")
    text = (
        CANVAS
        + f"MATH,{ada},student,,active\r\nBIO,a;b,student,,active\r\nBIO,c|d,student,,active\r\n"
    )
    status = gateway.submit(text, query_string=f"source={name}")

    path = f"crosswalks/{name}/missing?submission={status.json['submission_id']}"
    missing = gateway.get(path, gateway.admin)
    assert missing.headers["content-disposition"] == f'attachment; filename="to-map-{name}.csv"'
    assert missing.text == "kind,theirs,ours\r\ncourse,BIO,\r\nlearner,a;b,\r\nlearner,c|d,\r\n"

    filled = missing.text.replace("BIO,", f"BIO,{other}").replace("a;b,", f"a;b,{ada}")
    saved = gateway.call(
        "PATCH",
        f"crosswalks/{name}",
        gateway.admin,
        body=filled,
        headers={"Content-Type": "text/csv"},
    )
    assert saved.json == {"saved": 2}
    assert gateway.get(path, gateway.admin).text == "kind,theirs,ours\r\nlearner,c|d,\r\n"

    again = gateway.submit(result_file(gateway, status), query_string=f"source={name}")
    assert again.json["format"] == "canvas"
    assert [one["outcome"] for one in outcomes(gateway, again)] == ["enrolled", "refused"]
    assert outcomes(gateway, again)[1]["reason"] == "learner_not_found"
    assert outcomes(gateway, again)[0]["user"] == ada


def test_a_crosswalk_is_read_back_as_it_was_written(gateway):
    name, course_id = fresh("source"), gateway.course(AUDIT)
    rows = [("learner", f"id{n:04}", fresh("u")) for n in range(5)] + [("course", "=C;", course_id)]
    body = "\ufeffOURS;Kind;theirs\n" + "".join(f'{o};{k};"{t}"\n' for k, t, o in rows)
    put = gateway.call(
        "PUT", f"crosswalks/{name}", gateway.admin, body=body.encode(),
        headers={"Content-Type": "text/csv"},
    )  # fmt: skip
    assert put.json == {"saved": 6}, put.text

    text = gateway.get(f"crosswalks/{name}", gateway.admin, headers={"Accept": "text/csv"}).text
    assert list(csv.reader(io.StringIO(text)))[1] == ["course", "'=C;", course_id]
    found, cursor = [], ""
    while cursor is not None:
        page = gateway.get(f"crosswalks/{name}?limit=4{cursor}", gateway.admin).json
        found += [(one["kind"], one["theirs"], one["ours"]) for one in page["entries"]]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert found == sorted(rows)
    back = gateway.call(
        "PUT", f"crosswalks/{name}", gateway.admin, body=text, headers={"Content-Type": "text/csv"}
    )
    assert back.json == {"saved": 6}
    gateway.call("PUT", f"crosswalks/{name}", gateway.admin, json=[])
    assert gateway.get(f"crosswalks/{name}", gateway.admin).json["entries"] == []


@pytest.mark.parametrize(
    ("media_type", "body", "found"),
    [
        ("application/json", '[{"kind":"x","theirs":"a","ours":"b"}]', ("kind", "one_of")),
        ("application/json", '[{"kind":"course","theirs":"a","ours":"b"}]', ("ours", "course_key")),
        ("application/json", '[{"kind":"learner","theirs":"a","ours":"b/c"}]', ("ours", "pattern")),
        ("application/x-ndjson", '{"kind":"learner","theirs":"","ours":"b"}', ("theirs", "length")),
        ("application/json", "{}", ("entries", "type")),
        ("text/csv", "kind,theirs\nlearner,a\n", ("ours", "required")),
        ("text/csv", "kind,theirs,ours\nlearner,a,b\nlearner,a,c\n", ("theirs", "duplicate")),
        ("text/csv", 'kind,theirs,ours\nlearner,"a,b\n', ("ours", "required")),
        ("text/csv", "kind,theirs,ours\nlearner,a,b\nlearner,c,\n", ("ours", "required")),
        ("text/csv", "x" * 200_000, ("", "length")),
        ("text/csv", '"' + "x\r" * 100_000, ("", "length")),
        ("text/csv", "kind,theirs,ours\nlearner," + "x" * 200_000, ("", "quote")),
        ("text/csv", b"kind,theirs,ours\nlearner,\xff,b\n", ("", "encoding")),
    ],
)
def test_entries_that_cannot_be_taken_are_named_and_none_is_taken(small, media_type, body, found):
    answer = small.call(
        "PUT", "crosswalks/bad", small.admin, body=body, headers={"Content-Type": media_type}
    )

    assert (answer.status_code, answer.json["code"]) == (400, "invalid_body")
    error = answer.json["errors"][0]
    assert (error["field"], error["rule"]) == found
    assert small.get("crosswalks/bad", small.admin).json["entries"] == []


def test_a_file_that_is_still_to_be_filled_in_is_no_crosswalk(gateway, source):
    name, _ = source
    unfilled = {
        "body": "kind,theirs,ours\r\ncourse,BIO,\r\n",
        "headers": {"Content-Type": "text/csv"},
    }
    put = gateway.call("PUT", f"crosswalks/{name}", gateway.admin, **unfilled)
    patch = gateway.call("PATCH", f"crosswalks/{name}", gateway.admin, **unfilled)

    assert put.status_code == 400
    assert patch.json == {"saved": 0}
    assert len(gateway.get(f"crosswalks/{name}", gateway.admin).json["entries"]) == 1


@pytest.mark.parametrize("name", ["a b", "-a", "x" * 101, "%C3%A4", "a%2Fb"])
def test_a_source_has_a_plain_name(small, name):
    for method in ("GET", "PUT"):
        answer = small.call(method, f"crosswalks/{name}", small.admin, json=[])
        assert answer.status_code in {400, 404}
    assert small.get("submissions", small.admin).json["submissions"] == []


def test_only_the_ids_of_the_submissions_own_source_are_missing(gateway, source):
    name, _ = source
    status = gateway.submit(CANVAS + "BIO,ada,student,,active\n", query_string=f"source={name}")
    number = status.json["submission_id"]

    for path, value, rule in (
        (f"crosswalks/other/missing?submission={number}", number, "mismatch"),
        (f"crosswalks/{name}/missing", None, "required"),
        (f"crosswalks/{name}/missing?submission=", None, "required"),
    ):
        refused = gateway.get(path, gateway.admin).json
        assert refused["code"] == "invalid_parameter"
        (error,) = refused["errors"]
        assert error.pop("message").startswith("submission")
        assert error == {"field": "submission", "value": value, "rule": rule}
    assert gateway.get(f"crosswalks/{name}/missing?submission=x", gateway.admin).status_code == 404
    path = f"crosswalks/{name}/missing?submission={number}"
    assert gateway.get(path, gateway.key("enroll")).status_code == 404


# --- rows that ask for nothing, and several records --------------------------------------


def test_skipped_rows_are_counted_filtered_and_in_the_result_file(gateway, source):
    name, _ = source
    users = [fresh("u") for _ in range(4)]
    text = (
        "sourcedId,status,classSourcedId,userSourcedId,role,beginDate,endDate\r\n"
        f"e1,,MATH,{users[0]},student,2024-09-01,2025-01-31\r\n"
        f"e2,,MATH,{users[1]},student,2099-09-01,2100-01-31\r\n"
        f"e3,,MATH,{users[2]},teacher,,\r\ne4,,MATH,{users[3]},student,,\r\n"
    )
    status = gateway.submit(text, query_string=f"source={name}")

    shown = status.json
    assert shown["result"] == "succeeded"
    counts = shown["counts"]
    assert (counts["total"], counts["skipped"], counts["enrolled"]) == (4, 3, 1)
    assert shown["reasons"] == {"not_current": 2, "role_not_learner": 1}
    path = shown["links"]["outcomes"]
    for query, lines in (("outcome=skipped", [2, 3, 4]), ("reason=not_current", [2, 3])):
        found = gateway.get(f"{path}?{query}", gateway.admin).json["outcomes"]
        assert [one["line"] for one in found] == lines
        assert {one["outcome"] for one in found} == {"skipped"}
    rows = list(csv.reader(io.StringIO(result_file(gateway, status, "?outcome=skipped"))))
    assert [row[-3:-1] for row in rows[1:]] == [
        ["skipped", "not_current"],
        ["skipped", "not_current"],
        ["skipped", "role_not_learner"],
    ]
    assert rows[1][-1] == "endDate is 2025-01-31: the record has ended, or is yet to begin."


def test_a_change_of_section_leaves_the_learner_where_she_is(gateway, source):
    name, course_id = source
    bob = fresh("u")
    head = "course_id,user_id,role,section_id,status\r\n"
    gateway.submit(f"{head}MATH,{bob},student,A,active\r\n", query_string=f"source={name}")
    rows = [f"MATH,{bob},student,B,active\r\n", f"MATH,{bob},student,A,deleted\r\n"]
    for ordered in (rows, rows[::-1]):
        status = gateway.submit(head + "".join(ordered), query_string=f"source={name}")
        (kept,) = [one for one in outcomes(gateway, status) if "reason" in one]
        assert (kept["outcome"], kept["reason"]) == ("unchanged", "kept_by_other_record")
        assert kept["message"].startswith("Another row of the file keeps the learner in the course")
    shown = gateway.get(f"enrollment/{bob},{course_id}", gateway.admin).json
    assert shown["is_active"] is True


# --- lines that mean many ----------------------------------------------------------------


def test_each_enrollment_of_a_line_has_its_outcome_and_can_be_sent_again_alone(gateway, source):
    name, course_id = source
    ada = fresh("u")
    text = f"username,firstname,course1,course2,course3,role3\n{ada},Ada,MATH,BIO,MATH,teacher\n"
    status = gateway.submit(text, query_string=f"source={name}")

    assert status.json["counts"]["total"] == 3
    assert told(gateway, status) == [
        (2, ada, course_id, "enrolled"),
        (2, ada, "BIO", "refused"),
        (2, ada, "MATH", "skipped"),
    ]
    failed = result_file(gateway, status, "?outcome=refused,skipped")
    rows = list(csv.reader(io.StringIO(failed)))
    assert rows[1][:6] == [ada, "Ada", "", "BIO", "", ""]
    assert rows[2][:6] == [ada, "Ada", "", "", "MATH", "teacher"]


# --- archives ----------------------------------------------------------------------------

MANIFEST = (
    "propertyName,value\r\nmanifest.version,1.0\r\noneroster.version,1.2\r\n"
    "file.enrollments,bulk\r\nfile.users,bulk\r\n"
)
ONEROSTER = (
    "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,"
    "primary,beginDate,endDate\r\n"
)


def send(gateway, body, media_type="application/zip", headers=None, **more):
    return gateway.post(
        "submissions",
        gateway.admin,
        body=body,
        headers={"Content-Type": media_type, **(headers or {})},
        **more,
    )


def test_a_oneroster_archive_is_read_by_its_manifest(gateway, source):
    name, course_id = source
    folder = "export/"
    ada = fresh("u")
    body = archive(
        {
            f"{folder}users.csv": "sourcedId,username\nx,y\n",
            f"{folder}manifest.csv": MANIFEST,
            f"{folder}enrollments.csv": ONEROSTER + f"e1,,,MATH,s,{ada},student,,,\r\n",
        }
    )
    status = gateway.submit(body, content_type="application/zip", query_string=f"source={name}")

    assert status.json["format"] == "oneroster"
    read, passed_over = status.json["files"]
    assert (read["name"], read["rows"]) == (f"{folder}enrollments.csv", 1)
    assert passed_over["name"] == f"{folder}users.csv"
    assert passed_over["passed_over"] == "the manifest makes this an archive of oneroster"
    assert told(gateway, status) == [(2, ada, course_id, "enrolled")]
    assert result_file(gateway, status, "").startswith("\ufeffsourcedId,status,")


def test_files_of_an_archive_are_read_in_the_order_of_their_names(gateway):
    course_id, ada, bob = gateway.course(AUDIT), fresh("u"), fresh("u")
    head = "user,course_id,is_active\n"
    body = archive(
        {
            "b.csv": head + f"{ada},{course_id},false\r{bob},{course_id},maybe",
            "a.csv": head + f"{ada},{course_id},true\n\n",
            "c.ndjson": json.dumps({"user": bob, "course_id": course_id}) + "\n",
            "__MACOSX/._a.csv": "junk",
            ".DS_Store": "junk",
            "d/empty.csv": head,
        }
    )
    status = gateway.submit(body, content_type="application/zip")

    assert told(gateway, status) == [
        (2, ada, course_id, "enrolled"),
        (5, ada, course_id, "deactivated"),
        (6, bob, course_id, "invalid"),
        (7, bob, course_id, "enrolled"),
    ]
    found = outcomes(gateway, status)
    assert [(one["file"], one["file_line"]) for one in found] == [
        ("a.csv", 2),
        ("b.csv", 2),
        ("b.csv", 3),
        ("c.ndjson", 1),
    ]
    assert [one["line"] for one in outcomes(gateway, status, "?file=b.csv")] == [5, 6]
    assert result_file(gateway, status, "?file=b.csv&outcome=invalid") == (
        "\ufeffuser,course_id,is_active,outcome,reason,message\r\n"
        f"{bob},{course_id},maybe,invalid,invalid_row,"
        "\"is_active: 'maybe' is neither true nor false: write true, false, 1, 0, yes or no.\"\r\n"
    )
    link = status.json["links"]["outcomes"]
    mixed = gateway.get(link, gateway.admin, headers={"Accept": "text/csv"})
    assert (mixed.status_code, mixed.json["code"]) == (400, "option_invalid")
    assert gateway.get(f"{link}?file=no.csv", gateway.admin).status_code == 400
    lines = gateway.get(link, gateway.admin, headers={"Accept": "application/x-ndjson"}).text
    assert json.loads(lines.splitlines()[-1])["file"] == "c.ndjson"


def test_an_archive_of_d2l_is_read_by_its_columns(gateway, source):
    name, course_id = source
    ada = fresh("u")
    body = archive(
        {
            "manifest.json": "{}",
            "8-Enrollments.csv": (
                f"type,action,child_code,role_name,parent_code\nenrollment,,{ada},Student,MATH\n"
            ),
            "1-Other.csv": "type,action,code,name\n",
        }
    )
    status = gateway.submit(body, content_type="application/zip", query_string=f"source={name}")

    assert told(gateway, status) == [(2, ada, course_id, "enrolled")]


def test_an_archive_of_two_systems_is_read_with_the_ids_of_each(gateway):
    theirs, ada = fresh("MATH"), fresh("u")
    ours = {name: gateway.course(AUDIT) for name in ("canvas", "blackboard")}
    for name, course_id in ours.items():
        entry = {"kind": "course", "theirs": theirs, "ours": course_id}
        gateway.call("PATCH", f"crosswalks/{name}", gateway.admin, json=[entry])
    canvas = CANVAS + f"{theirs},{ada},student,,active\r\nC-1,a;b,student,,active\r\n"
    blackboard = f"EXTERNAL_COURSE_KEY|EXTERNAL_PERSON_KEY\n{theirs}|{ada}\nC-1|c;d\n"
    native = f"user,course_id\n{fresh('u')},{ours['canvas']}\nC-1,C-1\n"
    files = {"a.csv": canvas, "b.csv": blackboard, "c.csv": native}
    status = gateway.submit(archive(files), content_type="application/zip")

    assert [(one["name"], one["format"], one["source"]) for one in status.json["files"]] == [
        ("a.csv", "canvas", "canvas"),
        ("b.csv", "blackboard", "blackboard"),
        ("c.csv", "native", None),
    ]
    assert "source" not in status.json["options"]
    assert [(one["course_id"], one["outcome"]) for one in outcomes(gateway, status)] == [
        (ours["canvas"], "enrolled"),
        ("C-1", "refused"),
        (ours["blackboard"], "enrolled"),
        ("C-1", "refused"),
        (ours["canvas"], "enrolled"),
        ("C-1", "invalid"),
    ]
    for name, learner in (("canvas", "a;b"), ("blackboard", "c;d")):
        path = f"crosswalks/{name}/missing?submission={status.json['submission_id']}"
        missing = gateway.get(path, gateway.admin)
        assert missing.text == f"kind,theirs,ours\r\ncourse,C-1,\r\nlearner,{learner},\r\n"
        assert gateway.get(path.replace(name, "other"), gateway.admin).status_code == 400


def test_an_id_that_is_the_email_of_nobody_is_still_to_be_mapped_and_registers_nobody(
    gateway, source
):
    name, course_id = source
    known, guest = f"{fresh('k')}@example.org", f"{fresh('g')}@example.org"
    user = gateway.person(email=known)
    text = CANVAS + f"MATH,{known},student,,active\r\nMATH,{guest},student,,active\r\n"
    status = gateway.submit(text, query_string=f"source={name}")

    found = outcomes(gateway, status)
    assert [(one["user"], one["outcome"], one.get("reason")) for one in found] == [
        (user, "enrolled", None),
        (guest, "refused", "learner_not_found"),
    ]
    assert gateway.get(f"learners/{guest}", gateway.admin).status_code == 404
    path = f"crosswalks/{name}/missing?submission={status.json['submission_id']}"
    assert gateway.get(path, gateway.admin).text == f"kind,theirs,ours\r\nlearner,{guest},\r\n"

    entry = {"kind": "learner", "theirs": guest, "ours": user}
    gateway.call("PATCH", f"crosswalks/{name}", gateway.admin, json=[entry])
    again = gateway.submit(result_file(gateway, status), query_string=f"source={name}")
    assert told(gateway, again) == [(2, user, course_id, "unchanged")]


def test_a_packed_archive_is_unpacked_first(gateway):
    course_id = gateway.course(AUDIT)
    body = gzip.compress(archive({"a.csv": f"user,course_id\n{fresh('u')},{course_id}\n"}))
    status = gateway.submit(
        body, content_type="application/zip", headers={"Content-Encoding": "gzip"}
    )

    assert status.json["counts"]["enrolled"] == 1


GOOD = {"a.csv": "user,course_id\nada,a/b/c\n"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(archive(GOOD)[:-30], 400, "malformed_zip", id="cut-off"),
        pytest.param(archive({"a.csv": ""}), 422, "empty", id="empty-file"),
        pytest.param(archive({"a.csv": "x" * 9_000_000}), 413, "too_large", id="bomb"),
    ],
)
def test_an_archive_that_cannot_be_read_is_refused_and_leaves_nothing(small, body, status, code):
    answer = send(small, body)

    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert small.get("submissions", small.admin).json["submissions"] == []


def test_a_fault_in_a_file_of_an_archive_names_the_file(small):
    answer = send(small, archive(GOOD | {"b.csv": "x,y\n1,2\n"}))

    assert answer.json["detail"].startswith("b.csv: ")


# --- forms -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("term.csv", lambda text: text.encode()),
        ("TERM.CSV.gz", lambda text: gzip.compress(text.encode())),
        ("term.zip", lambda text: archive({"a.csv": text})),
        ("term.xyz", lambda text: text.encode()),
    ],
)
def test_a_browsers_form_brings_a_file_and_its_options(gateway, name, pack):
    course_id, ada = gateway.course(AUDIT, VERIFIED), fresh("u")
    body = form(
        pack(f"user,course_id\n{ada},{course_id}\n"),
        name,
        "text/csv" if name.endswith("xyz") else "application/vnd.ms-excel",
        default_mode="verified",
        source="",
    )
    status = gateway.submit(body, content_type=FORM, query_string="on_error=abort")

    assert status.json["options"] == {"default_mode": "verified", "on_error": "abort"}
    assert outcomes(gateway, status)[0]["mode"] == "verified"


FILE = "user,course_id\nada,a/b/c\n"


@pytest.mark.parametrize(
    ("body", "content_type", "query", "status", "code"),
    [
        pytest.param(form(FILE), "multipart/form-data", "", 400, "malformed_form", id="boundary"),
        pytest.param(b"nothing", FORM, "", 400, "malformed_form", id="no-form"),
        pytest.param(form(FILE)[:-20], FORM, "", 400, "malformed_form", id="no-end"),
        pytest.param(b"--xyz--\r\n", FORM, "", 400, "malformed_form", id="no-file"),
        pytest.param(form(FILE, "a.exe"), FORM, "", 415, "unsupported_media_type", id="what"),
        pytest.param(form(FILE, colour="red"), FORM, "", 400, "option_invalid", id="unknown"),
        pytest.param(form(FILE, lane="fast"), FORM, "", 400, "option_invalid", id="value"),
        pytest.param(form(FILE, lane="bulk"), FORM, "lane=bulk", 400, "option_invalid", id="twice"),
        pytest.param(form(FILE, format="canvas"), FORM, "", 422, "unknown_columns", id="format"),
        pytest.param(form(FILE, lane="x" * 5_000), FORM, "", 400, "malformed_form", id="long"),
        pytest.param(form(""), FORM, "", 422, "empty", id="empty"),
        pytest.param(form("", ""), FORM, "", 400, "malformed_form", id="not-chosen"),
    ],
)
def test_a_form_that_cannot_be_read_is_refused_and_leaves_nothing(
    small, body, content_type, query, status, code
):
    answer = send(small, body, content_type, query_string=query)

    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    assert small.get("submissions", small.admin).json["submissions"] == []


def test_a_form_sent_again_under_its_key_is_taken_in_once_whatever_its_boundary(gateway):
    body, key = form(FILE, default_mode="audit"), {"Idempotency-Key": fresh("key")}
    first = send(gateway, body, FORM, key)
    again = send(gateway, body.replace(b"xyz", b"abcd"), FORM.replace("xyz", "abcd"), key)
    other = send(gateway, form(FILE, default_mode="honor"), FORM, key)

    assert again.headers["idempotency-replayed"] == "true"
    assert again.json["submission_id"] == first.json["submission_id"]
    assert other.json["code"] == "idempotency_key_reused"


def test_a_file_without_courses_is_for_the_course_beside_it(gateway):
    course_id, ada = gateway.course(AUDIT), fresh("u")
    text = f"{ada}@example.org,{ada},Ada A,GB\n"
    refused = send(gateway, text, "text/csv")
    assert (refused.status_code, refused.json["code"]) == (422, "course_missing")

    status = gateway.submit(form(text, course_id=course_id), content_type=FORM)

    assert status.json["format"] == "openedx_dashboard"
    assert told(gateway, status) == [(1, ada, course_id, "enrolled")]
    again = result_file(gateway, status, "")
    second = gateway.submit(
        again,
        query_string={"course_id": course_id} and f"course_id={course_id.replace('+', '%2B')}",
    )
    assert [one["outcome"] for one in outcomes(gateway, second)] == ["unchanged"]


def test_a_file_of_no_known_format_is_told_what_is_expected(small):
    answer = send(small, "student,class\nada,MATH\n", "text/csv")

    assert (answer.status_code, answer.json["code"]) == (422, "unknown_columns")
    error = answer.json["errors"][0]
    assert error["value"] == "student,class"
    assert error["expected"] == ["user or email", "course_id"]
    assert "`student,class`" in answer.json["detail"]
