"""Laws of asynchronous successive halving."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from hpo.schedulers.asha import PromotingAsha, StoppingAsha
from hpo.schedulers.base import Action, NewTrial, Promote, RungEntry, StudyView
from hpo.schedulers.rung_log import MemoryRungLog
from hpo.spec.schedulers import AshaSpec
from tests.property.asha_reference import ReferenceAsha

losses = st.floats(-10, 10) | st.sampled_from([0.0, 1.0])  # the second part makes ties frequent
etas = st.integers(2, 5)
FREE = StudyView(created=0, max_trials=10**6, queued=0, running=0, complete=0)


def log_of(rivals: list[float]) -> MemoryRungLog:
    return MemoryRungLog(RungEntry(number, 0, 0, loss, number) for number, loss in enumerate(rivals))


def arrival(rivals: list[float], loss: float) -> RungEntry:
    return RungEntry(len(rivals), 0, 0, loss, len(rivals))


@given(rivals=st.lists(losses, max_size=40), mine=losses, gain=st.floats(0, 10), eta=etas)
def test_a_lower_loss_never_turns_continue_into_less(rivals: list[float], mine: float, gain: float, eta: int) -> None:
    for asha in (StoppingAsha((1, 3, 9), eta), PromotingAsha((1, 3, 9), eta)):
        before = asha.on_report(arrival(rivals, mine), log_of(rivals))
        after = asha.on_report(arrival(rivals, mine - gain), log_of(rivals))
        assert before.action is not Action.CONTINUE or after.action is Action.CONTINUE


@given(rivals=st.lists(losses, max_size=40), mine=losses, eta=etas)
def test_whoever_goes_on_is_among_the_best_share_of_its_rung(rivals: list[float], mine: float, eta: int) -> None:
    n = len(rivals) + 1
    ahead = sum(loss <= mine for loss in rivals)  # those with the same loss came first
    stop, promote = (
        kind((1, 3), eta).on_report(arrival(rivals, mine), log_of(rivals)).action
        for kind in (StoppingAsha, PromotingAsha)
    )
    assert (stop is Action.CONTINUE) == (ahead < max(1, n // eta))
    assert (promote is Action.CONTINUE) == (ahead < n // eta)


@given(rivals=st.lists(losses, max_size=40), eta=etas)
def test_the_promoted_trial_is_the_best_that_waits_and_among_the_best_share(rivals: list[float], eta: int) -> None:
    log = log_of(rivals)
    work = PromotingAsha((1, 3), eta).next_work(log, FREE)
    best = sorted(range(len(rivals)), key=lambda number: (rivals[number], number))[: len(rivals) // eta]
    assert work == (Promote(best[0], 0, 0, 3) if best else NewTrial(1))


@given(n=st.integers(1, 200), eta=etas, loss=losses)
def test_of_equal_losses_the_earliest_are_promoted(n: int, eta: int, loss: float) -> None:
    asha, log = PromotingAsha((1, 3), eta), log_of([loss] * n)
    promoted = []
    while isinstance(work := asha.next_work(log, FREE), Promote):
        promoted.append(work.trial)
        log.leave(0, work.rung, work.trial)
    assert promoted == list(range(n // eta))


@given(
    steps=st.lists(st.tuples(st.sampled_from(["report", "work", "end"]), losses, st.integers(0, 50)), max_size=120),
    eta=etas,
    n_levels=st.integers(1, 4),
)
@settings(max_examples=2000)
def test_promotion_equals_the_reference(steps: list[tuple[str, float, int]], eta: int, n_levels: int) -> None:
    levels = tuple(eta**k for k in range(n_levels))
    asha, log, reference = PromotingAsha(levels, eta), MemoryRungLog(), ReferenceAsha(levels, eta)
    training: list[tuple[int, int]] = []  # trial and the rung it is on its way to
    waiting: list[tuple[int, int]] = []
    created = 0
    for seq, (step, loss, pick) in enumerate(steps):
        if step == "report" and training:
            trial, rung = training.pop(pick % len(training))
            decision = asha.on_report(entry := RungEntry(trial, 0, rung, loss, seq), log)
            log.add(entry, waiting=decision.action is Action.PAUSE)
            assert decision.action == reference.report(trial, rung, loss, seq)
            if decision.action is Action.CONTINUE:
                assert decision.target == levels[rung + 1]
                training.append((trial, rung + 1))
            elif decision.action is Action.PAUSE:
                waiting.append((trial, rung))
        elif step == "end" and waiting:
            trial, rung = waiting.pop(pick % len(waiting))
            log.leave(0, rung, trial)
            reference.leave(trial, rung)
        elif step != "end":
            work, expected = asha.next_work(log, FREE), reference.promotable()
            if expected is None:
                assert work == NewTrial(levels[0])
                training.append((created, 0))
                created += 1
            else:
                trial, rung = expected
                assert work == Promote(trial, 0, rung, levels[rung + 1])
                log.leave(0, rung, trial)
                reference.leave(trial, rung)
                waiting.remove((trial, rung))
                training.append((trial, rung + 1))


@given(low=st.integers(1, 50), eta=st.integers(2, 10), power=st.integers(0, 12))
def test_a_ladder_of_whole_powers_has_every_rung(low: int, eta: int, power: int) -> None:
    levels = AshaSpec(min_resource=low, max_resource=min(low * eta**power, 10**9), reduction_factor=eta).levels
    assert all(upper == lower * eta for lower, upper in pairwise(levels[:-1]))
    if low * eta**power <= 10**9:
        assert levels == tuple(low * eta**k for k in range(power + 1))
    else:
        assert levels[-2] < 10**9 == levels[-1]
