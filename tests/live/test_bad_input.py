"""Requests that no honest client sends: each is told what is wrong, changes nothing, and spoils nothing."""

from __future__ import annotations

import pytest

from tests.live.bad_requests import CASES, Bad
from tests.live.bench import (
    Bench,
)


@pytest.fixture(scope="module")
def begun(bench: Bench) -> Bench:
    """The bench, of which Glance was looked at."""
    bench.changes()
    return bench


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_bad_request_gets_its_status_and_error_body_and_spoils_nothing(case: Bad, begun: Bench) -> None:
    bench, target = begun, case.target
    if isinstance(target, str):
        target = target.replace("{layer}", bench.layer).replace("{manifest}", bench.image.digest)

    with bench.connect() as connection:
        answer = connection.exchange(case.method, target, case.headers, case.body)

        assert answer.status == case.status, answer
        assert "X-Injected" not in answer.headers
        if case.method != "HEAD":
            assert case.codes.issuperset(answer.codes), answer
        if answer.keeps_connection:
            assert connection.exchange("GET", "/v2/").status == 200
    bench.assert_serves()
    assert bench.changes() == []


def test_range_of_another_unit_and_several_ranges_are_ignored(bench: Bench) -> None:
    for text in ("lines=1-2", "bytes=0-1,5-6", "nonsense"):
        answer = bench.pusher.request("GET", f"/blobs/{bench.layer}", {"Range": text})

        assert (answer.status, answer.body) == (200, bench.image.layers[0])


def test_unsatisfiable_range_is_told_the_size(bench: Bench) -> None:
    answer = bench.pusher.request("GET", f"/blobs/{bench.layer}", {"Range": "bytes=1000-"})

    assert (answer.status, answer.headers["Content-Range"]) == (416, "bytes */1000")


def test_method_not_allowed_names_those_that_are(bench: Bench) -> None:
    answer = bench.pusher.request("PATCH", "/manifests/v1")

    assert set(answer.headers["Allow"].replace(" ", "").split(",")) == {"GET", "HEAD", "PUT", "DELETE"}
