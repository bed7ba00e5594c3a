"""What a replica remembers is bounded and safe to share between threads."""

from __future__ import annotations

import random
import threading

import pytest

from registry_glance.store.memory import Remembered


def weight(value: bytes) -> int:
    return len(value)


def test_what_was_put_is_there() -> None:
    memory: Remembered[str, int] = Remembered(2)

    memory.put("a", 1)

    assert (memory.get("a"), memory.get("b")) == (1, None)


def test_what_was_not_asked_for_the_longest_is_forgotten_first() -> None:
    memory: Remembered[str, int] = Remembered(2)
    memory.put("a", 1)
    memory.put("b", 2)
    memory.get("a")

    memory.put("c", 3)

    assert [memory.get(key) for key in "abc"] == [1, None, 3]


def test_putting_again_counts_as_asking() -> None:
    memory: Remembered[str, int] = Remembered(2)
    memory.put("a", 1)
    memory.put("b", 2)
    memory.put("a", 10)

    memory.put("c", 3)

    assert [memory.get(key) for key in "abc"] == [10, None, 3]


def test_weights_are_bounded_and_not_the_number_of_values() -> None:
    memory: Remembered[str, bytes] = Remembered(10, weight)
    for key in "abcde":
        memory.put(key, b"1")
    memory.put("f", b"1" * 7)

    assert [key for key in "abcdef" if memory.get(key)] == ["c", "d", "e", "f"]


def test_a_value_that_replaces_one_counts_instead_of_it() -> None:
    memory: Remembered[str, bytes] = Remembered(10, weight)
    for _ in range(20):
        memory.put("a", b"12345")
    memory.put("b", b"12345")

    assert (memory.get("a"), memory.get("b")) == (b"12345", b"12345")


def test_a_forgotten_value_makes_room() -> None:
    memory: Remembered[str, bytes] = Remembered(10, weight)
    memory.put("a", b"12345")
    memory.put("b", b"12345")

    memory.forget("a")
    memory.forget("never there")
    memory.put("c", b"12345")

    assert [memory.get(key) for key in "abc"] == [None, b"12345", b"12345"]


def test_a_value_heavier_than_the_capacity_is_not_kept_and_drives_nothing_out() -> None:
    memory: Remembered[str, bytes] = Remembered(10, weight)
    memory.put("a", b"12345")

    memory.put("b", b"1" * 11)

    assert (memory.get("a"), memory.get("b")) == (b"12345", None)


def test_a_value_too_heavy_does_not_leave_the_one_that_it_replaces() -> None:
    memory: Remembered[str, bytes] = Remembered(10, weight)
    memory.put("a", b"old")

    memory.put("a", b"1" * 11)

    assert memory.get("a") is None


@pytest.mark.parametrize("value", [b"1", b""])
def test_no_capacity_is_no_error(value: bytes) -> None:
    memory: Remembered[str, bytes] = Remembered(0, weight)

    memory.put("a", value)
    memory.forget("a")

    assert memory.get("a") is None


def test_threads_do_not_break_the_bound() -> None:
    memory: Remembered[int, bytes] = Remembered(100, weight)
    errors: list[Exception] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(2000):
                key = rng.randrange(50)
                action = rng.randrange(3)
                if action == 0:
                    memory.put(key, b"1" * rng.randint(1, 20))
                elif action == 1:
                    memory.forget(key)
                else:
                    memory.get(key)
        except Exception as exc:  # noqa: BLE001 - shown by the assertion
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    held = [value for key in range(50) if (value := memory.get(key))]
    assert errors == []
    assert sum(map(len, held)) == memory._weight <= 100
