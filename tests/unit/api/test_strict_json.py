"""Bodies are read to one meaning or refused with the place of what is wrong."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.strict_json import MAX_ERRORS, loads
from hpo.domain.errors import InvalidSpec, Malformed

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**300), 10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


def errors(text: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidSpec) as refused:
        loads(text.encode())
    return [(error.pointer, error.code) for error in refused.value.errors]


@given(value=PLAIN, ascii_only=st.booleans())
def test_plain_json_is_read_as_any_parser_reads_it(value: Any, ascii_only: bool) -> None:
    assert loads(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NaN", [("", "not_finite")]),
        ('{"a": [1, -Infinity]}', [("/a/1", "not_finite")]),
        ('[1e999, {"b": -1e400}]', [("/0", "out_of_range"), ("/1/b", "out_of_range")]),
        (f"[{'9' * 309}]", [("/0", "out_of_range")]),
        (f"[-{'9' * 5000}]", [("/0", "out_of_range")]),
        ('{"a": 1, "b": 2, "a": 1}', [("/a", "duplicate_key")]),
        ('{"x/~y": {"a": 1, "a": NaN}}', [("/x~1~0y/a", "duplicate_key")]),
        ('{"a": "\\ud800", "b": "\\u0000"}', [("/a", "lone_surrogate"), ("/b", "nul_character")]),
        ('{"o": {"\\udfff": [NaN]}}', [("/o", "lone_surrogate")]),
        ('[["\\ud83d"]]', [("/0/0", "lone_surrogate")]),
    ],
)
def test_what_is_refused_is_named_by_its_place(text: str, expected: list[tuple[str, str]]) -> None:
    assert errors(text) == expected


def test_an_escaped_pair_of_surrogates_is_a_character() -> None:
    assert loads(b'["\\ud83d\\ude00"]') == ["😀"]


def test_numbers_at_the_end_of_a_double_are_numbers() -> None:
    assert loads(b"[1.7976931348623157e308, 5e-324, -0.0]") == [1.7976931348623157e308, 5e-324, 0.0]
    (number,) = loads(b"[" + b"9" * 308 + b"]")
    assert math.isfinite(float(number))


def test_only_the_first_errors_are_told() -> None:
    assert len(errors(f"[{', '.join(['NaN'] * 100)}]")) == MAX_ERRORS


@pytest.mark.parametrize("body", [b"", b"{", b"[1,]", b"'a'", b"[01]", b"\xff", b"\xef\xbb\xbf[]", b"[" * 100_000])
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        loads(body)
