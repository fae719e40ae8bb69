"""Learning-rate schedules over the whole training, and what is done to gradients before a step."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from models.catalog import parse_config
from models.image_config import ImageCnnConfig
from models.optim import CYCLE_END, CYCLE_START, build_optimizer, lr_at, restrain

PROGRESS = [index / 1000 for index in range(1001)]


def config(**entries: Any) -> ImageCnnConfig:
    parsed = parse_config("image-cnn", {"lr": 0.4, **entries})
    assert isinstance(parsed, ImageCnnConfig)
    return parsed


def curve(**entries: Any) -> list[float]:
    return [lr_at(config(**entries), progress) for progress in PROGRESS]


def test_a_constant_rate_stays() -> None:
    assert set(curve()) == {0.4}


def test_steps_fall_by_the_factor_at_each_share_of_the_training() -> None:
    rates = curve(schedule="step", decay_every=0.25, decay_factor=0.5)
    assert sorted(set(rates), reverse=True) == pytest.approx([0.4, 0.2, 0.1, 0.05, 0.025])
    assert lr_at(config(schedule="step"), 1 / 3) == pytest.approx(0.04)  # 3 of 9 epochs, whatever the rounding
    assert lr_at(config(schedule="step"), 3 / 9 - 1e-6) == pytest.approx(0.4)


def test_a_cosine_falls_from_the_rate_to_nothing() -> None:
    rates = curve(schedule="cosine")
    assert rates[0] == 0.4
    assert rates[500] == pytest.approx(0.2)
    assert rates[-1] == pytest.approx(0.0, abs=1e-12)
    assert all(later <= earlier for earlier, later in pairwise(rates))


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_a_warm_up_rises_to_the_rate_and_the_schedule_follows_it(schedule: str) -> None:
    rates = curve(schedule=schedule, warmup=0.2, decay_every=0.5)
    assert rates[0] == 0
    assert rates[100] == pytest.approx(0.2)
    assert max(rates) == rates[200] == pytest.approx(0.4)


def test_a_one_cycle_is_that_of_torch() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.4)
    steps = 1001
    torchs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.4, total_steps=steps, cycle_momentum=False)
    expected = []
    for _ in range(steps):
        expected.append(torchs.get_last_lr()[0])
        optimizer.step()
        if len(expected) < steps:
            torchs.step()
    # Theirs counts steps from 0 to n - 1 and turns at 0.3 n - 1, ours is a function of the share that is done.
    assert curve(schedule="one_cycle") == pytest.approx(expected, abs=0.4 * 4e-3)
    assert lr_at(config(schedule="one_cycle"), 0) == pytest.approx(0.4 * CYCLE_START)
    assert lr_at(config(schedule="one_cycle"), 1) == pytest.approx(0.4 * CYCLE_END)


def test_a_one_cycle_takes_the_warm_up_that_it_is_given() -> None:
    rates = curve(schedule="one_cycle", warmup=0.6)
    assert rates.index(max(rates)) == 600


def learnt() -> tuple[nn.Linear, list[nn.Parameter]]:
    layer = nn.Linear(2, 1)
    nn.init.constant_(layer.weight, -2.0)
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, 3.0)
    return layer, list(layer.parameters())


def test_the_l1_penalty_pulls_weights_towards_zero_and_leaves_biases() -> None:
    layer, parameters = learnt()
    restrain(config(l1=0.5), parameters)
    assert layer.weight.grad is not None
    assert layer.weight.grad.tolist() == [[2.5, 2.5]]
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [3.0]


def test_gradients_are_clipped_to_the_norm_of_all_of_them() -> None:
    _, parameters = learnt()
    restrain(config(grad_clip=0.3), parameters)
    norm = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]).norm()
    assert float(norm) == pytest.approx(0.3, rel=1e-4)


def test_frozen_parameters_are_given_to_no_optimizer() -> None:
    layer, _ = learnt()
    layer.bias.requires_grad_(False)
    optimizer = build_optimizer(config(), layer.parameters())
    assert [each is layer.weight for each in optimizer.param_groups[0]["params"]] == [True]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw", "rmsprop", "adadelta"])
def test_fused_kernels_update_weights_of_any_memory_format_alike(optimizer: str) -> None:
    def after_steps(layout: torch.memory_format) -> torch.Tensor:
        torch.manual_seed(0)
        layer = nn.Conv2d(3, 4, 3).to(memory_format=layout)  # type: ignore[call-overload]
        made = build_optimizer(config(optimizer=optimizer, weight_decay=0.01, nesterov=True), layer.parameters())
        for step in range(3):
            torch.manual_seed(step)
            made.zero_grad(set_to_none=True)
            layer(torch.rand(2, 3, 8, 8).contiguous(memory_format=layout)).square().mean().backward()
            made.step()
        return layer.weight.detach().contiguous()

    plain, last = after_steps(torch.contiguous_format), after_steps(torch.channels_last)
    torch.testing.assert_close(plain, last, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgd_has_nesterov_momentum_if_asked(nesterov: bool) -> None:
    layer, _ = learnt()
    made = build_optimizer(config(optimizer="sgd", nesterov=nesterov), layer.parameters())
    assert made.param_groups[0]["nesterov"] is nesterov
