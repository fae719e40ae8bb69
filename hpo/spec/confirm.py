"""The study that confirms another: whether it can be, and what it trains."""

import hashlib
from collections.abc import Iterator, Sequence
from itertools import count

from hpo.domain.errors import FieldError
from hpo.domain.history import Params
from hpo.domain.trial import training_seed
from hpo.spec.base import escaped
from hpo.spec.check import check
from hpo.spec.schedulers import FifoSpec, PbtSpec
from hpo.spec.study import MAX_LABELS, MAX_NAME, Confirm, StudySpec
from models.catalog import TRAINERS, TrainerInfo
from models.image_config import FOLD_ENTRIES, SPLIT_ENTRIES

SUFFIX = ".confirm"


def confirm_errors(spec: StudySpec) -> list[FieldError]:
    """Why the study could not be confirmed as it asks for; empty if it asks for nothing."""
    if spec.confirm is None:
        return []
    trainer = TRAINERS.get(spec.trainer.name)
    if trainer is None or not trainer.test_metrics:
        able = ", ".join(sorted(name for name, info in TRAINERS.items() if info.test_metrics))
        message = f"{spec.trainer.name} has no sealed test part that winners could be scored on: want one of {able}"
        return [FieldError("/confirm", "no_test_part", message)]
    found = [*_search_errors(spec), *_entry_errors(spec, spec.confirm, trainer)]
    return found or _config_errors(spec)


def _search_errors(spec: StudySpec) -> Iterator[FieldError]:
    assert spec.confirm is not None
    if len(spec.objectives) > 1:
        message = f"winners are ranked by one value, and the study has {len(spec.objectives)} objectives"
        yield FieldError("/confirm", "needs_one_objective", message)
    if spec.confirm.top > spec.max_trials:
        message = f"top must be at most the study's {spec.max_trials} trials, got {spec.confirm.top}"
        yield FieldError("/confirm/top", "above_max_trials", message)
    if isinstance(spec.chosen_scheduler, PbtSpec):
        message = "pbt changes params while it trains, so that no configuration of it can be trained anew: leave it out"
        yield FieldError("/confirm", "params_change", message)


def _entry_errors(spec: StudySpec, confirm: Confirm, trainer: TrainerInfo) -> Iterator[FieldError]:
    searched = {param.name for param in spec.search_space}
    for name in confirm.config:
        if name in searched:
            message = f"{name!r} is searched: what a winner had of it is what is confirmed"
            yield FieldError(f"/confirm/config/{escaped(name)}", "fixed_and_searched", message)
        elif name in FOLD_ENTRIES:
            message = f"{name} is not given here: confirm.folds says how many folds, each as long as a whole trial"
            yield FieldError(f"/confirm/config/{name}", "given_by_confirm", message)
    if confirm.folds is None:
        return
    if "folds" not in trainer.config.model_fields:
        message = f"{spec.trainer.name} knows no folds: give seeds"
        yield FieldError("/confirm/folds", "no_folds", message)
    for name in FOLD_ENTRIES:
        if name in searched:
            yield FieldError("/confirm/folds", "fixed_and_searched", f"{name} is searched: give seeds")


def _config_errors(spec: StudySpec) -> list[FieldError]:
    """What the trainer refuses of the configuration that confirms and not of the one that searches."""
    assert spec.confirm is not None
    config, length = _config(spec, spec.confirm)
    trainer = spec.trainer.model_copy(update={"config": config})
    known = {error.pointer for error in check(spec)}
    errors = check(spec.model_copy(update={"trainer": trainer, "scheduler": FifoSpec(max_resource=length)}))
    return [_mine(spec.confirm, error) for error in errors if error.pointer not in known]


def _mine(confirm: Confirm, error: FieldError) -> FieldError:
    """The error where its cause was given, which is in ``confirm``."""
    entry = error.pointer.removeprefix("/trainer/config/")
    here = entry in map(escaped, confirm.config)
    pointer = f"/confirm/config/{entry}" if here else "/confirm/folds" if entry in FOLD_ENTRIES else "/confirm/config"
    message = error.message if here else f"with confirm, {error.pointer} is refused: {error.message}"
    return FieldError(pointer, error.code, message)


