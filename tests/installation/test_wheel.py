"""The project as a wheel: it is whole, and runs in an environment made of the locks alone."""

import sys
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.support.locks import PROJECT, ROOT, path_of
from tests.support.packages import (
    IMPORT_ALL,
    LACKS_LOCAL,
    LACKS_TRACES,
    SOURCES,
    copy_project,
    install_options,
    run,
    run_well,
)
from tests.support.service_processes import LOCAL_EXTRA, Stack, needs_proc, open_course, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

COURSE = "course-v1:DemoX+WHEEL+2026"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """The sdist and the wheel that is made of it, by what is locked."""
    project = copy_project(tmp_path_factory.mktemp("built") / "clone")
    run_well([sys.executable, "-m", "build", "--no-isolation"], folder=project)
    return {path.suffix: path for path in (project / "dist").iterdir()}


def files_of_packages() -> set[str]:
    """Every file that belongs to the program."""
    return {
        path.relative_to(ROOT).as_posix()
        for name in SOURCES
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_packages(built):
    with zipfile.ZipFile(built[".whl"]) as wheel:
        packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    wanted = {name for name in files_of_packages() if not name.startswith("requirements/")}
    assert packed == wanted
    assert any(name.endswith("versions/0001_first.py") for name in packed)
    assert {".csv", ".json", ".mako", ".py"} <= {Path(name).suffix for name in packed}


def test_the_sdist_holds_what_installing_from_it_needs(built):
    with tarfile.open(built[".gz"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}

    documents = {"README.md", "LICENSE", "SECURITY.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert files_of_packages() | documents | {"Makefile", "pyproject.toml"} <= names


def test_the_wheel_says_what_it_is(built):
    with zipfile.ZipFile(built[".whl"]) as wheel:
        (about,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        said = Parser().parsestr(wheel.read(about).decode())
        text = wheel.read(about.replace("METADATA", "licenses/LICENSE"))

    assert text == (ROOT / "LICENSE").read_bytes()
    assert said["License-Expression"] == PROJECT["license"]
    assert said["Requires-Python"] == PROJECT["requires-python"]
    assert said["Description-Content-Type"] == "text/markdown"
    assert set(said.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert said.get_all("Classifier") == PROJECT["classifiers"]


@needs_proc
def test_production_lacks_only_the_local_extra_and_with_it_everything_runs(
    built, later_releases, tmp_path
):
    """The runtime lock first, as in the image; then the lock with the extra."""
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"

    def install(*words: object) -> None:
        command = [python, "-m", "pip", "install", *words]
        run_well(command, folder=tmp_path, environment=later_releases)

    install(*install_options(), "-r", path_of("runtime"))
    install("--no-deps", "--no-index", built[".whl"])
    run_well([python, "-m", "pip", "check"], folder=tmp_path)
    check_production(python, tmp_path)
    install(*install_options(), "-r", path_of("local"))
    run_well([python, "-m", "pip", "check"], folder=tmp_path)
    check_up(folder / "bin" / "enroll", tmp_path)


def check_production(python: Path, folder: Path) -> None:
    """One module for each extra lacks a package, and `enroll up` says so of its own."""
    lacking = run_well([python, "-c", IMPORT_ALL], folder=folder).split()
    assert lacking == [*LACKS_LOCAL, *LACKS_TRACES]
    refused = run([python.with_name("enroll"), "up"], folder=folder)
    assert refused.returncode == 2
    assert LOCAL_EXTRA in refused.stderr
    assert "Traceback" not in refused.stderr


def check_up(enroll: Path, folder: Path) -> None:
    """The whole stack in an empty folder: samples, pages, and one enrollment."""
    up = Stack(folder, "--demo")
    up.program, up.cwd = [str(enroll)], folder / "empty"
    up.cwd.mkdir()
    try:
        up.start()
        with up.http() as http:
            assert "<html" in http.get(f"{up.url}/docs").text
            assert http.put(f"/courses/{COURSE}", json=open_course(COURSE)).is_success
            wish = {"user": "ada", "course_details": {"course_id": COURSE}}
            answer = http.post("/enrollment", json=wish, headers={"Prefer": "wait=30"})
            assert (answer.status_code, answer.json()["is_active"]) == (200, True), answer.text
        assert up.end() == 0, up.log()
        assert list(up.cwd.iterdir()) == []
    finally:
        up.kill()
        wait_until(lambda: not up.left(), up.log)
