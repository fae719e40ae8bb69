"""What ``auto`` stands for, decided once when a study is created, with the reason (docs/adr/0015)."""

from hpo.spec.samplers import AutoSamplerSpec
from hpo.spec.schedulers import AshaSpec, AutoSchedulerSpec, FifoSpec, PickedScheduler
from hpo.spec.study import StudySpec


def resolve(spec: StudySpec) -> StudySpec:
    """The spec with everything picked that was left to Ladder; what was picked before stays."""
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
    return spec


def pick_scheduler(spec: StudySpec, auto: AutoSchedulerSpec) -> tuple[PickedScheduler, str]:
    if auto.max_resource < 3:
        return FifoSpec(max_resource=auto.max_resource), "a trial is too short to compare trials before its end"
    asha = AshaSpec(max_resource=auto.max_resource, reduction_factor=3)
    return asha, "promotions resume from checkpoints, so that nothing is trained twice"
