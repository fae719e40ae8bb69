"""The published experiments under examples/: what the server would accept, and that they are the papers' designs."""

import importlib.util
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hpo.lifecycle.contests import study_specs
from hpo.lifecycle.studies import normalise
from hpo.plan import plan
from hpo.spec.contest import ContestSpec
from hpo.spec.schedulers import AshaSpec
from hpo.spec.study import StudySpec
from ladder.specfile import parse
from models.data import load_split
from models.image_config import ImageCnnConfig
from tests.unit.models.conftest import colour_images

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = sorted(EXAMPLES.glob("*.yaml"))
EXPERIMENTS = sorted(EXAMPLES.glob("e[1-4]-*.yaml"))


def read(name: str) -> dict[str, Any]:
    """As the command line reads it."""
    path = EXAMPLES / f"{name}.yaml"
    return parse(path.read_text(), str(path)).data


def contest(name: str) -> list[StudySpec]:
    return study_specs(ContestSpec.model_validate(read(name)))


def study(name: str) -> StudySpec:
    return normalise(StudySpec.model_validate(read(name)))


def head(path: Path) -> str:
    """The comment that the file begins with, as one line."""
    lines = path.read_text().splitlines()
    return " ".join(line.lstrip("# ") for line in lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_passes_the_dry_run(path: Path) -> None:
    specs = contest(path.stem) if "methods" in read(path.stem) else [study(path.stem)]
    assert all(plan(spec).epochs > 0 for spec in specs)
    kind = "contest" if "methods" in read(path.stem) else "study"
    assert f"ladder {kind} create -f examples/{path.name}" in path.read_text()


def test_there_is_a_file_for_every_experiment_and_one_for_a_cpu() -> None:
    assert {path.stem[:2] for path in EXPERIMENTS} == {"e1", "e2", "e3", "e4"}
    assert {path.stem[:2] for path in EXPERIMENTS if path.stem.endswith("-cpu")} == {"e1", "e3", "e4"}
    assert "contest-digits.yaml" in head(EXAMPLES / "e2-four-methods.yaml")


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_head_says_what_it_needs_how_long_it_takes_and_what_was_published(path: Path) -> None:
    told = head(path)
    assert "Needs: " in told
    assert "Takes: " in told
    assert "Beside it" in told
    wanted = "cpu" if path.stem.endswith("-cpu") else "gpu"
    config = read(path.stem)
    assert config.get("study", config)["trainer"]["resources"]["queue"] == wanted


def ends(spec: StudySpec) -> dict[str, tuple[Any, ...]]:
    return {
        param.name: param.choices if param.type == "categorical" else (param.low, param.high)
        for param in spec.search_space
        if param.type != "fixed"
    }


def test_e1_searches_space_2a_at_random_twenty_times() -> None:
    spec = study("e1-importance")
    assert ends(spec) == {
        "lr": (1e-5, 0.1),
        "dropout": (0.01, 0.4),
        "optimizer": ("adam", "adadelta", "rmsprop", "sgd"),
        "tuned_layers": (0, 9, 14, 18, 132),
        "image_size": (71, 128, 256),
        "batch_size": (16, 32, 64),
    }
    assert (spec.sampler.type, spec.max_trials) == ("random", 20)
    assert ends(study("e1-importance-cpu")).keys() == ends(spec).keys()


def test_e2_gives_each_of_four_methods_400_epochs() -> None:
    grid, random, asha, bayesian = contest("e2-four-methods")
    assert {spec.budget.max_epochs for spec in (grid, random, asha, bayesian)} == {400}
    assert grid.max_trials * grid.scheduler.max_resource == 400
    assert asha.scheduler == AshaSpec(min_resource=1, max_resource=16, reduction_factor=4, n_full=4)
    assert bayesian.sampler.type == "gp"
    assert bayesian.sampler.n_startup_trials == 4
    assert ends(random) == {
        "lr": (1e-4, 0.03),
        "dropout": (0.01, 0.4),
        "optimizer": ("adam", "adadelta", "rmsprop", "sgd"),
        "tuned_layers": (9, 14, 18, 132),
    }


@pytest.mark.parametrize("name", ["e3-subset-search", "e3-subset-search-cpu"])
def test_e3_has_six_arms_on_one_split_that_end_on_the_whole_training_set(name: str) -> None:
    arms = contest(name)
    assert len(arms) == 6
    differ = ("train_fraction", "balance", "class_weights", "augment")
    assert len({str({k: v for k, v in arm.trainer.config.items() if k not in differ}) for arm in arms}) == 1
    assert {arm.scheduler for arm in arms} == {AshaSpec(min_resource=1, max_resource=16, reduction_factor=4, n_full=2)}
    told = [tuple(arm.trainer.config.get(entry) for entry in differ) for arm in arms]
    assert told == [
        (1.0, "subset", None, None),
        (0.115, None, None, None),
        (0.115, None, "log", None),
        (0.115, None, None, "paper_affine"),
        (0.115, None, "log", "paper_affine"),
        (1.0, None, None, None),
    ]
    for arm in arms:
        assert arm.confirm is not None
        assert arm.confirm.top == 1
        assert {**arm.trainer.config, **arm.confirm.config}.items() >= {
            "train_fraction": 1.0,
            "balance": "none",
        }.items()


@pytest.mark.parametrize("name", ["e4-mnist", "e4-fashion-mnist", "e4-cifar10"])
def test_e4_searches_the_papers_space_by_three_methods_at_the_price_of_120_random_runs(name: str) -> None:
    random, tpe, hyperband = contest(name)
    assert {spec.budget.max_epochs for spec in (random, tpe, hyperband)} == {120 * 10}
    assert (random.sampler.type, tpe.sampler.type, hyperband.scheduler.type) == ("random", "tpe", "hyperband")
    dropout, *others = ends(random).items()
    assert dropout == ("dropout", (0.0, 0.4))
    assert 5 * int(np.prod([len(choices) for _, choices in others])) == 2880  # with dropout in steps of 0.1


def test_e4_made_small_searches_a_part_of_the_space_on_10_000_images() -> None:
    small, whole = study("e4-fashion-mnist-cpu"), contest("e4-fashion-mnist")[0]
    assert ends(small).keys() == ends(whole).keys()
    assert all(set(choices) <= set(ends(whole)[name]) for name, choices in ends(small).items())
    assert small.trainer.config["train_images"] == 10_000
    assert small.scheduler.max_resource == 10


# -- the data of E3


@pytest.fixture(scope="module")
def e3() -> ModuleType:
    found = importlib.util.spec_from_file_location("e3_data", EXAMPLES / "e3_data.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


Drawn = dict[str, np.ndarray]


@pytest.fixture
def drawn(e3: ModuleType, tmp_path: Path) -> Callable[..., Drawn]:
    """Runs the script on 80 + 30 images of each class."""
    (images, labels), (test_images, test_labels) = colour_images(80), colour_images(30, seed=1)
    np.savez(tmp_path / "cifar10.npz", images=images, labels=labels, test_images=test_images, test_labels=test_labels)

    def draw(*arguments: str) -> Drawn:
        out = tmp_path / "out.npz"
        given = [
            "--data-root",
            str(tmp_path),
            "--out",
            str(out),
            "--most",
            "60",
            "--rarest",
            "15",
            "--test-per-class",
            "12",
        ]
        assert e3.main([*given, *arguments]) == 0
        with np.load(out) as file:
            return dict(file)

    return draw


def test_the_stand_in_is_imbalanced_and_its_test_part_is_not(drawn: Callable[..., Drawn]) -> None:
    found = drawn()
    names, counts = found["class_names"].tolist(), np.bincount(found["labels"])
    assert len(names) == 11
    assert names[-1] == "background"
    by_name = dict(zip(names, counts.tolist(), strict=True))
    assert (max(counts), by_name["automobile"], by_name["truck"], min(counts)) == (60, 60, 15, 15)
    assert by_name["background"] == round(60 * 160_000 / 260_518)
    ratios = [more / fewer for more, fewer in pairwise(sorted(counts[:-1].tolist(), reverse=True))]
    assert max(ratios) / min(ratios) < 1.1  # but for rounding, each class is by the same ratio rarer
    assert np.bincount(found["test_labels"]).tolist() == [12] * 11
    assert found["images"].shape == (len(found["labels"]), 32, 32, 3)
    assert found["images"].dtype == np.uint8


def test_no_picture_serves_twice_and_the_test_part_comes_from_the_test_part(drawn: Callable[..., Drawn]) -> None:
    found, (training, labels), (test, held_labels) = drawn(), colour_images(80), colour_images(30, seed=1)
    pool = {image.tobytes(): label for image, label in zip(training, labels.tolist(), strict=True)}
    held = {image.tobytes(): label for image, label in zip(test, held_labels.tolist(), strict=True)}
    named = [(image.tobytes(), label) for image, label in zip(found["images"], found["labels"].tolist(), strict=True)]
    pictures = [(image, label) for image, label in named if label < 10]
    assert len({image for image, _ in named}) == len(named)
    assert all(pool[image] == label for image, label in pictures)
    tested = zip(found["test_images"], found["test_labels"].tolist(), strict=True)
    assert all(held[image.tobytes()] == label for image, label in tested if label < 10)


def test_background_is_an_enlarged_corner(e3: ModuleType) -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:16, 16:] = 200
    assert [int(e3.corner(picture, which).mean()) for which in range(4)] == [0, 200, 0, 0]
    assert e3.corner(picture, 3).shape == (32, 32, 3)


def test_a_seed_gives_the_same_draw_and_another_seed_another(drawn: Callable[..., Drawn]) -> None:
    first, again, other = drawn(), drawn("--seed", "0"), drawn("--seed", "1")
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["images"], other["images"])


