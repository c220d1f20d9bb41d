"""The units of deploy/systemd, as systemd itself reads them, and the commands that they run."""

import os
import re
import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

import click
import pytest

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
UNITS = sorted(path for path in FOLDER.iterdir() if path.is_file())
SERVICES = [path for path in UNITS if path.suffix == ".service"]
HARDENING = FOLDER / "enroll-.service.d" / "hardening.conf"
PROGRAM = "/opt/enroll/bin/enroll"
#: What systemd calls "OK" is below 5; a unit without any hardening has 9.6.
MAX_EXPOSURE = 1.5
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="there is no systemd-analyze here")


def read(path):
    parser = RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser


@pytest.fixture
def copied(tmp_path):
    """The units in a folder of their own, with a program that this machine has."""
    folder = tmp_path / "units"
    shutil.copytree(FOLDER, folder)
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    return folder


def analyze(folder, *words):
    return subprocess.run(
        [ANALYZE, *words, "--no-pager"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong(copied, unit):
    """It prints what it does not know with exit status 0."""
    done = analyze(copied, "verify", str(copied / unit.name))

    about = [line for line in (done.stdout + done.stderr).splitlines() if str(copied) in line]
    assert (done.returncode, about) == (0, [])


@needs_systemd
def test_a_misspelt_key_is_found(copied):
    unit = copied / "enroll-beat.service"
    unit.write_text(unit.read_text().replace("Type=exec", "Type=exec\nProtectHomes=yes"))
    done = analyze(copied, "verify", str(unit))

    assert "ProtectHomes" in done.stderr


@needs_systemd
@pytest.mark.parametrize("name", ["enroll-gateway@8001", "enroll-worker@1", "enroll-beat", "enroll-migrate"])  # fmt: skip
def test_each_unit_gets_the_hardening(copied, name):
    done = analyze(copied, "security", "--offline=true", f"{name}.service")

    exposure = re.search(rf"exposure level for {re.escape(name)}\S*: ([0-9.]+)", done.stdout)
    assert exposure, done.stdout + done.stderr
    assert float(exposure.group(1)) <= MAX_EXPOSURE


@pytest.mark.parametrize("unit", SERVICES, ids=lambda path: path.name)
def test_each_unit_runs_an_existing_command(unit):
    from api_gateway.cli import main

    program, *words = read(unit)["Service"]["ExecStart"].split()
    assert program == PROGRAM
    assert unit.name.startswith("enroll-")  # else the hardening is not read for it
    command = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    known = {spelling for parameter in command.params for spelling in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_a_process_has_the_time_to_end_in_order():
    service = read(HARDENING)["Service"]
    assert service["KillSignal"] == "SIGTERM"
    assert int(service["TimeoutStopSec"]) >= 40


def test_keys_that_a_gateway_makes_are_in_the_one_folder_that_it_may_write():
    service = read(HARDENING)["Service"]
    assert service["StateDirectoryMode"] == "0700"
    assert service["Environment"] == f"ENROLL_DATA_DIR=/var/lib/{service['StateDirectory']}"


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is of Linux")
def test_the_program_needs_no_memory_that_is_written_and_run():
    """`MemoryDenyWriteExecute=yes`, by the kernel's own switch (Linux 6.3)."""
    deny = "import ctypes, os\nif ctypes.CDLL(None).prctl(65, 1, 0, 0, 0): os._exit(77)\n"
    imports = "import uvloop, httptools, orjson, psycopg, cryptography.fernet, api_gateway.app\n"
    runs = "import asyncio; uvloop.run(asyncio.sleep(0)); cryptography.fernet.Fernet.generate_key()"
    program = [sys.executable, "-c", deny + imports + runs]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip("this kernel has no such switch")
    assert done.returncode == 0, done.stderr
