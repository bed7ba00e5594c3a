"""The gate that keeps data below the threads: who comes when it is full, and that places are given back."""

from __future__ import annotations

import contextlib

import pytest
from flask import Response

from registry_glance.api.gate import DataGate
from registry_glance.registry.errors import BlobUnknown, Unavailable


def fail() -> Response:
    raise BlobUnknown


def test_more_than_there_are_places_are_told_to_come_again() -> None:
    gate = DataGate(2)

    with gate.passage(), gate.passage(), pytest.raises(Unavailable), gate.passage():
        pass

    with gate.passage(), gate.passage():
        pass


def test_a_download_holds_its_place_until_it_was_sent() -> None:
    gate = DataGate(1)

    response = gate.until_sent(Response)

    with pytest.raises(Unavailable), gate.passage():
        pass
    response.close()
    with gate.passage():
        pass


def test_a_download_that_fails_holds_no_place() -> None:
    gate = DataGate(1)

    for _ in range(2):
        with contextlib.suppress(BlobUnknown):
            gate.until_sent(fail)

    with gate.passage():
        pass