def test_dataset_npz_reads_what_was_drawn(drawn: Callable[..., Drawn], tmp_path: Path) -> None:
    found = drawn()
    config = ImageCnnConfig(dataset="npz", data_path="out.npz", balance="subset")
    split = load_split(config, tmp_path)
    assert split.class_names == tuple(found["class_names"].tolist())
    assert split.image.side == 32
    assert split.train.labels.bincount().tolist() == [12] * 11  # a fifth of the rarest class's 15 validates


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--most", "100"], "100 pictures of automobile are wanted, the training part has 80"),
        (["--test-per-class", "30"], "30 pictures are wanted for background, the test part has 0 left over"),
        (["--data-path", "elsewhere"], "no cifar10 at"),
    ],
)
def test_what_cannot_be_drawn_is_told_in_a_line_and_nothing_is_written(
    arguments: list[str], told: str, e3: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images, labels), (test_images, test_labels) = colour_images(80), colour_images(30, seed=1)
    np.savez(tmp_path / "cifar10.npz", images=images, labels=labels, test_images=test_images, test_labels=test_labels)
    given = ["--data-root", str(tmp_path), "--most", "60", "--rarest", "15", "--test-per-class", "12"]
    assert e3.main([*given, *arguments]) == 1
    assert told in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cifar10.npz"]
    with pytest.raises(SystemExit, match="2"):
        e3.main([*given, "--rarest", "70"])
    assert "want 10 <= rarest <= most, got 70 and 60" in capsys.readouterr().err
