"""What ``auto`` stands for, decided once when a study is created, with the reason (docs/adr/0016)."""

from hpo.domain.errors import FieldError, InvalidSpec
from hpo.spec.samplers import (
    AutoSamplerSpec,
    GridSamplerSpec,
    ManualSamplerSpec,
    RandomSamplerSpec,
    SobolSamplerSpec,
)
from hpo.spec.schedulers import AshaSpec, AutoSchedulerSpec, FifoSpec, PbtSpec, PickedScheduler
from hpo.spec.study import StudySpec
from models.catalog import TRAINERS


def resolve(spec: StudySpec) -> StudySpec:
    """The spec with everything picked that was left to Ladder; what was picked before stays.

    Raises InvalidSpec if a population could change nothing, or should change what its trainer cannot.
    """
    if isinstance(spec.scheduler, AutoSchedulerSpec) and spec.scheduler.picked is None:
        scheduler, why = pick_scheduler(spec, spec.scheduler)
        spec = spec.model_copy(
            update={"scheduler": spec.scheduler.model_copy(update={"picked": scheduler, "why": why})}
        )
    if isinstance(spec.sampler, AutoSamplerSpec) and spec.sampler.picked is None:
        # Only here, since it brings the samplers and their libraries with it.
        from hpo.samplers.build import pick_sampler

        sampler, why = pick_sampler(spec)
        spec = spec.model_copy(update={"sampler": spec.sampler.model_copy(update={"picked": sampler, "why": why})})
    return _mutating(spec)


def _mutating(spec: StudySpec) -> StudySpec:
    """Name what a population may change in training, where the user did not: what the trainer can change."""
    scheduler = spec.scheduler
    if not isinstance(scheduler, PbtSpec):
        return spec
    trainer = TRAINERS.get(spec.trainer.name)
    mutable = frozenset() if trainer is None else trainer.mutable
    if scheduler.mutate is None:
        free = [param.name for param in spec.search_space if param.type != "fixed" and not param.when]
        names = tuple(name for name in free if name in mutable)
        if not names:
            message = f"{spec.trainer.name} can change none of {', '.join(free)} in training: a population needs one"
            raise InvalidSpec(FieldError("/scheduler/mutate", "nothing_mutable", message))
        return spec.model_copy(update={"scheduler": scheduler.model_copy(update={"mutate": names})})
    fixed = [
        FieldError(
            f"/scheduler/mutate/{index}",
            "not_mutable",
            f"{spec.trainer.name} cannot change {name!r} in training, only {', '.join(sorted(mutable)) or 'nothing'}",
        )
        for index, name in enumerate(scheduler.mutate)
        if name not in mutable
    ]
    if fixed:
        raise InvalidSpec(*fixed)
    return spec


def pick_scheduler(spec: StudySpec, auto: AutoSchedulerSpec) -> tuple[PickedScheduler, str]:
    """ASHA, from a resource at which the sampler at hand can trust what it sees."""
    full = auto.max_resource
    if full < 3:
        return FifoSpec(max_resource=full), "a trial is too short to compare trials before its end"
    if isinstance(spec.sampler, (RandomSamplerSpec, SobolSamplerSpec, GridSamplerSpec, ManualSamplerSpec)):
        asha = AshaSpec(max_resource=full, reduction_factor=3)
        return asha, "proposals that learn nothing pay by their number: rungs begin at one epoch"
    asha = AshaSpec(min_resource=max(1, full // 9), max_resource=full, reduction_factor=3)
    return asha, "a model is misled by the first epochs: rungs begin at a ninth of the whole training"
