"""P2: a study by form or YAML: what is wrong stands beside its field, and a form makes one study."""

import html as markup
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.dashboard.pages.new_study import starters
from api.schemas.studies import StudyCreate
from hpo.lifecycle.studies import normalise
from hpo.spec.source import read
from tests.integration.api.caller import Api
from tests.integration.dashboard.conftest import Pages

EXAMPLES = sorted(Path("examples").glob("*-asha.yaml"))
# Few lines that stand for 8^9 values once the anchors are written out.
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 9))


def filled(html: str) -> dict[str, Any]:
    """What a browser would send of the form as it stands."""
    form = html[html.index('id="new"') : html.rindex("</form>")]
    fields: dict[str, Any] = {}
    for name, value in re.findall(r'<input[^>]* name="([^"]+)" value="([^"]*)"', form):
        fields[markup.unescape(name)] = markup.unescape(value)
    for name, options in re.findall(r'<select[^>]* name="([^"]+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options) or re.search(
            r'<option value="([^"]*)"', options
        )
        fields[markup.unescape(name)] = markup.unescape(chosen.group(1)) if chosen else ""
    for name, text in re.findall(r'<textarea[^>]*?name="([^"]+)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        fields[name] = markup.unescape(text)
    del fields["csrf"]
    return fields


@pytest.mark.parametrize("name", starters())
def test_each_template_is_valid_as_it_stands(name: str) -> None:
    normalise(StudyCreate.model_validate(read(starters()[name][1]).data).to_spec())


def test_a_form_sent_as_it_was_drawn_makes_the_study_of_its_template(api: Api, pages: Pages) -> None:
    sent = filled(pages.get("/studies/new"))
    answer = pages.send("/studies/new", **sent, do="create")
    assert (answer.status_code, answer.headers["location"]) == (303, "/studies/digits-asha")
    made = api.get("/studies/digits-asha").json()
    wanted = read(starters()["digits"][1]).data
    assert made["state"] == "running"
    assert [param["name"] for param in made["search_space"]] == [param["name"] for param in wanted["search_space"]]
    assert made["search_space"][4]["choices"] == ["sgd", "rmsprop", "adam"]
    assert made["trainer"]["config"] == wanted["trainer"]["config"]
    # The button pressed twice: the same study; the content changed: the name is taken.
    assert pages.send("/studies/new", **sent, do="create").status_code == 303
    taken = pages.send("/studies/new", **{**sent, "t:/description": "other"}, do="create")
    assert taken.status_code == 422
    assert "there is a study named" in markup.unescape(taken.text)
    assert api.stored() == 1


def test_a_study_can_be_created_without_starting_it(api: Api, pages: Pages, reader: Pages) -> None:
    sent = filled(pages.get("/studies/new?template=external"))
    assert reader.send("/studies/new", **sent, do="create").status_code == 403
    assert pages.send("/studies/new", **sent, do="create-paused").status_code == 303
    assert api.get("/studies/my-search").json()["state"] == "created"


def test_each_error_stands_beside_its_field(api: Api, pages: Pages) -> None:
    sent = filled(pages.get("/studies/new?template=external"))
    bad = {**sent, "t:/name": "no blanks", "y:/search_space/0/low": "0", "y:/budget/max_trials": "<b>many"}
    answer = pages.send("/studies/new/dry-run", **bad, do="create")
    assert answer.status_code == 200
    found = {
        field: markup.unescape(message)
        for field, message in re.findall(r'<span class="error" id="f([^"]+)-e">([^<]*)</span>', answer.text)
    }
    assert set(found) == {"-name", "-search_space-0-low", "-budget-max_trials"}
    assert found["-search_space-0-low"] == "low must be > 0 when log is true, got 0"
    assert "<b>many" not in answer.text
    assert pages.send("/studies/new", **bad, do="create").status_code == 422
    assert api.stored() == 0


def test_rows_come_and_go_and_a_type_brings_its_fields(pages: Pages) -> None:
    sent = filled(pages.get("/studies/new?template=external"))
    more = filled(pages.send("/studies/new", **sent, do="add:search_space").text)
    assert more["t:/search_space/1/type"] == "float"
    typed = {**more, "t:/search_space/1/type": "categorical", "t:/search_space/1/name": "kind"}
    drawn = filled(pages.send("/studies/new/dry-run", **typed).text)
    assert "l:/search_space/1/choices" in drawn
    assert "y:/search_space/1/low" not in drawn
    chosen = {**drawn, "l:/search_space/1/choices": "a, b", "m:/search_space/1/when": ""}
    fewer = filled(pages.send("/studies/new", **chosen, do="remove:search_space/0").text)
    assert (fewer["t:/search_space/0/name"], fewer["l:/search_space/0/choices"]) == ("kind", "a, b")
    assert "t:/search_space/1/name" not in fewer
    other = filled(pages.send("/studies/new/dry-run", **{**sent, "t:/scheduler/type": "fifo"}).text)
    assert "y:/scheduler/reduction_factor" not in other


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_yaml_is_taken_as_the_command_line_takes_it(api: Api, pages: Pages, example: Path) -> None:
    sent = filled(pages.get("/studies/new?tab=yaml")) | {"yaml": example.read_text()}
    form = pages.send("/studies/new", **sent, do="form")
    assert 'aria-current="page">Form' in form.text
    back = filled(pages.send("/studies/new", **filled(form.text), do="yaml").text)["yaml"]
    given, returned = (
        normalise(StudyCreate.model_validate(yaml.safe_load(text)).to_spec()) for text in (example.read_text(), back)
    )
    assert given == returned
    assert pages.send("/studies/new", **sent, do="create-paused").status_code == 303
    assert api.stored() == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nbudget: [1\n", "line 3:"),
        ("- 1\n", "want a mapping of fields"),
        ("name: a\nbudget:\n  max_trials: none\n", "Line 3: <code>/budget/max_trials</code>"),
        (BOMB, "it holds more than 200,000 values"),
        ("a: &a [*a]\n", "an anchor holds itself"),
        ("name: " + "[" * 5000, "it is nested too deeply"),
        ("name: .nan\n", "a number must be finite"),
        ("x" * 300_000, "at most 256,000 characters"),
    ],
)
def test_yaml_that_is_wrong_says_where(api: Api, pages: Pages, text: str, said: str) -> None:
    answer = pages.send("/studies/new", tab="yaml", key="k", yaml=text, do="create")
    assert answer.status_code == 422
    assert said in answer.text
    assert api.stored() == 0


