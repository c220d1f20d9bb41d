"""`deploy/compose.roles.yml` and the files of PostgreSQL that it runs."""

import os
import re
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from sqlalchemy.engine import make_url

from enrollment.runtime.setting_names import VARIABLES
from tests.support.binaries import postgres_programs

ROOT = Path(__file__).parents[2]
BASE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ROLES = yaml.safe_load((ROOT / "deploy" / "compose.roles.yml").read_text())["services"]
PASSWORDS = {f"POSTGRES_{role}_PASSWORD": f"pass '{role}" for role in ("MIGRATOR", "GATEWAY", "WORKER")}  # fmt: skip
FOLDER = "/docker-entrypoint-initdb.d/"


def scripts():
    """What the image of PostgreSQL runs in a new database, in its order."""
    mounts = [volume.split(":") for volume in ROLES["postgres"]["volumes"]]
    assert all(inside.startswith(FOLDER) and mode == "ro" for _, inside, mode in mounts)
    return [ROOT / outside for outside, _, _ in sorted(mounts, key=lambda mount: mount[1])]


def run(url, script, **environment):
    address = make_url(url)
    words = ["-h", address.host, "-p", str(address.port), "-U", address.username]
    return subprocess.run(
        [postgres_programs() / "psql", *words, "-d", address.database, "-f", script],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_process_has_its_role():
    users = {
        name: urlsplit(service["environment"]["ENROLL_DATABASE_URL"]).username
        for name, service in ROLES.items()
        if name != "postgres"
    }

    assert users == {
        "migrate": "enroll_migrator",
        "gateway": "enroll_gateway",
        "worker": "enroll_worker",
        "beat": "enroll_worker",
    }
    for name, service in ROLES.items():
        assert name in BASE
        if name != "postgres":
            url = service["environment"]["ENROLL_DATABASE_URL"]
            assert (urlsplit(url).hostname, urlsplit(url).path) == ("postgres", "/enroll")
            given = set(service["environment"]) - {"PGPASSWORD"}
            assert given <= set(VARIABLES)
    text = (ROOT / "deploy" / "compose.roles.yml").read_text()
    assert set(re.findall(r"\$\{(\w+):\?", text)) == set(PASSWORDS)


def test_a_new_database_gets_roles_with_these_passwords(postgres_url):
    for script in scripts():
        assert script.is_file()
        done = run(postgres_url, script, **PASSWORDS)
        assert done.returncode == 0, done.stderr

    plain = make_url(postgres_url).set(drivername="postgresql").render_as_string()
    with psycopg.connect(plain) as connection:
        stored = connection.execute(
            "SELECT rolname, rolpassword LIKE 'SCRAM-SHA-256$%', rolsuper OR rolcreaterole OR"
            " rolcreatedb FROM pg_authid WHERE rolname LIKE 'enroll\\_%' ORDER BY rolname"
        ).fetchall()
    assert stored == [
        ("enroll_gateway", True, False),
        ("enroll_migrator", True, False),
        ("enroll_worker", True, False),
    ]


@pytest.mark.parametrize("missing", sorted(PASSWORDS))
def test_a_password_that_is_missing_is_not_an_empty_one(postgres_url, missing):
    roles, passwords = scripts()
    run(postgres_url, roles)
    left = {name: value for name, value in PASSWORDS.items() if name != missing}

    assert run(postgres_url, passwords, **left).returncode != 0
