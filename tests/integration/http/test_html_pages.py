"""``/docs``, ``/docs/reasons`` and ``/openapi.json`` as browsers and caches see them."""

import ast
import re
from html import unescape
from pathlib import Path

import pytest

import api_gateway
import schemas
from api_gateway.openapi.html_pages import index_page
from api_gateway.openapi.problem_codes import meanings
from enrollment.domain.codes import Code, Reason
from schemas.findings import Rule
from schemas.messages.rule_texts import RULE_TEXTS
from tests.support import openapi_document


@pytest.mark.parametrize("path", ["/openapi.json", "/docs", "/docs/reasons"])
def test_what_describes_the_service_is_kept_by_clients_until_it_changes(small, path):
    first, second = small.get(path), small.get(path)
    tag = first.headers["etag"]
    same = small.get(path, headers={"If-None-Match": tag})

    assert first.content == second.content
    assert second.headers["etag"] == tag
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert small.get(path, headers={"If-None-Match": '"another"'}).status_code == 200
    assert small.call("HEAD", path).headers["etag"] == tag


@pytest.mark.parametrize("path", ["/docs", "/docs/reasons"])
def test_a_page_loads_nothing_and_runs_nothing(small, path):
    page = small.get(path)
    policy = page.headers["content-security-policy"]

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["x-content-type-options"] == "nosniff"
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert not re.search(
        r"<(script|style|link|img|iframe|object)|style=|\son\w+=|https?://", page.text
    )


def test_every_link_of_the_pages_leads_somewhere(small):
    for path in ("/docs", "/docs/reasons"):
        page = small.get(path).text
        names = set(re.findall(r' id="([^"]+)"', page))
        for link in re.findall(r'href="([^"]+)"', page):
            if link.startswith("#"):
                assert link[1:] in names
            else:
                assert small.get(link).status_code == 200


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


def test_the_index_lists_every_route(small):
    page = unescape(small.get("/docs").text)

    for path, method, operation in openapi_document.operations(openapi_document.document()):
        assert f"<code>{method.upper()}</code></td><td><code>{path}</code>" in page
        assert operation["summary"] in page


def test_what_a_page_shows_is_text_and_never_markup():
    hostile = {"paths": {"/<b>": {"<i>": {"summary": '"><script>alert(1)</script>'}}}}

    page = index_page(hostile)

    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page.lower()
