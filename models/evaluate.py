"""Score the network of a checkpoint on the sealed test part: ``python -m models.evaluate CHECKPOINT --data-root DIR``.

Prints one JSON line. What is wrong with the checkpoint or the data goes to stderr in one line, with exit status 1.
"""

import argparse
import json
import sys
from pathlib import Path

from models.catalog import parse_config
from models.checkpoint import CorruptCheckpoint, load
from models.data import check_unchanged, load_split
from models.image_cnn import score_test
from models.image_config import ImageCnnConfig
from models.job import BadData, InvalidConfig
from models.training import Training


def evaluate_test(checkpoint: Path, data_root: Path) -> dict[str, float | int]:
    """``test_acc``, ``test_loss`` and the number of ``images``.

    Raises CorruptCheckpoint, BadData (also where the data is not the one trained on), and InvalidConfig for a
    checkpoint of a trainer without images.
    """
    loaded = load(checkpoint)
    identity = loaded.manifest.identity
    config = parse_config(identity.trainer, identity.config)
    if not isinstance(config, ImageCnnConfig):
        raise InvalidConfig("trainer", f"got {identity.trainer}, which has no test images")
    split = load_split(config, data_root)
    check_unchanged(split.sha256, identity.split_sha256, config, data_root)
    training = Training(config, split, seed=0, length=identity.step, threads=1, precision=identity.precision)
    training.restore(loaded)
    found = score_test(training, data_root)
    return {"test_acc": found["test_acc"], "test_loss": found["test_loss"], "images": int(found["test_images"])}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m models.evaluate", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--data-root", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        result = evaluate_test(arguments.checkpoint, arguments.data_root)
    except (CorruptCheckpoint, BadData, InvalidConfig) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{json.dumps(result)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
