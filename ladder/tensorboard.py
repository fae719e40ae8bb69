"""A study as TensorBoard event files: every metric of every trial, and its configuration for the HParams tab.

The files follow from the study's records alone: writing them again replaces them, and as long as a study goes on a
file only grows, so that an open TensorBoard goes on too.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tensorboardX.proto.api_pb2 import DatasetType, DataType, Experiment, HParamInfo, Interval, MetricInfo, MetricName
from tensorboardX.proto.api_pb2 import Status as SessionStatus
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.record_writer import RecordWriter

from hpo.domain.study import STUDY_ENDED
from hpo.domain.trial import TrialState
from ladder.errors import LocalError

if TYPE_CHECKING:
    from api.schemas.studies import StudyRead
    from api.schemas.trials import MetricRead, TrialRead
    from ladder.client import Client

MARKER = "ladder-study.json"
OPEN = frozenset({TrialState.QUEUED, TrialState.RUNNING, TrialState.PAUSED})
BAD = frozenset({TrialState.FAILED, TrialState.CANCELLED})
_DATA = {"train": DatasetType.Value("DATASET_TRAINING"), "val": DatasetType.Value("DATASET_VALIDATION")}


def export_tensorboard(client: "Client", study: str, to: Path, *, advanced: Callable[[], None] = lambda: None) -> int:
    """Write a run directory ``trial-NNNNN`` per trial that has begun into ``to``, and what the HParams tab needs.

    Returns the number of runs; ``advanced`` is called after each. ``to`` is new, empty, or an earlier export of the
    same study. Raises LocalError if it is something else or cannot be written to, and ApiError.
    """
    info = client.studies.read(study)
    begun = [trial for trial in client.studies.trials(study) if trial.attempt > 0]
    names: set[str] = set()
    try:
        _take(to, info)
        for trial in begun:
            steps = client.studies.metrics(study, trial.number)
            names |= {name for step in steps for name in step.metrics}
            events = _run(info, trial, steps)
            _write(to / f"trial-{trial.number:05d}", trial.created_at.timestamp(), events)
            advanced()
        _write(to, info.created_at.timestamp(), [_experiment(info, begun, names)])
    except OSError as error:
        raise LocalError(f"{error.filename or to}: {error.strerror}", "name a directory to write to with -o") from error
    return len(begun)


def _take(to: Path, info: "StudyRead") -> None:
    """Make ``to`` the directory of this study; what is another's, or nobody's, is not written into."""
    to.mkdir(parents=True, exist_ok=True)
    marker = to / MARKER
    if not marker.exists():
        if next(to.iterdir(), None) is not None:
            raise LocalError(f"{to} is neither empty nor an export of a study", "name a new directory with -o")
        marker.write_text(json.dumps({"study": str(info.id), "name": info.name}) + "\n")
        return
    try:
        owner = json.loads(marker.read_text())
    except ValueError:
        owner = None
    if not isinstance(owner, dict) or owner.get("study") != str(info.id):
        name = owner.get("name") if isinstance(owner, dict) else marker
        raise LocalError(f"{to} holds another study's export: {name}", "name a new directory with -o")


def _run(info: "StudyRead", trial: "TrialRead", steps: Sequence["MetricRead"]) -> Iterator[Event]:
    start = SessionStartInfo(group_name=f"trial-{trial.number:05d}", start_time_secs=trial.created_at.timestamp())
    kinds = {param.name: _kind(_values(param)) for param in info.search_space}
    for name, value in trial.params.items():
        _set(start.hparams[name], value, kinds.get(name))
    at = trial.created_at.timestamp()
    yield _plugin("_hparams_/session_start_info", at, session_start_info=start)
    for step in steps:
        found = {**step.metrics, **{name: float(text) for name, text in step.non_finite.items()}}
        values = [Summary.Value(tag=name, simple_value=_single(value)) for name, value in sorted(found.items())]
        yield Event(wall_time=step.at.timestamp(), step=step.step, summary=Summary(value=values))
    if trial.state not in OPEN or info.state in STUDY_ENDED:
        ended = (trial.finished_at or trial.updated_at).timestamp()
        status = SessionStatus.Value("STATUS_FAILURE" if trial.state in BAD else "STATUS_SUCCESS")
        end = SessionEndInfo(status=status, end_time_secs=ended)
        yield _plugin("_hparams_/session_end_info", ended, session_end_info=end)


def _single(value: float | None) -> float:
    return math.nan if value is None else value


def _experiment(info: "StudyRead", trials: Iterable["TrialRead"], metrics: set[str]) -> Event:
    """What was searched, over which domain, and which metrics there are: the objectives first."""
    created = info.created_at.timestamp()
    experiment = Experiment(name=info.name, description=info.description or "", time_created_secs=created)
    known = {param.name for param in info.search_space}
    experiment.hparam_infos.extend(_domain(param) for param in info.search_space)
    # Configurations may have parameters that the space has lost since: studies can be edited while they run.
    former: dict[str, list[Any]] = {}
    for trial in trials:
        for name, value in trial.params.items():
            if name not in known:
                former.setdefault(name, []).append(value)
    experiment.hparam_infos.extend(HParamInfo(name=name, type=_kind(values)) for name, values in former.items())
    objectives = {one.metric: f"objective: {one.direction}" for one in info.objectives}
    for name in [*objectives, *sorted(metrics - objectives.keys())]:
        kind = _DATA.get(name.split("_")[0], DatasetType.Value("DATASET_UNKNOWN"))
        shown = MetricInfo(name=MetricName(tag=name), description=objectives.get(name, ""), dataset_type=kind)
        experiment.metric_infos.append(shown)
    return _plugin("_hparams_/experiment", created, experiment=experiment)


def _domain(param: Any) -> HParamInfo:
    found = HParamInfo(name=param.name, type=_kind(_values(param)))
    if param.type in ("float", "int"):
        found.domain_interval.CopyFrom(Interval(min_value=param.low, max_value=param.high))
        return found
    for value in _values(param):
        _set(found.domain_discrete.values.add(), value, found.type)
    return found


def _values(param: Any) -> Sequence[Any]:
    """Values that show of what kind the parameter is; all of them unless it is a range."""
    match param.type:
        case "categorical":
            return list(param.choices)
        case "fixed":
            return [param.value]
    return [param.low, param.high]


def _kind(values: Sequence[Any]) -> int:
    """TensorBoard knows three kinds of values; a mixture is shown as text."""
    if all(isinstance(value, bool) for value in values):
        return int(DataType.Value("DATA_TYPE_BOOL"))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return int(DataType.Value("DATA_TYPE_FLOAT64"))
    return int(DataType.Value("DATA_TYPE_STRING"))


def _set(field: Any, value: Any, kind: int | None) -> None:
    match value:
        case bool() if kind != DataType.Value("DATA_TYPE_STRING"):
            field.bool_value = value
        case int() | float() if kind != DataType.Value("DATA_TYPE_STRING"):
            field.number_value = value
        case _:
            field.string_value = value if isinstance(value, str) else json.dumps(value)


def _plugin(tag: str, at: float, **data: Any) -> Event:
    content = HParamsPluginData(version=0, **data).SerializeToString(deterministic=True)
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
    value = Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))
    return Event(wall_time=at, summary=Summary(value=[value]))


def _write(directory: Path, at: float, events: Iterable[Event]) -> None:
    directory.mkdir(exist_ok=True)
    # TensorBoard reads whatever has "tfevents" in its name: the unfinished file has not.
    temp = directory.resolve() / ".unfinished"
    writer = RecordWriter(str(temp))
    try:
        writer.write(Event(wall_time=at, file_version="brain.Event:2").SerializeToString())
        for event in events:
            writer.write(event.SerializeToString())
    finally:
        writer.close()
    temp.replace(directory / f"events.out.tfevents.{int(at)}.ladder")
