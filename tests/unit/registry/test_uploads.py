"""What a chunk says of its place."""

from __future__ import annotations

import pytest

from registry_glance.registry.errors import RangeInvalid
from registry_glance.registry.uploads import parse_content_range


@pytest.mark.parametrize(
    ("text", "content_length", "start"),
    [
        ("0-9", 10, 0),
        ("10-19", 10, 10),
        ("10-19", None, 10),
        ("0-0", 1, 0),
        (" 0-9 ", 10, 0),
        ("bytes 0-9", 10, 0),
        ("bytes=0-9", 10, 0),
        ("bytes 0-9/20", 10, 0),
        ("0-9/*", 10, 0),
        ("5000000000-5000000009", 10, 5_000_000_000),
        pytest.param("7-6", 0, 7, id="an empty last chunk"),
    ],
)
def test_content_range_says_where_a_chunk_starts(text: str, content_length: int | None, start: int) -> None:
    assert parse_content_range(text, content_length)[0] == start


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "0",
        "0-",
        "-9",
        "a-b",
        "0--9",
        "-1-9",
        "0-9-10",
        "0 - 9",
        "0-9,10-19",
        "0-9/",
        "0-9/a",
        "bits 0-9",
        "0x0-0x9",
        "\u0660-\u0669",
        "+0-9",
        "1" * 19 + "-" + "1" * 19,
        "9" * 100_000,
    ],
)
def test_malformed_content_range_is_refused_in_a_short_message(text: str) -> None:
    with pytest.raises(RangeInvalid) as caught:
        parse_content_range(text, None)

    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "content_length"),
    [("0-9", 9), ("0-9", 11), ("0-9", 0), ("9-0", 10), ("9-0", None), ("9-8", None), ("9-8", 1), ("9-7", 0)],
)
def test_content_range_that_contradicts_its_length_is_refused(text: str, content_length: int | None) -> None:
    with pytest.raises(RangeInvalid):
        parse_content_range(text, content_length)
