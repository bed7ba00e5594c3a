"""Run a command that gets SIGTERM when the process that started it dies, however that dies.

Used as a program: ``python tether.py PARENT_PID COMMAND [ARGUMENT...]``. It becomes the command, so
the process id stays the same. Source: prctl(2), PR_SET_PDEATHSIG; execve(2) keeps it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for the signal, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(f"the parent {parent} ended before {command[0]} started")
    os.execvp(command[0], command)  # noqa: S606 - replacing this process is the point


if __name__ == "__main__":
    main()
