"""The Flask application of the baseline, served by gunicorn."""

import csv
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, jsonify, request
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from marshmallow import EXCLUDE, Schema, ValidationError, fields

from bench.naive.tasks import POOL, Tasks


class EnrollmentSchema(Schema):
    """One request."""

    class Meta:
        unknown = EXCLUDE

    user = fields.String(required=True)
    course_id = fields.String(required=True)
    mode = fields.String(load_default="audit")
    is_active = fields.Boolean(load_default=True)
    requested_at = fields.String(load_default="")


SCHEMA = EnrollmentSchema()


def make_app(tasks: Tasks) -> Flask:
    """Returns an application that accepts one request as JSON or many as CSV, a task for each."""
    app = Flask("naive")

    @app.get("/")
    def health() -> str:
        return "ok"

    @app.post("/enrollment")
    def enrollment() -> tuple[Response, HTTPStatus]:
        task = tasks.enroll.delay(SCHEMA.load(request.get_json()))
        return jsonify(task_id=task.id), HTTPStatus.ACCEPTED

    @app.post("/submissions")
    def submissions() -> tuple[Response, HTTPStatus]:
        rows = csv.DictReader(request.get_data(as_text=True).splitlines())
        sent = [tasks.enroll.delay(SCHEMA.load(row)) for row in rows]
        return jsonify(total=len(sent)), HTTPStatus.ACCEPTED

    @app.errorhandler(ValidationError)
    def invalid(error: ValidationError) -> tuple[Response, HTTPStatus]:
        return jsonify(error.messages), HTTPStatus.BAD_REQUEST

    return app


class Server(BaseApplication):  # type: ignore[misc]
    """Runs one process with threads on an inherited socket."""

    def __init__(self, app: Flask, fd: int) -> None:
        self._app, self._fd = app, fd
        super().__init__()

    def load_config(self) -> None:
        settings: dict[str, Any] = {
            "bind": f"fd://{self._fd}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": POOL,
            "keepalive": 75,
            "timeout": 120,
            "loglevel": "warning",
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._app
