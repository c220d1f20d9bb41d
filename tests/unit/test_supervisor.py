"""Real processes under the supervisor: what dies is started again, what ends leaves nobody."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from api_gateway.local_stack import parent_death
from api_gateway.local_stack.supervisor import Program, Supervisor

ROOT = Path(__file__).parents[2]
PATIENCE = 20.0

#: Writes its process id, then waits for its end.
SLEEPER = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER
#: Has a child of its own in its process group, and waits for neither.
FAMILY = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {0!r}, sys.argv[1]]); {0}"


def program(name: str, code: str, *arguments: object) -> Program:
    return Program(name, [sys.executable, "-c", code, *map(str, arguments)])


def numbers(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


def attend_until(supervisor: Supervisor, true: Callable[[], object]) -> None:
    for _ in range(int(PATIENCE / 0.02)):
        if true():
            return
        assert supervisor.supervise(0.02)
    pytest.fail("it did not come to pass")


def environment() -> dict[str, str]:
    return dict(os.environ)


def test_what_dies_is_started_again(tmp_path):
    pids = tmp_path / "pids"
    with Supervisor([program("one", SLEEPER, pids)], environment()) as supervisor:
        attend_until(supervisor, lambda: len(numbers(pids)) == 1)
        os.kill(numbers(pids)[0], signal.SIGKILL)
        attend_until(supervisor, lambda: len(numbers(pids)) == 2)

    assert not any(is_alive(pid) for pid in numbers(pids))


def test_what_dies_at_once_is_started_again_later_and_later():
    clock = iter(range(0, 10_000, 100))
    supervisor = Supervisor([program("one", "pass")], {}, clock=lambda: next(clock))
    child = supervisor.children[0]
    pauses = []
    for now in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 99.0):
        child.start(0.0 if now == 99.0 else now)
        assert child.process is not None
        child.process.wait()
        child.reap(now)
        pauses.append(round(child.starts_at - now, 3))

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.1]


def test_processes_are_told_to_end_in_their_order(tmp_path):
    ended = tmp_path / "ended"
    pids = tmp_path / "pids"
    code = (
        "import os, signal, sys, time\n"
        "def end(*_):\n"
        "    open(sys.argv[2], 'a').write(sys.argv[3] + '\\n')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "open(sys.argv[1], 'a').write(f'{os.getpid()}\\n')\n"
        "time.sleep(600)\n"
    )
    programs = [program(name, code, pids, ended, name) for name in ("gateway", "worker")]
    with Supervisor(programs, environment()) as supervisor:
        attend_until(supervisor, lambda: len(numbers(pids)) == 2)

    assert sorted(ended.read_text().split()) == ["gateway", "worker"]
    assert not any(is_alive(pid) for pid in numbers(pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_attending(number):
    with Supervisor([], environment()) as supervisor:
        before = threading.Timer(0.05, os.kill, (os.getpid(), number))
        before.start()
        while supervisor.supervise(PATIENCE):
            pass
        before.join()


def test_who_does_not_end_in_time_is_killed(tmp_path):
    pids = tmp_path / "pids"
    with Supervisor(
        [program("one", STUBBORN, pids)], environment(), stop_seconds=0.05
    ) as supervisor:
        attend_until(supervisor, lambda: numbers(pids))

    assert not is_alive(numbers(pids)[0])


def test_asked_again_while_stopping_it_waits_for_nobody(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import os, signal\n"
        "signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getppid(), signal.SIGINT))\n"
        + SLEEPER.replace("time.sleep(600)", "[time.sleep(600) for _ in range(9)]")
    )
    with Supervisor([program("one", code, pids)], environment(), stop_seconds=1_000) as supervisor:
        attend_until(supervisor, lambda: numbers(pids))

    assert not is_alive(numbers(pids)[0])


def test_what_a_dead_process_left_behind_is_killed_with_it(tmp_path):
    pids = tmp_path / "pids"
    with Supervisor([program("one", FAMILY.format(SLEEPER), pids)], environment()) as supervisor:
        attend_until(supervisor, lambda: len(numbers(pids)) == 2)
        parent = supervisor.children[0].process
        assert parent is not None
        left = next(pid for pid in numbers(pids) if pid != parent.pid)
        parent.kill()
        attend_until(supervisor, lambda: not is_alive(left))


def test_a_guard_that_died_is_replaced(tmp_path):
    pids = tmp_path / "pids"
    with Supervisor([program("one", SLEEPER, pids)], environment()) as supervisor:
        attend_until(supervisor, lambda: numbers(pids))
        first = supervisor._guard
        first.kill()
        attend_until(supervisor, lambda: supervisor._guard is not first)


def test_nobody_outlives_a_killed_supervisor(tmp_path):
    pids = tmp_path / "pids"
    code = (
        "import os, sys\n"
        "from api_gateway.local_stack.supervisor import Program, Supervisor\n"
        "program = Program('one', [sys.executable, '-c', sys.argv[1], sys.argv[2]])\n"
        "with Supervisor([program], dict(os.environ)) as supervisor:\n"
        "    supervisor.supervise(600)\n"
    )
    family = FAMILY.format(STUBBORN)
    supervisor = subprocess.Popen([sys.executable, "-c", code, family, str(pids)], cwd=ROOT)
    wait_until(lambda: len(numbers(pids)) == 2)
    supervisor.kill()
    supervisor.wait()

    wait_until(lambda: not any(is_alive(pid) for pid in numbers(pids)))


def test_a_command_is_not_run_for_a_parent_that_is_gone(monkeypatch):
    ran = []
    monkeypatch.setattr(os, "execv", lambda *command: ran.append(command))
    monkeypatch.setattr(parent_death, "ctypes", NoTies())

    parent_death.run(os.getppid() + 1, ["/bin/true"])
    parent_death.run(os.getppid(), ["/bin/true"])

    assert ran == [("/bin/true", ["/bin/true"])]


def test_the_guard_kills_who_was_named_and_not_taken_back(tmp_path):
    pids = tmp_path / "pids"
    sleepers = [
        subprocess.Popen([sys.executable, "-c", SLEEPER, str(pids)], start_new_session=True)
        for _ in range(2)
    ]
    wait_until(lambda: len(numbers(pids)) == 2)
    kept, lost = sleepers

    parent_death.kill_orphaned_groups([f"+{kept.pid}\n", f"+{lost.pid}\n", f"-{kept.pid}\n"])

    assert lost.wait() == -signal.SIGKILL
    assert kept.poll() is None
    kept.kill()
    kept.wait()
    parent_death.kill_group(kept.pid)


class NoTies:
    """Stands in for the C library: the test itself is not to die with its parent."""

    def CDLL(self, _name):  # noqa: N802
        return self

    def prctl(self, *_):
        return 0


def wait_until(true: Callable[[], object]) -> None:
    for _ in range(int(PATIENCE / 0.02)):
        if true():
            return
        threading.Event().wait(0.02)
    pytest.fail("it did not come to pass")
