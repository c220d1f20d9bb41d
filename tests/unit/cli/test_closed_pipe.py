"""A command whose output is no longer read ends as other programs do: by SIGPIPE, silently."""

import os
import signal
import subprocess
import sys

import pytest

from tests.support.scripted_server import ID, Answer
from tests.support.service_processes import ENROLL


def run_with_closed_stdout(words, folder):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [*ENROLL, *words],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
            env={**os.environ, "ENROLL_DATA_DIR": str(folder)},
        )
    finally:
        os.close(writer)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGPIPE")
@pytest.mark.parametrize("words", [["--help"], ["outcomes", "--help"], ["doctor", "--settings"]])
def test_a_closed_pipe_ends_a_command(words, tmp_path):
    ended = run_with_closed_stdout(words, tmp_path)

    assert (ended.returncode, ended.stderr) == (-signal.SIGPIPE, b"")


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_closed_pipe_ends_a_download(service, tmp_path, more):
    service.on("GET", f"/submissions/{ID}/outcomes", Answer(200, "user,outcome\nada,enrolled\n"))

    words = ["outcomes", ID, *more, "--url", service.url, "--key", "K"]
    ended = run_with_closed_stdout(words, tmp_path)

    assert (ended.returncode, ended.stderr) == (-signal.SIGPIPE, b"")
