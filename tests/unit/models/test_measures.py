import mmap
from typing import Any

import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, precision_recall_fscore_support
from torch import nn

from models.architectures.registry import build
from models.catalog import parse_config
from models.datasets import ImageSpec
from models.image_config import ImageCnnConfig
from models.measures import latency_ms, scores, size_of
from models.memory import forget_peak, peak_bytes
from models.train import train
from tests.unit.models.conftest import Job

IMAGE = ImageSpec(channels=3, side=16, classes=5)
CPU = torch.device("cpu")


def network() -> nn.Sequential:
    head = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4 * 16 * 16, 5))
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), head)


def matrix(true: torch.Tensor, predicted: torch.Tensor, classes: int) -> torch.Tensor:
    return torch.bincount(true * classes + predicted, minlength=classes**2).view(classes, classes)


@pytest.mark.parametrize(("classes", "images"), [(2, 30), (10, 400), (100, 5000)])
@pytest.mark.parametrize("seed", range(3))
def test_scores_of_the_matrix_are_those_of_the_predictions(classes: int, images: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    rare_last = torch.linspace(1, 0.02, classes)
    true = torch.multinomial(rare_last, images, replacement=True, generator=draw)
    true[:classes] = torch.arange(classes)  # every class occurs, as in a stratified part
    wrong = torch.randint(classes, (images,), generator=draw)
    predicted = torch.where(torch.rand(images, generator=draw) < 0.6, true, wrong)
    wanted = precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)[:3]
    found = scores(matrix(true, predicted, classes))
    assert [found["macro_precision"], found["macro_recall"], found["macro_f1"]] == pytest.approx(wanted, abs=1e-6)
    assert found["balanced_acc"] == pytest.approx(balanced_accuracy_score(true, predicted), abs=1e-6)


def test_a_class_that_is_never_predicted_counts_as_zero_and_one_that_never_occurs_is_left_out() -> None:
    true, predicted = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 0, 3])  # of 5 classes
    found = scores(matrix(true, predicted, 5))
    wanted = precision_recall_fscore_support(true, predicted, average="macro", zero_division=0)[:3]
    assert [found["macro_precision"], found["macro_recall"], found["macro_f1"]] == pytest.approx(wanted)
    assert found["balanced_acc"] == pytest.approx(0.5)


def test_a_matrix_without_predictions_has_no_scores() -> None:
    with pytest.raises(ValueError, match="no predictions"):
        scores(torch.zeros(3, 3, dtype=torch.int64))


def test_size_counts_parameters_bytes_and_operations() -> None:
    size = size_of(network(), IMAGE)
    conv, norm, dense = 4 * 3 * 9, 2 * 4, 4 * 256 * 5 + 5
    assert size["params_m"] == pytest.approx((conv + norm + dense) / 1e6)
    buffers = 4 * (4 + 4) + 8  # running mean and variance in float32, the count of batches in int64
    assert size["model_mb"] == pytest.approx((4 * (conv + norm + dense) + buffers) / 1e6)
    multiply_adds = conv * 16 * 16 + 4 * 256 * 5
    assert size["gflops"] == pytest.approx(2 * multiply_adds / 1e9)


def test_frozen_parameters_count_too() -> None:
    frozen = network()
    frozen[0].requires_grad_(False)
    assert size_of(frozen, IMAGE) == size_of(network(), IMAGE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_measuring_leaves_the_network_and_the_random_state_as_they_were(dtype: torch.dtype) -> None:
    measured = network().train()
    measured[1].eval()  # a frozen BatchNorm
    before = {name: tensor.clone() for name, tensor in measured.state_dict().items()}
    modes, random = [module.training for module in measured.modules()], torch.get_rng_state()
    assert latency_ms(measured, IMAGE, CPU, dtype) > 0
    size_of(measured, IMAGE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in measured.state_dict().items())
    assert [module.training for module in measured.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)
    # It still learns: nothing that inference mode made is kept.
    measured(torch.rand(2, 3, 16, 16)).sum().backward()
    assert all(parameter.grad is not None for parameter in measured.parameters())


def test_a_network_that_is_slower_than_the_time_allowed_is_measured_by_its_second_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("models.measures.LATENCY_S", 0.0)
    passes: list[int] = []
    counted = network()
    counted.register_forward_hook(lambda *_: passes.append(1))
    assert latency_ms(counted, IMAGE, CPU, torch.float32) > 0
    assert len(passes) == 2


def test_a_trials_size_is_that_of_its_own_architecture_whatever_was_trained_before(job: Job) -> None:
    def size(**entries: Any) -> list[float]:
        (step,) = train(job(max_resource=1, train_images=20, **entries))
        return [step.metrics[name] for name in ("params_m", "model_mb", "gflops")]

    first = size(filters1=4, dropout=0.1)
    assert size(filters1=4, dropout=0.3, lr=0.1) == first
    for other in ({"filters1": 8}, {"filters1": 4, "image_size": 16}, {"architecture": "resnet20"}):
        config = parse_config("image-cnn", other)
        assert isinstance(config, ImageCnnConfig)
        image = config.image
        assert image is not None
        assert size(**other) == list(size_of(build(config, image), image).values())
        assert size(**other) != first


def test_peak_memory_is_that_since_it_was_forgotten() -> None:
    forget_peak()
    before = peak_bytes()
    # Pages of their own: what the allocator has kept of earlier tests would hide what is taken now.
    with mmap.mmap(-1, 200_000_000) as pages:
        pages.write(b"1" * 200_000_000)
        during = peak_bytes()
    assert during >= before + 150_000_000
    # It is the most there was, not what there is; the kernel counts pages per thread and is off by a few.
    assert peak_bytes() >= during - 10_000_000
    forget_peak()
    assert peak_bytes() < during - 150_000_000
