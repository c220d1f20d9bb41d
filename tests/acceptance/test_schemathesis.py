"""Requests that the OpenAPI document describes, and some that it does not, from four callers.

`schemathesis.toml` says which and how many; CONTRIBUTING.md, how to run them by hand.
"""

from pathlib import Path

import httpx
import pytest
import schemathesis
from schemathesis.config import PhasesConfig, SchemathesisConfig
from schemathesis.engine import events, from_schema

from api_gateway.openapi import examples
from tests.support.servers import create_database, drop_database
from tests.support.service import Service

CONFIG = Path(__file__).parents[2] / "schemathesis.toml"
PUBLIC = {
    "isLive",
    "isReady",
    "getOpenApi",
    "getDocs",
    "getReasons",
    "getDocsStyle",
    "getCourseDetails",
    "getCourseDetailsV2",
    "getCourseDetailsV2Legacy",
}
LEARNER = PUBLIC | {"askEnrollment", "getOwnEnrollment", "listSubmissions", "getSubmission"}
LEARNER |= {"listRoles", "getMe", "listAccounts", "getEligibility", "listCatalog"}
SERVER = LEARNER - {"listRoles", "getMe", "listAccounts"} | {
    "submit",
    "listOutcomes",
    "listChanges",
    "listEnrollments",
    "putInvitation",
}
ADMIN = SERVER | {"putCourse", "patchCourses", "putLearner", "putCrosswalk", "bulkEnroll"}
ADMIN |= {"putCourseRole", "listAllowed", "createAllowed"}
#: Operations of which each caller must have had a successful answer, or nothing was tested.
REACHED = {"anonymous": PUBLIC, "learner": LEARNER, "server": SERVER, "admin": ADMIN}


@pytest.fixture(scope="module")
def service(tmp_path_factory, postgres_base_url, redis_base_url):
    """A gateway, a worker and the schedule, with PostgreSQL and Redis."""
    url = create_database(postgres_base_url)
    folder = tmp_path_factory.mktemp("service")
    settings = {"ENROLL_REDIS_URL": redis_base_url, "ENROLL_SIGNING_KEY": "k" * 32}
    with Service(folder, database_url=url, **settings) as made:
        yield made.start_all()
    drop_database(postgres_base_url, url)


@pytest.fixture(scope="module")
def headers(service):
    """Headers by caller; the learner and the course are those of the document's examples."""
    course = examples.NEW_COURSE_EXAMPLE | {"enrollment_end": None}
    learner = examples.LEARNER_EXAMPLE
    with service.http() as http:
        assert http.post("/courses", json=[course]).status_code == 200
        assert http.post("/learners", json=[learner]).status_code == 200
    key = secret(service, "keys", "create", "sis", "--scope", "enroll", "--scope", "read")
    token = secret(service, "tokens", "create", learner["username"])
    return {
        "anonymous": {},
        "learner": {"Authorization": f"JWT {token}"},
        "server": {"X-Edx-Api-Key": key},
        "admin": {"Authorization": f"Bearer {service.key}"},
    }


def secret(service, *words):
    """Returns the last line that an `enroll` command prints."""
    command = service.start(*words)
    assert command.process.wait() == 0, command.log()
    return command.said().split()[-1]


@pytest.mark.slow
@pytest.mark.timeout(600)  # a busy machine is no bug
@pytest.mark.parametrize("caller", REACHED)
def test_answers_are_those_of_the_document(service, headers, caller):
    config = SchemathesisConfig.from_path(CONFIG)
    config.projects.override.update(base_url=service.url, headers=headers[caller])
    if caller == "anonymous":  # all but the public operations answer 401, whatever is sent
        config.projects.override.phases = PhasesConfig.from_dict({"coverage": {"enabled": False}})
    # `from_url` would leave out the operation that gets the document
    document = httpx.get(f"{service.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document, config=config)
    described = (found.ok() for found in schema.get_all_operations())
    ids = {one.label: one.definition.raw["operationId"] for one in described}
    tested, reached, findings = set(), set(), []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            tested.add(event.recorder.label)
            reached |= successes_in(event.recorder)
            findings += failures_in(event.recorder)
        elif isinstance(event, events.NonFatalError):
            findings.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception

    assert findings == [], "\n\n".join(findings)
    assert tested >= set(ids)
    assert {ids[label] for label in reached} >= REACHED[caller]
    assert caller != "anonymous" or {ids[label] for label in reached} == PUBLIC


def successes_in(recorder):
    """Returns the operations that were answered with success."""
    labels = {case_id: node.value.operation.label for case_id, node in recorder.cases.items()}
    return {
        labels[case_id]
        for case_id, call in recorder.interactions.items()
        if call.response is not None
        and call.response.status_code < 300
        and labels[case_id].startswith(f"{call.request.method} ")  # OPTIONS is for everybody
    }


def failures_in(recorder):
    """Yields what was wrong with an answer, and the command that asks for it."""
    for checks in recorder.checks.values():
        for check in checks:
            if (found := check.failure_info) is not None:
                yield f"{recorder.label}: {found.failure}\n{found.code_sample}"
