"""The console log of an instance: the end of what its command wrote, as text."""

from __future__ import annotations

from typing import Final

MAX_CONSOLE_BYTES: Final = 100 * 1024
"""As Nova's other drivers have it."""


def console_text(log: bytes) -> str:
    """Return a log as text that Nova's API can put into JSON; what is no UTF-8 shows as replacement characters.

    A log that was cut in front may begin within a character; what is left of that is dropped.
    """
    start = 0
    while start < min(3, len(log)) and 0x80 <= log[start] < 0xC0:
        start += 1
    return log[start:].decode("utf-8", errors="replace")
