"""A study's definition as a file."""

from api.dashboard.spec_text import differences, dumped
from hpo.spec.study import StudySpec
from ladder.specfile import parse
from tests.integration.api.caller import spec

ODD = ["1e5", "no", "12:30", "010", "", "<b>", "a: b", "é\u2028"]


def test_the_file_says_the_same_study_to_readers_of_yaml_1_2() -> None:
    """PyYAML leaves 1e5 without quotes, which YAML 1.2 reads as a number."""
    space = [
        {"name": "lr", "type": "float", "low": 1e-7, "high": 1, "log": True},
        {"name": "word", "type": "categorical", "choices": ODD},
    ]
    asked = StudySpec.model_validate(spec("s", search_space=space))
    text = dumped(asked.model_dump(mode="json"))
    assert StudySpec.model_validate(parse(text, "s.yaml").data) == asked


def test_what_departs_from_the_defaults_is_named_with_them() -> None:
    given = StudySpec.model_validate(spec("s", budget={"max_trials": 7}, scheduler={"type": "fifo", "max_resource": 3}))
    found = {field: (value, default) for field, value, default in differences(given.model_dump(mode="json"))}
    assert found["budget.max_trials"] == ("7", "100")
    assert found["scheduler"][0] == "{type: fifo, max_resource: 3}"
    assert "retry" not in found
    assert "name" not in found
