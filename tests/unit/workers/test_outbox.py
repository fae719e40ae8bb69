"""Reports in batches: nothing lost, nothing twice, in order, within the limits of the wire."""

from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.outbox import BATCH, FULL, Notes, Outbox
from workers.protocol import Epoch


def epoch(step: int, *, saved: bool = True) -> Epoch:
    checkpoint = {"step": step, "sha256": "0" * 64, "size_bytes": 1} if saved else None
    return Epoch.model_validate(
        {"run": 1, "step": step, "metrics": {"loss": "nan"}, "seconds": 0.5, "checkpoint": checkpoint}
    )


@settings(deadline=None, max_examples=30)  # no clock in a test
@given(bursts=st.lists(st.integers(0, 350), max_size=4))
def test_every_epoch_and_checkpoint_leaves_once_and_in_order(bursts: list[int]) -> None:
    outbox, step = Outbox(uuid4()), 0
    steps: list[int] = []
    saved: list[int] = []
    for burst in bursts:
        for _ in range(burst):
            step += 1
            outbox.add(epoch(step, saved=step % 2 == 0))
        while (batch := outbox.batch()) is not None:
            assert len(batch.checkpoints) <= 100
            assert batch == outbox.batch()  # until it is confirmed
            steps += [item.step for item in (*batch.earlier, batch)]
            saved += [checkpoint.step for checkpoint in batch.checkpoints]
            outbox.sent(batch)
    assert steps == list(range(1, step + 1))
    assert saved == [number for number in steps if number % 2 == 0]


def test_an_outbox_is_full_before_its_memory_grows_without_bound() -> None:
    outbox = Outbox(uuid4())
    for step in range(1, FULL):
        outbox.add(epoch(step))
    assert not outbox.full
    outbox.add(epoch(FULL))
    assert outbox.full
    batch = outbox.batch()
    assert batch is not None
    assert len(batch.earlier) + 1 == BATCH


def test_notes_travel_until_they_were_heard_and_then_no_more() -> None:
    outbox, corrupt = Outbox(uuid4()), uuid4()
    outbox.notes = Notes(corrupt=(corrupt,), setup_s=0.25)
    assert outbox.release().corrupt == [corrupt]
    outbox.add(epoch(1))
    batch = outbox.batch()
    assert batch is not None
    assert (batch.corrupt, batch.setup_s) == ([corrupt], 0.25)
    outbox.sent(batch)
    outbox.add(epoch(2))
    after = outbox.batch()
    assert after is not None
    assert (after.corrupt, after.setup_s) == ([], None)


def test_a_metric_that_is_not_finite_travels_as_a_word() -> None:
    outbox = Outbox(uuid4())
    outbox.add(epoch(1))
    batch = outbox.batch()
    assert batch is not None
    assert '"metrics":{"loss":"nan"}' in batch.model_dump_json()
