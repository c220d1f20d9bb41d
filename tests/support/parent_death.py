"""Runs a command that is killed when the process that started it ends.

    python -I -S parent_death.py PARENT_PID SIGNAL USER_ID COMMAND [ARGUMENT ...]

On Linux the kernel sends SIGNAL to the command when its parent ends in any way, so a killed test
run leaves no server behind. It is a program of its own, because `preexec_fn` is unsafe in a process
with threads. USER_ID -1 keeps the user.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, signal_number, user = (int(word) for word in sys.argv[1:4])
    command = sys.argv[4:]
    if user >= 0:  # before prctl: a change of user resets the signal
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before prctl
            sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
