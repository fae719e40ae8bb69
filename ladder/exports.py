"""The best model of a study as two files that plain PyTorch can use; written without torch."""

import hashlib
import math
import os
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ladder.errors import ApiError, LocalError
from models.model_card import CARD, WEIGHTS, ModelCard, ModelImage, ModelScaling

if TYPE_CHECKING:
    from numpy import ndarray

    from api.schemas.trials import ArtifactRead
    from ladder.client import Client

    Tensors = dict[str, ndarray[Any, Any]]


class _Identity(BaseModel):
    """What an image checkpoint's manifest says of its training."""

    model_config = ConfigDict(extra="ignore")

    trainer: str
    config: dict[str, Any]
    image: ModelImage
    class_names: tuple[str, ...]
    split_sha256: str | None = None


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    sha256: str
    torch_version: str
    identity: _Identity


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The trial whose network is exported; ``study`` is its own, a confirmation's if it is the final model of one."""

    study: str
    number: int
    confirmed: bool


def export_model(client: "Client", study: str, to: Path, *, trial: int | None = None) -> ModelCard:
    """Write ``model.safetensors`` and ``model.json`` of a trial into the directory ``to``; returns the latter.

    Without ``trial`` it is the final model of the study's confirmation if that has finished, else the best trial. The
    weights are those that were validated: the averaged ones where the trial kept an average (``ema``).
    Raises LocalError if there is no such model, or ``to`` cannot be written to; ApiError.
    """
    chosen = _choose(client, study) if trial is None else _Chosen(study, trial, confirmed=False)
    info = client.studies.read(chosen.study)
    found = client.studies.trial(chosen.study, chosen.number)
    artifact = _newest(client, chosen)
    manifest = _manifest(client, chosen, artifact)
    try:
        to.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=to, prefix=".export-") as work:
            checkpoint = client.studies.download(
                chosen.study, chosen.number, artifact, Path(work) / "checkpoint.safetensors"
            )
            weights, scaling = _network(checkpoint, chosen)
            content = _as_file(weights)
            card = ModelCard(
                sha256=hashlib.sha256(content).hexdigest(),
                size_bytes=len(content),
                architecture=str(manifest.identity.config.get("architecture")),
                config=manifest.identity.config,
                image=manifest.identity.image,
                class_names=manifest.identity.class_names or tuple(map(str, range(manifest.identity.image.classes))),
                scaling=scaling,
                study=info.name,
                study_id=str(info.id),
                trial=chosen.number,
                step=artifact.step,
                confirmed=chosen.confirmed,
                params=found.params,
                metrics=_metrics_at(client, chosen, artifact.step),
                split_sha256=manifest.identity.split_sha256,
                checkpoint_sha256=artifact.sha256,
                torch_version=manifest.torch_version,
                ladder_version=version("ladder-hpo"),
            )
            # The description last: whatever is left by a crash, its hash tells whether the two belong together.
            _put(Path(work) / WEIGHTS, to / WEIGHTS, content)
            _put(Path(work) / CARD, to / CARD, card.model_dump_json(indent=1).encode())
    except OSError as error:
        raise LocalError(f"{error.filename or to}: {error.strerror}", "name a directory to write to with -o") from error
    return card


def _choose(client: "Client", study: str) -> _Chosen:
    best = next(iter(client.studies.best(study)), None)
    if best is None:
        raise LocalError(f"no trial of {study} has a value yet", f"ladder study watch {study}")
    return _Chosen(study, best.number, confirmed=False)


def _newest(client: "Client", chosen: _Chosen) -> "ArtifactRead":
    kept = client.studies.artifacts(chosen.study, chosen.number)
    if not kept:
        raise LocalError(
            f"trial {chosen.number} of {chosen.study} has no checkpoint in the store",
            f"choose another with --trial: ladder best {chosen.study} --top 10",
        )
    return kept[0]


def _manifest(client: "Client", chosen: _Chosen, artifact: "ArtifactRead") -> _Manifest:
    what = f"{artifact.name} of trial {chosen.number} of {chosen.study}"
    try:
        manifest = _Manifest.model_validate(client.studies.manifest(chosen.study, chosen.number, artifact))
    except ValidationError as error:
        raise LocalError(
            f"{what} is not a checkpoint of trainer image-cnn: its manifest has no sound"
            f" {'.'.join(map(str, error.errors()[0]['loc']))}"
        ) from error
    if manifest.identity.trainer != "image-cnn":
        raise LocalError(
            f"{what} was trained by {manifest.identity.trainer}; models of trainer image-cnn can be exported"
        )
    if manifest.sha256 != artifact.sha256:
        raise ApiError(
            f"{what} has sha256 {artifact.sha256}, its manifest says {manifest.sha256}", status=200, code="corrupt"
        )
    return manifest


def _network(checkpoint: Path, chosen: _Chosen) -> "tuple[Tensors, ModelScaling]":
    """The network's tensors under the names that its module gives them, and the scaling of its images."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(checkpoint, framework="numpy") as file:
            names = set(file.keys())
            plain = {name.removeprefix("model."): name for name in names if name.startswith("model.")}
            # What was validated: the average, and of what is not averaged (counters, statistics) the network's own.
            chosen_names = {name: f"ema.{name}" if f"ema.{name}" in names else plain[name] for name in sorted(plain)}
            if not plain or not {"scaling.mean", "scaling.std"} <= names:
                raise LocalError(
                    f"the checkpoint of trial {chosen.number} of {chosen.study} holds no network with its scaling"
                )
            scaling = ModelScaling(
                mean=tuple(file.get_tensor("scaling.mean").flatten().tolist()),
                std=tuple(file.get_tensor("scaling.std").flatten().tolist()),
            )
            return {name: file.get_tensor(source) for name, source in chosen_names.items()}, scaling
    except (SafetensorError, ValidationError) as error:
        raise LocalError(f"the checkpoint of trial {chosen.number} of {chosen.study} is not sound: {error}") from error


def _as_file(weights: "Tensors") -> bytes:
    from safetensors.numpy import save

    return bytes(save(weights, metadata={"format": "pt"}))


def _metrics_at(client: "Client", chosen: _Chosen, step: int) -> dict[str, float | None]:
    steps = client.studies.metrics(chosen.study, chosen.number)
    found = next((one.metrics for one in steps if one.step == step), {})
    return {name: None if value is None or not math.isfinite(value) else value for name, value in found.items()}


def _put(temp: Path, path: Path, content: bytes) -> None:
    with temp.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temp.replace(path)
