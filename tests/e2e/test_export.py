"""What a finished study leaves behind: its best model in plain PyTorch, and its curves for TensorBoard."""

from pathlib import Path

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event

from ladder import Client, load_model
from ladder.cli import run
from models.catalog import parse_config
from models.data import load_split
from models.image_config import ImageCnnConfig
from tests.conftest import StackFactory
from tests.unit.ladder.events_file import records

STUDY = """
name: digits
objectives:
  - {metric: val_acc, direction: maximize}
search_space:
  - {name: lr, type: float, low: 0.001, high: 0.01, log: true}
sampler: {type: random, seed: 1}
scheduler: {type: fifo, max_resource: 2}
trainer:
  name: image-cnn
  config: {dataset: digits, architecture: resnet_small, width: 4, stages: 2, ema: 0.9, amp: "off"}
budget: {max_trials: 2}
"""


def test_the_best_model_of_a_study_scores_in_plain_pytorch_what_its_trial_reported(
    stack: StackFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = stack(workers=1)
    monkeypatch.setenv("LADDER_URL", running.url)
    monkeypatch.setenv("LADDER_TOKEN", running.token)
    (tmp_path / "digits.yaml").write_text(STUDY)
    assert run(["study", "create", "-f", str(tmp_path / "digits.yaml")]) == 0
    assert run(["study", "wait", "digits", "--timeout", "120s"]) == 0
    assert run(["study", "export", "digits", "--what", "model", "-o", str(tmp_path / "model")]) == 0
    assert run(["study", "export", "digits", "--what", "tensorboard", "-o", str(tmp_path / "runs")]) == 0
    with Client(running.url, running.token) as client:
        (best,) = client.studies.best("digits")
        curves = [client.studies.metrics("digits", number) for number in range(2)]
        split_sha256 = client.studies.read("digits").split_sha256

    model = load_model(tmp_path / "model")
    assert (model.card.trial, model.card.step, model.card.metrics["val_acc"]) == (best.number, 2, best.value)
    assert model.card.split_sha256 == split_sha256
    config = parse_config("image-cnn", model.card.config)
    assert isinstance(config, ImageCnnConfig)
    split = load_split(config, tmp_path)
    with torch.inference_mode():
        right = model(split.pixels[split.val.rows]).argmax(1) == split.val.labels
    assert right.double().mean().item() == pytest.approx(best.value, abs=1e-12)

    for number, steps in enumerate(curves):
        (file,) = (tmp_path / "runs" / f"trial-{number:05d}").iterdir()
        events = [Event.FromString(record) for record in records(file)]
        told = {event.step: event.summary.value for event in events if event.step}
        assert told.keys() == {1, 2}
        for step in steps:
            written = {value.tag: value.simple_value for value in told[step.step]}
            assert written == pytest.approx(step.metrics)
