"""What is printed becomes lines: none lost within the bounds, none that holds anything up, and cuts that are told."""

import itertools
import os
import sys
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workers.conftest import MakeRunner, wait_for
from tests.unit.workers.fake_api import FakeApi, assignment, lease_lost, unreachable
from workers.child import Child, environment
from workers.log_sender import LogSender
from workers.logbook import FULL_BYTES, FULL_LINES, LINE_BYTES, Lines, Logbook
from workers.pool import ChildPool


def _lines(*chunks: bytes) -> list[str]:
    lines = Lines()
    found = [line for chunk in chunks for line in lines.feed(chunk)]
    rest = lines.rest()
    return found if rest is None else [*found, rest]


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]), max_size=20)),
       st.lists(st.integers(0, 200)))  # fmt: skip
def test_lines_are_the_same_however_the_stream_is_cut(lines: list[str], cuts: list[int]) -> None:
    stream = "".join(f"{line}\n" for line in lines).encode()
    edges = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    assert _lines(*(stream[a:b] for a, b in itertools.pairwise(edges))) == lines


def test_of_a_progress_bar_the_last_state_is_kept() -> None:
    assert _lines(b"10 %\r50 %\r100 %\nend\r\n") == ["100 %", "end"]
    assert _lines(b"10 %\r", b"50 %", b"\r", b"100 %", b"\n") == ["100 %"]
    assert _lines(b"10 %\r", b"\n") == ["10 %"]


def test_a_long_line_is_cut_and_says_by_how_much() -> None:
    (line,) = _lines(*[b"x" * 1000] * 10, b"\n")
    assert line == "x" * LINE_BYTES + " … [6000 bytes cut]"
    (line,) = _lines(b"\xff" * 3000 + b"\n")  # each becomes three bytes
    assert len(line.encode()) <= 4096
    assert line.endswith("bytes cut]")


def test_what_no_database_can_hold_is_replaced() -> None:
    assert _lines(b"a\x00b\xffc\n") == ["a\ufffdb\ufffdc"]


def test_a_full_book_drops_the_oldest_and_its_positions_tell() -> None:
    book = Logbook(assignment())
    for number in range(FULL_LINES + 5):
        book.add("out", str(number))
    batch = book.batch()
    assert batch is not None
    assert (batch.lines[0].position, batch.lines[0].text) == (6, "5")
    wide = Logbook(assignment())
    for _ in range(300):
        wide.add("out", "x" * LINE_BYTES)
    assert len(wide) == FULL_BYTES // LINE_BYTES


def test_batches_take_every_line_once_and_in_order() -> None:
    book, seen = Logbook(assignment()), list[int]()
    for number in range(1200):
        book.add("err", "y" * (number % 900))
    while (batch := book.batch()) is not None:
        seen += [line.position for line in batch.lines]
        book.sent(batch)
    assert seen == list(range(1, 1201))


def test_lines_that_were_dropped_while_they_were_sent_are_not_taken_from_the_rest() -> None:
    book = Logbook(assignment())
    book.add("out", "first")
    batch = book.batch()
    assert batch is not None
    for number in range(FULL_LINES):
        book.add("out", str(number))
    book.sent(batch)
    assert len(book) == FULL_LINES


def test_an_outage_loses_nothing_and_an_ended_attempt_is_sent_afterwards() -> None:
    api = FakeApi()
    back, tried = Event(), Event()

    def away(_: object) -> None:
        tried.set()
        if not back.is_set():
            raise unreachable()

    api.hooks["log"] = away
    sender = LogSender(api, every_s=0.01)
    book = sender.open(assignment())
    book.add("out", "before")
    assert tried.wait(10)
    book.add("out", "during")
    sender.close(book)
    sender.finish(within_s=0)
    assert api.printed() == []
    back.set()
    sender.finish(within_s=10)
    assert api.printed() == ["before", "during"]


def test_what_the_api_will_not_have_is_dropped() -> None:
    api = FakeApi()

    def refuse(_: object) -> None:
        raise lease_lost()

    api.hooks["log"] = refuse
    sender = LogSender(api, every_s=60)
    book = sender.open(assignment())
    book.add("out", "late")
    sender.close(book)
    sender.finish(within_s=10)
    assert len(book) == 0


def test_both_streams_of_a_run_and_its_workers_facts_arrive_with_the_right_attempt(
    make_runner: MakeRunner, shared_pool: ChildPool
) -> None:
    first, second = assignment(1, config={"talk_at": 2}), assignment(2, config={"talk_at": 1})
    api = FakeApi([first, second])
    runner = make_runner(api, shared_pool)
    runner.drain("cpu")
    runner.finish_logs(within_s=10)
    for trial, step in ((first, 2), (second, 1)):
        mine = {
            stream: [
                line.text
                for (lease, _), line in sorted(api.logs.items(), key=lambda item: item[0][1])
                if lease == trial.lease.token and line.stream == stream
            ]
            for stream in ("out", "err", "ladder")
        }
        assert mine["out"] == [f"step {step} on stdout", "no end"]
        assert mine["err"] == [f"step {step} on stderr"]
        assert mine["ladder"][0] == "attempt 1: claimed by worker w1"
        assert mine["ladder"][1] == "trains from nothing to step 3"
        assert mine["ladder"][-1] == "ended: complete, at step 3"


def test_a_failure_and_what_was_printed_before_it_are_told(make_runner: MakeRunner, shared_pool: ChildPool) -> None:
    api = FakeApi([assignment(1, config={"raise_at": 2})])
    runner = make_runner(api, shared_pool)
    runner.drain("cpu")
    runner.finish_logs(within_s=10)
    assert "words before the end" in api.printed("err")
    told = api.printed("ladder")
    assert any(line.startswith("user_error: ") for line in told)
    assert told[-1] == "ended: user_error, at step 1"


def test_a_child_that_prints_without_end_is_not_held_up_and_can_be_switched() -> None:
    script = "import sys, itertools\nfor n in itertools.count():\n    print('x' * 60, n)\n"
    seen = list[str]()
    child = Child(environment(os.environ, 1), (sys.executable, "-c", script))
    try:
        child.printed_to(lambda _, line: seen.append(line))
        wait_for(lambda: len(seen) > 20_000)
        child.printed_to(None)
        count = len(seen)
        assert child.alive
    finally:
        child.kill()
        child.wait()
    assert len(seen) == count


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_a_dying_child_printed_last_is_told(stream: str) -> None:
    script = f"import sys, os\nsys.{stream}.write('last words')\nsys.{stream}.flush()\nos.kill(os.getpid(), 9)\n"
    seen = list[str]()
    child = Child(environment(os.environ, 1), (sys.executable, "-c", script))
    child.printed_to(lambda _, line: seen.append(line))
    child.wait()
    assert seen == ["last words"]
    assert "last words" in child.stderr_tail
