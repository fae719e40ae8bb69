"""Token buckets: what may come at once, how long to wait, and that nobody pays for another."""

from hypothesis import given
from hypothesis import strategies as st

from api.limits import MOST_KEPT, Buckets, retry_after


def test_a_burst_may_come_at_once_and_then_as_many_as_the_rate_gives() -> None:
    buckets = Buckets(per_s=2, burst=4)
    assert [buckets.take("a", now=10.0) for _ in range(4)] == [0, 0, 0, 0]
    assert buckets.take("a", now=10.0) == 0.5
    assert buckets.wait_s("a", now=10.25) == 0.25
    assert buckets.take("a", now=10.5) == 0
    assert buckets.take("a", now=10.5) == 0.5
    assert buckets.take("b", now=10.5) == 0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200), st.floats(0.5, 20), st.integers(1, 10))
def test_never_more_pass_than_the_burst_and_the_rate_allow(gaps: list[float], per_s: float, burst: int) -> None:
    buckets, now, passed = Buckets(per_s, burst), 0.0, 0
    for gap in gaps:
        now += gap
        wait_s = buckets.take("a", now=now)
        passed += wait_s == 0
        assert passed <= burst + per_s * now + 1e-6
        if wait_s:  # who waits as long as told passes
            assert buckets.wait_s("a", now=now + wait_s + 1e-6) == 0


def test_who_has_not_asked_for_longest_is_forgotten_first() -> None:
    buckets = Buckets(per_s=0.001, burst=1)
    buckets.take("first", now=0)
    for number in range(MOST_KEPT):
        buckets.take(str(number), now=0)
    assert buckets.wait_s("first", now=0) == 0
    assert buckets.wait_s(str(MOST_KEPT - 1), now=0) > 0


def test_the_header_is_in_whole_seconds_and_never_0() -> None:
    assert [retry_after(wait_s) for wait_s in (0.001, 1.0, 1.2)] == ["1", "1", "2"]