def test_a_clone_begins_with_the_study(api: Api, pages: Pages) -> None:
    api.create("first", labels={"team": "vision"}, advance=False, confirm=None)
    sent = filled(pages.get("/studies/new?clone=first"))
    assert sent["t:/name"] == "first-copy"
    assert "team: vision" in sent["extra"]
    assert pages.send("/studies/new", **sent, do="create").headers["location"] == "/studies/first-copy"
    first, copy = (api.get(f"/studies/{name}").json() for name in ("first", "first-copy"))
    assert [copy[field] for field in ("search_space", "sampler", "scheduler", "labels", "budget")] == [
        first[field] for field in ("search_space", "sampler", "scheduler", "labels", "budget")
    ]
    assert pages.ask("/studies/new?clone=nowhere").status_code == 404


def test_a_form_that_was_tampered_with_is_refused_in_words(pages: Pages) -> None:
    for fields in (
        {"t:/name": "a", "t:/name/x": "b"},
        {"t:/search_space/x/name": "b"},
        {"do": "add:nothing"},
        {"do": "remove:search_space/-1"},
        {"t:/search_space/0": "x"},
        {"t:/search_space": "x"},
        {"t:/sampler": "tpe"},
        {"t:/trainer": "image-cnn"},
        {"extra": "search_space: x", "do": "add:search_space"},
    ):
        assert pages.send("/studies/new", **{"key": "k", **fields}).status_code == 400, fields
    for fields in ({"y:/search_space/0/type": "[a, b]"}, {"y:/trainer/name": "[a]"}, {"y:/sampler/type": "{a: 1}"}):
        assert pages.send("/studies/new", **{"key": "k", "do": "create", **fields}).status_code == 422, fields
