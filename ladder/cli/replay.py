"""``ladder replay``: every decision and suggestion of a study derived again, on this machine."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from ladder.cli.options import AsJson, StudyName
from ladder.cli.output import advancing, emit, fields, say, talk

if TYPE_CHECKING:
    from hpo.replay import Replay
    from ladder.client import Client


def replay(
    study: StudyName,
    no_suggestions: Annotated[
        bool, typer.Option("--no-suggestions", help="Decisions and promotions only, which takes seconds.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Derive a study's decisions and suggestions again: exit 0 if all are as recorded, 1 if one differs.

    A study that runs is replayed up to now.
    """
    from ladder.cli.extras import need, versions
    from ladder.client import Client

    need("replay")
    with Client() as client:
        events, found = _derived(client, study, suggestions=not no_suggestions)
    if as_json:
        emit(
            {
                "study": study,
                "events": events,
                "decisions": found.decisions,
                "promotions": found.promotions,
                "suggestions": found.suggestions,
                "imported": found.imported,
                "identical": found.difference is None,
                "difference": None if found.difference is None else asdict(found.difference),
            }
        )
    else:
        counts = {"decisions": found.decisions, "promotions": found.promotions, "suggestions": found.suggestions}
        imported = {"imported": found.imported} if found.imported else {}
        fields({"events": events, **counts, **imported})
        if found.imported:
            say(f"{found.imported} trials were imported: they ran elsewhere, so there is nothing to derive of them")
    difference = found.difference
    if difference is None:
        if not as_json:
            say("identical")
        return 0
    if not as_json:
        where = "" if difference.trial is None else f", trial {difference.trial}"
        say(f"differs at event {difference.seq}{where}")
        fields({"expected": difference.expected, "recorded": difference.recorded})
    talk(f"derived with {versions()}; another version may suggest otherwise")
    return 1


def _derived(client: "Client", study: str, *, suggestions: bool) -> "tuple[int, Replay]":
    from hpo.domain.events import Event, EventType
    from hpo.replay import replay as derive
    from hpo.spec.study import StudySpec
    from hpo.warm_start import earlier_trials

    # Before the events: what they change later, the replay takes back as something that is not there yet.
    info = client.studies.read(study)
    spec = StudySpec.model_validate(info.model_dump(include=set(StudySpec.model_fields)))
    warm = client.studies.warm_start(study)
    log: list[Event] = []
    with advancing("reading events") as advance:
        for event in client.studies.events(study, follow=False):
            log.append(Event(event.seq, EventType(event.type), event.trial, event.data))
            advance()
    earlier = earlier_trials(warm.model_dump() if warm.trials else None)
    with advancing("deriving", total=len(log)) as advance:
        return len(log), derive(spec, log, suggestions=suggestions, earlier=earlier, checked=advance)
