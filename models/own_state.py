"""The state of a trainer of the user's own as named tensors and one JSON value, and back. Nothing is pickled.

Tensors are named by their path in the state, ``model.0.weight``, so that other tools can read them from the file.
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

WANTED = "want a tensor, a numpy array, a number, text, None, or a dict, list or tuple of these"

# JSON has lists and scalars; all else is an object of one entry whose name says what it stands for.
_DICT, _TUPLE, _FLOAT, _TENSOR, _ARRAY = "dict", "tuple", "float", "tensor", "array"


def encode(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """The state as a JSON value and the tensors that it refers to: copies in main memory, equal tensors twice.

    Keys of dicts may be text or int, as in the ``state_dict`` of an optimizer. Raises TypeError naming the path of
    what cannot be kept.
    """
    tensors: dict[str, Tensor] = {}
    return _encode(state, (), tensors), tensors


def decode(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The state that was encoded; tensors are on the CPU. Raises KeyError, TypeError or ValueError for any other."""
    if isinstance(plain, list):
        return [decode(item, tensors) for item in plain]
    if not isinstance(plain, dict):
        return plain
    [(kind, content)] = plain.items()
    if kind == _DICT:
        return {key: decode(value, tensors) for key, value in content}
    if kind == _TUPLE:
        return tuple(decode(item, tensors) for item in content)
    if kind == _FLOAT:
        return float(content)
    if kind == _TENSOR:
        return tensors[content]
    if kind == _ARRAY:
        return tensors[content].numpy()
    raise ValueError(f"unknown kind {kind!r}")


def _encode(value: Any, path: tuple[str, ...], tensors: dict[str, Tensor]) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):  # JSON has no NaN
        return float(value) if math.isfinite(value) else {_FLOAT: str(float(value))}
    if isinstance(value, Mapping):
        return {_DICT: [[_key(key, path), _encode(item, (*path, str(key)), tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        items = [_encode(item, (*path, str(index)), tensors) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {_TUPLE: items}
    if isinstance(value, Tensor):
        return {_TENSOR: _keep(_copied(value, path), path, tensors)}
    if isinstance(value, np.ndarray):
        return {_ARRAY: _keep(_of_array(value, path), path, tensors)}
    if isinstance(value, np.generic):
        return _encode(value.item(), path, tensors)
    hint = "; give its state_dict()" if hasattr(value, "state_dict") else ""
    raise TypeError(f"{_shown(path)}: got {type(value).__name__}, {WANTED}{hint}")


def _key(key: Any, path: tuple[str, ...]) -> str | int:
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        raise TypeError(f"{_shown(path)}: got the key {key!r}, want text or int")
    return key


def _keep(tensor: Tensor, path: tuple[str, ...], tensors: dict[str, Tensor]) -> str:
    if not _savable(tensor.dtype):
        raise TypeError(f"{_shown(path)}: got {tensor.dtype}, which a safetensors file cannot hold")
    name = ".".join(path) or "state"
    while name in tensors:  # "a.b" may be a key, and b one in a
        name += "_"
    tensors[name] = tensor
    return name


def _copied(tensor: Tensor, path: tuple[str, ...]) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "meta" if tensor.is_meta else "quantized" if tensor.is_quantized else str(tensor.layout)
        raise TypeError(f"{_shown(path)}: got a {kind} tensor, want a dense one")
    # A copy, since training may go on before the file is written; and one each, since files hold no shared memory.
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _of_array(array: "np.ndarray[Any, Any]", path: tuple[str, ...]) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C"))
    except (TypeError, ValueError):
        raise TypeError(f"{_shown(path)}: got an array of {array.dtype}, {WANTED}") from None


@cache
def _savable(dtype: torch.dtype) -> bool:
    try:
        safetensors.torch.save({"": torch.empty(0, dtype=dtype)})
    except (KeyError, ValueError):
        return False
    return True


def _shown(path: tuple[str, ...]) -> str:
    return f"checkpoint state at {'.'.join(path)!r}" if path else "checkpoint state"
