"""What the operator may set, and how a wrong setting is refused."""

import pytest
from pydantic import ValidationError

from hpo.settings import Settings


def test_trainers_are_a_list_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LADDER_TRAINERS", raising=False)
    assert Settings().trainers == ()
    monkeypatch.setenv("LADDER_TRAINERS", " my-net,,team:net.v2 ,")
    assert Settings().trainers == ("my-net", "team:net.v2")
    monkeypatch.setenv("LADDER_TRAINERS", "")
    assert Settings().trainers == ()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("my net", "got 'my net'"),
        ("My-Net", "got 'My-Net'"),
        ("ok,synthetic", "'synthetic' comes with Ladder"),
        ("external", "'external' comes with Ladder"),
    ],
)
def test_a_name_that_no_trainer_can_have_is_refused(monkeypatch: pytest.MonkeyPatch, given: str, message: str) -> None:
    monkeypatch.setenv("LADDER_TRAINERS", given)
    with pytest.raises(ValidationError, match=message):
        Settings()
