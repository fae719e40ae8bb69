"""The best model of a study as two files that plain PyTorch can use; written without torch."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, StrictInt, ValidationError

from ladder.errors import LocalError
from models.files import write_whole
from models.model_card import CARD, WEIGHTS, ModelCard, ModelImage, ModelScaling

if TYPE_CHECKING:
    from numpy import ndarray

    from ladder.client import Client

    Tensors = dict[str, ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose network it is. ``confirmed``: the final model of a finished confirmation."""

    study: str
    study_id: str
    trial: int
    confirmed: bool = False
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"trial {self.trial} of {self.study}"


class _Identity(BaseModel):
    """What an image checkpoint's manifest says of its training."""

    model_config = ConfigDict(extra="ignore")

    trainer: str
    config: dict[str, Any]
    step: StrictInt
    image: ModelImage
    class_names: tuple[str, ...] = ()
    split_sha256: str | None = None


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sha256: str
    torch_version: str
    identity: _Identity


def export_model(client: "Client", study: str, to: Path, *, trial: int | None = None) -> ModelCard:
    """Write ``model.safetensors`` and ``model.json`` of a trial into the directory ``to``; returns the latter.

    Without ``trial`` it is the final model of the study's confirmation if that has finished, else the best trial. Its
    newest checkpoint is taken. Raises LocalError if there is no such model, or ``to`` cannot be written to; ApiError.
    """
    confirmed = False
    if trial is None:
        study, trial, confirmed = _choose(client, study)
    info, found = client.studies.read(study), client.studies.trial(study, trial)
    kept = client.studies.artifacts(study, trial)
    if not kept:
        hint = f"choose another with --trial: ladder best {study} --top 10"
        raise LocalError(f"trial {trial} of {info.name} has no checkpoint in the store", hint)
    newest = kept[0]
    steps = client.studies.metrics(study, trial)
    metrics = next((one.metrics for one in steps if one.step == newest.step), {})
    origin = Origin(info.name, str(info.id), trial, confirmed, found.params, metrics)
    manifest = client.studies.manifest(study, trial, newest)
    _manifest(manifest, origin)  # before what may be gigabytes are fetched
    with _told(to), _room(to) as work:
        checkpoint = client.studies.download(study, trial, newest, work / "checkpoint.safetensors")
        return write_model(checkpoint, manifest, to, origin=origin)


def write_model(checkpoint: Path, manifest: Mapping[str, Any], to: Path, *, origin: Origin) -> ModelCard:
    """Write the network of an image checkpoint, and what is needed to build it again, into the directory ``to``.

    The weights are those that were validated: the averaged ones where the trial kept an average (``ema``).
    Raises LocalError if it is no checkpoint of trainer ``image-cnn``, torn, or ``to`` cannot be written to.
    """
    told = _manifest(manifest, origin)
    identity = told.identity
    with _told(to):
        with checkpoint.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != told.sha256:
            raise LocalError(f"the checkpoint of {origin} has sha256 {sha256}, its manifest says {told.sha256}")
        weights, scaling = _network(checkpoint, origin)
        content = _as_file(weights)
        card = ModelCard(
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            architecture=str(identity.config.get("architecture")),
            config=identity.config,
            image=identity.image,
            class_names=identity.class_names or tuple(map(str, range(identity.image.classes))),
            scaling=scaling,
            study=origin.study,
            study_id=origin.study_id,
            trial=origin.trial,
            step=identity.step,
            confirmed=origin.confirmed,
            params=origin.params,
            metrics=origin.metrics,
            split_sha256=identity.split_sha256,
            checkpoint_sha256=sha256,
            torch_version=told.torch_version,
            ladder_version=version("ladder-hpo"),
        )
        # The description last: whatever a crash leaves, its hash tells whether the two belong together.
        to.mkdir(parents=True, exist_ok=True)
        write_whole(to / WEIGHTS, content)
        write_whole(to / CARD, card.model_dump_json(indent=1).encode())
    return card


def _choose(client: "Client", study: str) -> tuple[str, int, bool]:
    """Study, number, and whether it is confirmed."""
    confirmation = client.studies.read(study).confirmation
    if confirmation is not None and confirmation.state == "finished":
        recommended = confirmation.recommendation
        if recommended is not None and recommended.final_trial is not None:
            return str(confirmation.study_id), recommended.final_trial, True
    best = next(iter(client.studies.best(study)), None)
    if best is None:
        raise LocalError(f"no trial of {study} has a value yet", f"ladder study watch {study}")
    return study, best.number, False


def _manifest(manifest: Mapping[str, Any], origin: Origin) -> _Manifest:
    identity = manifest.get("identity")
    trainer = identity.get("trainer") if isinstance(identity, dict) else None
    if trainer != "image-cnn":
        by = "an external trainer" if trainer is None else f"trainer {trainer}"
        raise LocalError(f"{origin} was trained by {by}: only models of trainer image-cnn can be exported")
    try:
        return _Manifest.model_validate(manifest)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise LocalError(f"the manifest of {origin} cannot be used: {where}: {first['msg']}") from error


def _network(checkpoint: Path, origin: Origin) -> "tuple[Tensors, ModelScaling]":
    """The network's tensors under the names that its module gives them, and the scaling of its images."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint, framework="numpy") as file:
            names = set(file.keys())
            own = sorted(name.removeprefix("model.") for name in names if name.startswith("model."))
            if not own or not {"scaling.mean", "scaling.std"} <= names:
                raise LocalError(f"the checkpoint of {origin} holds no network with the scaling of its images")
            # Of what is not averaged, such as the statistics of batch normalisation, the network's own was validated.
            weights = {
                name: file.get_tensor(f"ema.{name}" if f"ema.{name}" in names else f"model.{name}") for name in own
            }
            mean, std = (file.get_tensor(f"scaling.{name}").flatten().tolist() for name in ("mean", "std"))
            return weights, ModelScaling(mean=mean, std=std)
    except (SafetensorError, ValidationError) as error:
        raise LocalError(f"the checkpoint of {origin} is not sound: {error}") from error


def _as_file(weights: "Tensors") -> bytes:
    from safetensors.numpy import save

    return bytes(save(weights, metadata={"format": "pt"}))


@contextmanager
def _told(to: Path) -> Iterator[None]:
    """What the file system refuses, in words."""
    try:
        yield
    except OSError as error:
        raise LocalError(f"{error.filename or to}: {error.strerror}", "name a directory to write to with -o") from error


@contextmanager
def _room(to: Path) -> Iterator[Path]:
    """A directory for unfinished files on the disk of ``to``, which is made."""
    to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=to, prefix=".export-") as work:
        yield Path(work)
