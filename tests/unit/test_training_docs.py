"""docs/training.md tells of every entry of every image network, and of every metric, as the code has it."""

import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from hpo.spec.search import OutcomeConstraint
from hpo.spec.study import Confirm
from ladder.specfile import parse
from models.catalog import IMAGE_METRICS, TEST_METRICS, TRAINERS
from models.image_config import ImageCnnConfig

DOCS = Path(__file__).parents[2] / "docs" / "training.md"
TEXT = DOCS.read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| `")]
ENTRIES = {row[0].strip("`"): row for row in ROWS if len(row) == 4}


def options(annotation: Any) -> set[Any]:
    """The words that a field takes; none if it takes others."""
    return set(get_args(annotation)) if get_origin(annotation) is Literal else set()


def test_every_entry_has_a_row_and_every_row_is_an_entry() -> None:
    assert len(ENTRIES) == len([row for row in ROWS if len(row) == 4])
    assert ENTRIES.keys() == ImageCnnConfig.model_fields.keys()


@pytest.mark.parametrize("name", ImageCnnConfig.model_fields)
def test_the_row_of_an_entry_has_its_default_and_its_words(name: str) -> None:
    field, (_, default, values, _) = ImageCnnConfig.model_fields[name], ENTRIES[name]
    if field.default is None:
        assert default == "none"
    elif isinstance(field.default, float):
        assert float(default.strip("`")) == pytest.approx(field.default, abs=1e-4)
    else:
        assert default == f"`{field.default}`"
    if options(field.annotation):
        assert set(re.findall(r"`(.+?)`", values)) == options(field.annotation)


def test_every_metric_is_told() -> None:
    told = set(re.findall(r"`([a-z0-9_]+)`", TEXT))
    assert set(IMAGE_METRICS) <= told
    assert "test_acc" in TEST_METRICS
    assert "test_acc" in told


def test_what_may_change_in_training_is_told() -> None:
    (sentence,) = re.findall(r"With population training(.+?);", TEXT, re.DOTALL)
    assert set(re.findall(r"`([a-z0-9_]+)`", sentence)) == TRAINERS["image-cnn"].mutable


def test_what_cannot_be_searched_is_told() -> None:
    (sentence,) = re.findall(r"search space; but (.+?) cannot be searched", TEXT, re.DOTALL)
    assert set(re.findall(r"`([a-z0-9_]+)`", sentence)) == TRAINERS["image-cnn"].common


def test_the_yaml_of_the_text_is_what_a_study_takes() -> None:
    blocks = [parse(block, str(DOCS)).data for block in re.findall(r"```yaml\n(.+?)```", TEXT, re.DOTALL)]
    fields = {name: value for block in blocks for name, value in block.items()}
    assert fields.keys() == {"trainer", "search_space", "constraints", "confirm"}
    assert Confirm.model_validate(fields["confirm"]).seeds == 5
    assert [OutcomeConstraint.model_validate(each).value for each in fields["constraints"]] == [50, 10]
