"""``ladder.load_model``: an exported model in plain PyTorch."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ladder.errors import LocalError

if TYPE_CHECKING:
    from models.exported import ExportedModel


def load_model(path: str | Path) -> "ExportedModel":
    """The ``torch.nn.Module`` that ``ladder study export --what model -o path`` wrote, in eval mode on the CPU.

    It takes uint8 images ``[N, channels, side, side]`` and returns logits ``[N, classes]``; ``classes`` names them.
    Raises LocalError without torch, and ``models.exported.InvalidModel`` (a ValueError) for a missing or altered file.
    """
    if find_spec("torch") is None:
        raise LocalError("load_model needs torch on this machine", "pip install 'ladder-hpo[worker]'")
    from models.exported import load_model as load

    return load(path)
