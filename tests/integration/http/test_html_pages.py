"""``/docs``, ``/docs/reasons`` and ``/openapi.json`` as browsers and caches see them."""

import ast
import gzip
import json
import re
import shlex
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from falcon.routing import CompiledRouter

import api_gateway
import schemas
from api_gateway.openapi.pages.reference import reference_page
from api_gateway.openapi.problem_codes import meanings
from api_gateway.routes import ROUTES
from enrollment.domain.codes import Code, Reason
from schemas.findings import Rule
from schemas.messages.rule_texts import RULE_TEXTS
from tests.support import openapi_document


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/reasons", "/docs/style.css"])
def test_what_describes_the_service_is_kept_by_clients_until_it_changes(small, path):
    first, second = small.get(path), small.get(path)
    tag = first.headers["etag"]
    same = small.get(path, headers={"If-None-Match": tag})

    assert first.content == second.content
    assert second.headers["etag"] == tag
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert small.get(path, headers={"If-None-Match": '"another"'}).status_code == 200
    assert small.call("HEAD", path).headers["etag"] == tag


@pytest.mark.parametrize(
    ("accepted", "is_gzipped"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("gzip; q=1.0", True),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("identity", False),
        ("x-gzip", False),
        ("", False),
    ],
)
def test_a_page_is_compressed_for_those_who_take_it(small, accepted, is_gzipped):
    plain = small.get("/docs", headers={"Accept-Encoding": "identity"})
    asked = small.get("/docs", headers={"Accept-Encoding": accepted})

    assert asked.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
    assert (asked.headers.get("content-encoding") == "gzip") is is_gzipped
    assert (asked.headers["etag"] != plain.headers["etag"]) is is_gzipped
    assert (gzip.decompress(asked.content) if is_gzipped else asked.content) == plain.content
    assert not is_gzipped or len(asked.content) < 100_000
    tags = {"Accept-Encoding": accepted, "If-None-Match": asked.headers["etag"]}
    assert small.get("/docs", headers=tags).status_code == 304


@pytest.mark.parametrize("path", ["/docs", "/docs/reasons"])
def test_a_page_runs_nothing_and_loads_its_style_sheet_only(small, path):
    page = small.get(path)
    policy = page.headers["content-security-policy"]

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "unsafe" not in policy
    assert not re.search(
        r"<(script|style|img|iframe|object|form)|<[^>]*(style=|\son\w+=)", page.text
    )
    assert not re.search(r'(href|src)="(?![/#])', page.text)
    assert re.findall(r"<link[^>]*>", page.text) == [
        '<link rel="stylesheet" href="/docs/style.css">'
    ]
    assert small.get("/docs/style.css").headers["content-type"] == "text/css; charset=utf-8"


def test_every_link_of_the_pages_leads_somewhere(small):
    pages = {path: small.get(path).text for path in ("/docs", "/docs/reasons")}
    names = {path: set(re.findall(r' id="([^"]+)"', page)) for path, page in pages.items()}
    for path, page in pages.items():
        assert len(names[path]) == page.count(' id="'), "an anchor is there twice"
        for link in set(re.findall(r'href="([^"]+)"', page)):
            target, _, anchor = link.partition("#")
            if anchor:
                assert anchor in names[target or path], link
            else:
                assert small.get(target).status_code == 200, link


def test_every_reason_and_outcome_is_explained_at_an_anchor_of_its_name(small):
    names = re.findall(r' id="([^"]+)"', small.get("/docs/reasons").text)

    assert len(names) == len(set(names))
    assert {*Reason, *Code} <= set(names)


def test_every_rule_of_a_row_is_explained_with_a_remedy(small):
    page = unescape(small.get("/docs/reasons").text)

    assert 'href="#rules"' in page
    for rule in Rule:
        assert f' id="rule-{rule}"' in page
        assert RULE_TEXTS[rule].remedy.replace("{expected}", "the one in expected") in page
    assert "{" not in page


def test_every_reason_rule_and_code_has_a_meaning_and_a_remedy(small):
    page = unescape(small.get("/docs/reasons").text)
    rows = re.findall(r'<tr id="([^"]+)">(.*?)</tr>', page)
    cells = {name: re.findall("<td>(.*?)</td>", cells) for name, cells in rows}
    outcomes = {code.value for code in Code}
    names = {*Reason, *(f"rule-{rule}" for rule in Rule), *(set(meanings()) - outcomes)}

    assert [name for name in sorted(names) if not all(cells[name][1:3])] == []


