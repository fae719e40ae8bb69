from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from models._torchvision import fakes_of_missing_operators_skipped, import_datasets, import_models


@pytest.fixture
def operator() -> Iterator[str]:
    """The name of an operator that exists, without a fake."""
    with torch.library._scoped_library("ladder_guard_test", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        library.impl("twice", lambda x: x + x, "CPU")
        yield "ladder_guard_test::twice"


def test_torchvision_datasets_import_beside_a_cpu_torch() -> None:
    assert hasattr(import_datasets(), "CIFAR10")


def test_torchvision_models_import_beside_a_cpu_torch() -> None:
    assert "xception" not in import_models().list_models()
    assert import_models().get_model_weights("resnet18").DEFAULT.url.endswith("resnet18-f37072fd.pth")


def test_the_fake_of_a_missing_operator_is_skipped() -> None:
    def fake(x: Tensor) -> Tensor:
        return x

    with fakes_of_missing_operators_skipped():
        assert torch.library.register_fake("ladder_guard_test::absent")(fake) is fake
        torch.library.register_fake("ladder_guard_test::absent", fake)
    with pytest.raises(RuntimeError, match="does not exist"):
        torch.library.register_fake("ladder_guard_test::absent", fake)


@pytest.mark.parametrize("decorated", [True, False])
def test_the_guard_does_nothing_where_the_operator_exists(operator: str, decorated: bool) -> None:
    calls: list[Tensor] = []

    def fake(x: Tensor) -> Tensor:
        calls.append(x)
        return torch.empty_like(x)

    with fakes_of_missing_operators_skipped():
        if decorated:
            assert torch.library.register_fake(operator)(fake) is fake
        else:
            torch.library.register_fake(operator, fake)
    meta: Callable[[Tensor], Tensor] = torch.ops.ladder_guard_test.twice
    with torch._subclasses.FakeTensorMode():
        assert meta(torch.zeros(2, 3)).shape == (2, 3)
    assert len(calls) == 1


def test_other_errors_of_a_registration_are_not_swallowed(operator: str) -> None:
    def fake(x: Tensor) -> Tensor:
        return x

    with fakes_of_missing_operators_skipped(), pytest.raises(ValueError, match="namespace"):
        torch.library.register_fake("no_namespace", fake)


def test_the_guard_is_gone_afterwards_even_after_an_error() -> None:
    genuine = torch.library.register_fake
    guard = fakes_of_missing_operators_skipped()
    guard.__enter__()
    assert torch.library.register_fake is not genuine
    assert not guard.__exit__(KeyError, KeyError(), None)
    assert torch.library.register_fake is genuine