def _config(spec: StudySpec, confirm: Confirm) -> tuple[dict[str, object], int]:
    """The trainer's configuration that confirms, and the resource of a whole trial with it."""
    config: dict[str, object] = {**spec.trainer.config, **confirm.config}
    length = spec.scheduler.max_resource
    if confirm.folds is None:
        return config, length
    if config.get("folds") is None:  # else a step of the search was a fold already, and as long
        config["fold_epochs"] = length
    return config | {"folds": confirm.folds}, confirm.folds


def _timeout_s(spec: StudySpec, confirm: Confirm) -> float | None:
    """The time limit of a replicate; None where nothing is known of how long one takes."""
    limit_s = spec.trainer.timeout_s
    if limit_s is None or confirm.config:  # with other data, images or batches a training takes another time
        return None
    if confirm.folds is None:
        return limit_s
    # Every fold is a whole trial; of a search that counts folds it is one step.
    before = 1 if spec.trainer.config.get("folds") is None else spec.scheduler.max_resource
    return limit_s * confirm.folds / before


def confirming_spec(spec: StudySpec, name: str, winners: Sequence[Params], *, trials: int) -> StudySpec:
    """The study that trains each of the winners anew, for as long as a whole trial of ``spec`` was.

    ``trials`` is how many ``spec`` has created: no replicate has the seed of one of them. Every replicate is trained
    to its end: a goal, a stopping rule or a failure of others ends none of them. The room of one more trial is that of
    the final one.
    """
    confirm = spec.confirm
    assert confirm is not None
    config, length = _config(spec, confirm)
    replicates = confirm.replicates
    enqueued = [dict(params) for params in winners for _ in range(replicates)]
    room = len(enqueued) + 1
    data = spec.model_dump(mode="json") | {
        "name": name,
        "description": f"Trains the winners of {spec.name} anew and scores the best of them on the test part.",
        "labels": dict(list(spec.labels.items())[: MAX_LABELS - 1]) | {"confirms": spec.name},
        "objectives": [spec.objective.model_copy(update={"goal": None}).model_dump(mode="json")],
        "enqueue": enqueued,
        "sampler": {"type": "manual", "seed": fresh_seed(spec, trials=trials, replicates=room)},
        "scheduler": {"type": "fifo", "max_resource": length},
        "pruners": [],
        "warm_start": None,
        "confirm": None,
        "repeats": replicates,
        "trainer": spec.trainer.model_dump(mode="json") | {"config": config, "timeout_s": _timeout_s(spec, confirm)},
        "budget": {
            "max_trials": room,
            "max_failed": room,
            "max_epochs": room * length,
            "max_concurrent": spec.budget.max_concurrent,
        },
        "stagnation": None,
        "priority": min(100, spec.priority + 1),
    }
    return StudySpec.model_validate(data)


def epochs_to_confirm(spec: StudySpec) -> int | None:
    """Epochs that the confirmation takes besides the search, its final trial included; None without one.

    In steps of the search, where these are no epochs.
    """
    if spec.confirm is None:
        return None
    trainings = spec.confirm.top * (spec.confirm.folds or spec.confirm.replicates) + 1
    return trainings * spec.scheduler.max_resource


def names(name: str) -> Iterator[str]:
    """Names for the study that confirms the one of that name, the first that is free to be taken."""
    yield name[: MAX_NAME - len(SUFFIX)] + SUFFIX
    for number in count(2):
        suffix = f"{SUFFIX}-{number}"
        yield name[: MAX_NAME - len(suffix)] + suffix


def fresh_seed(spec: StudySpec, *, trials: int, replicates: int) -> int:
    """A seed whose first ``replicates`` trials share no training seed with the first ``trials`` of ``spec``."""
    assert spec.sampler.seed is not None
    begun = training_seed(spec.sampler.seed, 0)
    for attempt in count():
        digest = hashlib.sha256(f"confirm {spec.sampler.seed} {attempt}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big") % 2**31
        ahead = (training_seed(seed, 0) - begun) % 2**31
        if trials <= ahead <= 2**31 - replicates:
            return seed
    raise AssertionError("some attempt succeeds")


def same_split(spec: StudySpec) -> bool:
    """Whether the winners are trained on the split that they were found on."""
    assert spec.confirm is not None
    return not any(name in spec.confirm.config for name in SPLIT_ENTRIES)
