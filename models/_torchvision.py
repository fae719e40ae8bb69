"""The one place that imports torchvision, and only when it is needed.

The wheel on the package index is built for CUDA. Beside a CPU-only torch its C++ operators do not load, and the
import dies because ``register_fake("torchvision::nms")`` finds no operator. Nothing here needs them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch.library


def import_datasets() -> ModuleType:
    """``torchvision.datasets``, also where torchvision's operators are missing."""
    with fakes_of_missing_operators_skipped():
        import torchvision.datasets

    datasets: ModuleType = torchvision.datasets
    return datasets


def import_models() -> ModuleType:
    """``torchvision.models``, also where torchvision's operators are missing."""
    with fakes_of_missing_operators_skipped():
        import torchvision.models

    models: ModuleType = torchvision.models
    return models


def import_transforms() -> ModuleType:
    """``torchvision.transforms.v2``, also where torchvision's operators are missing."""
    with fakes_of_missing_operators_skipped():
        import torchvision.transforms.v2

    transforms: ModuleType = torchvision.transforms.v2
    return transforms


@contextmanager
def fakes_of_missing_operators_skipped() -> Iterator[None]:
    """Within, registering a fake for an operator that does not exist does nothing; all else is as ever."""
    genuine = torch.library.register_fake

    def register_fake(op: Any, func: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        def enter(function: Callable[..., Any]) -> Callable[..., Any]:
            try:
                genuine(op, function, **options)
            except RuntimeError as error:
                if "does not exist" not in str(error):
                    raise
            return function

        return enter if func is None else enter(func)

    torch.library.register_fake = register_fake
    try:
        yield
    finally:
        torch.library.register_fake = genuine
