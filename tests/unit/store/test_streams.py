"""Open streams to Glance are limited, and a composition can't stand still half-way."""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from registry_glance.registry.errors import Unavailable
from registry_glance.store.streams import StreamLimit

PATIENCE_S = 10.0
NO_WAIT_S = 0.01


def test_as_many_streams_as_allowed_are_open_at_once() -> None:
    limit = StreamLimit(3, NO_WAIT_S)

    with contextlib.ExitStack() as held:
        for _ in range(3):
            held.enter_context(limit.hold())
        with pytest.raises(Unavailable):
            limit.acquire()

    limit.acquire(3)


def test_a_stream_is_given_back_when_the_block_fails() -> None:
    limit = StreamLimit(2, NO_WAIT_S)

    for _ in range(5):
        with pytest.raises(ValueError, match="broken"), limit.hold(2):
            raise ValueError("broken")

    limit.acquire(2)


def test_who_gets_no_turn_takes_nothing() -> None:
    limit = StreamLimit(2, NO_WAIT_S)
    limit.acquire()

    for _ in range(3):
        with pytest.raises(Unavailable), limit.hold(2):
            pytest.fail("one stream is taken")

    limit.acquire()


def test_a_composition_takes_both_streams_or_none() -> None:
    limit = StreamLimit(2, NO_WAIT_S)
    limit.acquire()

    with pytest.raises(Unavailable), limit.hold(2):
        pass

    limit.acquire()  # the other one was not taken
    limit.release(2)
    with limit.hold(2):
        pass


def test_a_composition_that_waits_is_not_overtaken() -> None:
    limit = StreamLimit(2, PATIENCE_S)
    order = []
    limit.acquire()

    def take(what: str, streams: int) -> None:
        with limit.hold(streams):
            order.append(what)

    threads = []
    for what, streams in (("composition", 2), ("upload", 1)):
        threads.append(threading.Thread(target=take, args=(what, streams)))
        threads[-1].start()
        time.sleep(0.1)
    assert order == []
    limit.release()
    for thread in threads:
        thread.join(PATIENCE_S)

    assert order == ["composition", "upload"]


def test_more_than_there_are_is_refused_in_time() -> None:
    began = time.monotonic()

    with pytest.raises(Unavailable):
        StreamLimit(2, NO_WAIT_S).acquire(3)

    assert time.monotonic() - began < PATIENCE_S


def test_a_waiting_request_goes_on_as_soon_as_a_stream_is_free() -> None:
    limit = StreamLimit(2, PATIENCE_S)
    limit.acquire(2)
    waiting = threading.Thread(target=limit.acquire)
    waiting.start()

    limit.release()

    waiting.join(PATIENCE_S)
    assert not waiting.is_alive()


def test_a_limit_that_allows_no_composition_is_refused() -> None:
    with pytest.raises(ValueError, match="2 streams"):
        StreamLimit(1, 1.0)


def test_eight_composers_on_eight_streams_all_finish() -> None:
    """On a Glance with as many threads as streams, eight that each held one and wanted another stood still for ever."""
    limit = StreamLimit(8, PATIENCE_S)
    glance_threads = threading.BoundedSemaphore(8)
    together = threading.Barrier(8)
    finished = []

    def compose(number: int) -> None:
        together.wait(PATIENCE_S)
        for _ in range(10):
            with limit.hold(2):
                # The PUT is open while the parts are read.
                assert glance_threads.acquire(timeout=PATIENCE_S)
                time.sleep(0.0005)
                assert glance_threads.acquire(timeout=PATIENCE_S)
                glance_threads.release(2)
        finished.append(number)

    composers = [threading.Thread(target=compose, args=(number,)) for number in range(8)]
    for composer in composers:
        composer.start()
    for composer in composers:
        composer.join(PATIENCE_S)

    assert sorted(finished) == list(range(8))
