"""The command line, and something for it to speak to."""

import threading
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from api_gateway.auth.api_keys import digest_of
from api_gateway.cli import main
from enrollment.runtime.setting_names import CLIENT_VARIABLES, VARIABLES
from enrollment.storage.credentials import api_keys
from enrollment.storage.engine.sessions import sessions_for
from tests.support.scripted_server import Scripted


@pytest.fixture
def service():
    scripted = Scripted()
    thread = threading.Thread(target=scripted.server.serve_forever, args=(0.01,))
    thread.start()
    yield scripted
    scripted.server.shutdown()
    scripted.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def no_settings(monkeypatch):
    for name in (*VARIABLES, *CLIENT_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def enroll(tmp_path) -> Callable[..., Result]:
    def run(*words: object, **more: object) -> Result:
        runner = CliRunner(env={"ENROLL_DATA_DIR": str(tmp_path / "data")})
        return runner.invoke(main, [str(word) for word in words], **more)

    return run


@pytest.fixture
def rows(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("user,course_id\nada,c\n")
    return file


@pytest.fixture
def scopes_of(tmp_path) -> Callable[[str], set[str] | None]:
    """What a key may do by the records in the data folder; None if they do not know it."""

    def look(text: str) -> set[str] | None:
        sessions = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
        with sessions.read() as session:
            key = api_keys.find_by_digest(session, digest_of(text))
        sessions.dispose()
        return None if key is None else set(key.scopes)

    return look
