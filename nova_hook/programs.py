"""Where a container's command may lie, as ``execvp`` looks for it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from typing import Final

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What the Docker Engine gives to a container whose image sets no PATH."""


def candidates(program: str, environment: Iterable[str], folder: str) -> list[str]:
    """Return the absolute paths to try, in order.

    Args:
        program: The first word of the command.
        environment: Of the container, each ``NAME=value``; the last PATH counts.
        folder: The container's working directory; empty means ``/``.
    """
    folder = folder or "/"
    if "/" in program:
        return [posixpath.join(folder, program)]
    variables = dict(entry.partition("=")[::2] for entry in environment)
    folders = variables.get("PATH", DEFAULT_PATH).split(":")
    return [posixpath.join(folder, entry, program) for entry in folders]
