"""Renders the pages: templates that escape every value, with a strict Content-Security-Policy."""

import secrets
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from falcon.asgi import Request, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from api_gateway.auth.caller import Caller
from api_gateway.console import words
from api_gateway.console.navigation import CONSOLE_PATH, entries_for, may_use
from api_gateway.console.sessions.forms import TOKEN_FIELD
from api_gateway.console.sessions.sessions import ConsoleSession
from api_gateway.http.problems import Problem
from enrollment.domain.codes import Code
from schemas.fields import is_course_key
from schemas.submissions import caller_name

HTML_TYPE = "text/html; charset=utf-8"
#: Nothing is loaded but what the page names with its nonce, nothing inline runs, and pages of
#: others can neither frame it nor receive its forms.
_POLICY = (
    "default-src 'none'; script-src 'nonce-{0}'; style-src 'nonce-{0}'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_NONCE_BYTES = 16


class Renderer:
    """Renders templates of this package. It keeps them compiled."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("api_gateway.console", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters |= {
            "number": words.grouped,
            "moment": words.moment,
            "span": words.span,
            "caller": caller_name,
            "segment": lambda text: quote(text, safe=""),
            "outcome": lambda code: words.OUTCOME_WORDS[Code(code)],
            "tone": lambda code: words.OUTCOME_TONES[Code(code)],
        }
        self._environment.tests["course_key"] = is_course_key
        self._environment.globals |= {
            "root": CONSOLE_PATH,
            "outcome_words": words.OUTCOME_WORDS,
            "state_words": words.STATE_WORDS,
            "result_words": words.RESULT_WORDS,
            "delivery_words": words.DELIVERY_WORDS,
            "report_words": words.REPORT_WORDS,
            "report_kinds": words.REPORT_KINDS,
            "difference_words": words.DIFFERENCE_WORDS,
            "disabled_words": words.DISABLED_WORDS,
        }

    def write(
        self,
        req: Request,
        resp: Response,
        template: str,
        *,
        status: HTTPStatus = HTTPStatus.OK,
        form_token: str = "",
        **values: Any,
    ) -> None:
        """Responds with a page; `form_token` replaces the token of the session in its forms."""
        session: ConsoleSession | None = req.context.get("session")
        nonce = secrets.token_urlsafe(_NONCE_BYTES)
        token = form_token or ("" if session is None else session.form_token)
        caller = None if session is None else session.caller
        page = self._environment.get_template(template).render(
            nonce=nonce,
            path=req.path,
            caller=caller,
            navigation=[] if caller is None else entries_for(caller),
            may=lambda route, method: _may(caller, route, method),
            form_token=lambda: _hidden(TOKEN_FIELD, token),
            **values,
        )
        resp.status = status
        resp.content_type = HTML_TYPE
        resp.set_header("Content-Security-Policy", _POLICY.format(nonce))
        resp.append_header("Vary", "Cookie")
        resp.text = page

    def write_problem(self, req: Request, resp: Response, problem: Problem) -> bool:
        """Responds with a problem as a page, if the request is for a page; returns whether."""
        if req.path != CONSOLE_PATH and not req.path.startswith(f"{CONSOLE_PATH}/"):
            return False
        body = problem.body()
        self.write(
            req,
            resp,
            "problem.html",
            status=problem.status,
            problem=body,
            request_id=req.context.get("request_id"),
        )
        return True


def _may(caller: Caller | None, route: str, method: str) -> bool:
    return caller is not None and may_use(caller, (route, method))


def _hidden(name: str, value: str) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(name, value)