def test_every_code_that_the_sources_name_is_explained(small):
    names = set(re.findall(r' id="([^"]+)"', small.get("/docs/reasons").text))
    found = {
        code for folder in (api_gateway, schemas) for code in codes_in(Path(folder.__file__).parent)
    }

    assert {"unknown_columns", "option_invalid", "too_large", "not_authenticated"} <= found
    assert found - names == set()
    assert set(meanings()) <= names


def codes_in(folder):
    """Literal codes of problems and of unreadable files."""
    places = {"Problem": 1, "bad_request": 0, "UnreadableFile": 0}
    for source in folder.rglob("*.py"):
        for call in ast.walk(ast.parse(source.read_text())):
            name = getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""
            if name in places and len(call.args) > places[name]:
                given = call.args[places[name]]
                if isinstance(given, ast.Constant):
                    yield given.value


def test_the_address_of_a_problem_leads_to_its_explanation(small):
    page = small.get("/docs/reasons").text
    for answer in (small.get("/nothing"), small.call("PUT", "/livez"), small.get("courses")):
        path, _, name = answer.json["type"].partition("#")
        assert path == "/docs/reasons"
        assert f' id="{name}"' in page


def sections_of(page):
    """The text of each section of a page, by the anchor of its heading."""
    parts = re.split(r'<h3 id="([^"]+)">', page)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_reference_has_all_of_every_operation(small):
    document = openapi_document.document()
    page = small.get("/docs").text
    sections = {name: unescape(text) for name, text in sections_of(page).items()}

    for path, method, operation in openapi_document.operations(document):
        name = operation["operationId"]
        section = sections[name]
        assert f'<a href="#{name}">' in page.partition("<main")[0]
        assert f">{method.upper()}</span> <code>{path}</code>" in section
        assert operation["summary"] in section
        for parameter in operation["parameters"]:
            given = openapi_document.resolved(document, parameter)
            assert f"<code>{given['name']}</code>" in section, name
        bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
        for body in bodies:
            assert all(f"<code>{kind}</code>" in section for kind in body.get("content", {})), name
        assert all(f"<code>{status}</code>" in section for status in operation["responses"])
        for code in re.findall(
            r"`(\w+)`: ", operation["responses"].get("400", {}).get("description", "")
        ):
            assert f'href="/docs/reasons#{code}"' in section, (name, code)


def test_the_reference_has_every_schema_with_every_member(small):
    sections = sections_of(small.get("/docs").text)

    for name, schema in openapi_document.document()["components"]["schemas"].items():
        section = sections[f"schema-{name}"]
        assert all(f"<code>{member}</code>" in section for member in schema.get("properties", {}))
        assert "examples" not in schema or f"Example of {name}" in section


def test_the_commands_of_the_reference_lead_to_their_operations(small):
    """Each is a request of that route and method, with credentials where they are needed."""
    sections = sections_of(small.get("/docs").text)
    router = CompiledRouter()
    for template in ROUTES.values():
        router.add_route(template, object())

    for path, method, operation in openapi_document.operations(openapi_document.document()):
        shown = re.search(
            r"aria-label=\"curl command[^>]*><code>(.*?)</code>",
            sections[operation["operationId"]],
            re.DOTALL,
        )
        words = shlex.split(unescape(shown[1]))
        asked = words[words.index("-X") + 1] if "-X" in words else "GET"
        (url,) = (word for word in words if word.startswith("$ENROLL_URL"))
        plain = re.sub(r"\{(\w+)\}", lambda name: openapi_document.SAMPLES[name[1]], path)
        assert asked == method.upper()
        found = router.find(unquote(urlsplit(url.removeprefix("$ENROLL_URL")).path))
        assert found[3] == router.find(plain)[3], url
        keyless = {} in operation["security"]
        assert ("X-Edx-Api-Key: $ENROLL_API_KEY" in words) is not keyless
        if "Content-Type: application/json" in words:
            json.loads(words[words.index("-d") + 1])


def test_what_a_page_shows_is_text_and_never_markup():
    hostile = '"><script>alert(1)</script><b>'
    document = openapi_document.document()
    document["info"]["title"] = document["info"]["description"] = hostile
    for _, _, operation in openapi_document.operations(document):
        operation["summary"] = operation["description"] = hostile
        operation["operationId"] += hostile
    for schema in document["components"]["schemas"].values():
        schema["description"] = hostile
        schema["examples"] = [hostile]
    document["components"]["schemas"][hostile] = {
        "type": hostile,
        "properties": {hostile: {"enum": [hostile], "default": hostile}},
    }

    page = reference_page(document)

    assert "alert(1)" in page
    assert not re.search(r"<(script|b)>", page)
    assert not re.search(r'="[^"]*">?<script', page)
