"""The files around the code say what the code expects: compose, image, examples, package metadata, commands."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from hpo.lifecycle.contests import study_specs
from hpo.settings import Settings
from hpo.spec.contest import ContestSpec
from hpo.spec.schedulers import AshaSpec
from hpo.spec.study import StudySpec
from models.catalog import TRAINERS, parse_config

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SPECS = {path: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "examples").glob("*.yaml"))}
CONTESTS = [path for path, spec in SPECS.items() if "methods" in spec]
EXAMPLES = [path for path in SPECS if path not in CONTESTS]
WORKERS = ["worker", "worker-gpu"]
SERVERS = ["migrate", "api", "control"]


def environment(service: str) -> dict[str, str]:
    return dict(SERVICES[service]["environment"])


def dockerfile() -> list[str]:
    """The instructions, comments dropped and continued lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def test_compose_runs_every_role_on_the_two_real_engines() -> None:
    assert set(SERVICES) == {"postgres", "redis", "migrate", "api", "control", "worker", "worker-gpu"}
    assert SERVICES["postgres"]["image"].startswith("postgres:18.")
    assert re.match(r"redis:8\.(?!0|1|2\.[01]\b)", SERVICES["redis"]["image"])  # CVE-2025-49844 is fixed in 8.2.2
    # The image keeps its data below a directory per major version from 18 on; the old mount point would lose them.
    assert SERVICES["postgres"]["volumes"] == ["postgres:/var/lib/postgresql"]


@pytest.mark.parametrize("service", SERVICES)
def test_every_container_of_compose_is_hardened_and_limited(service: str) -> None:
    config = SERVICES[service]
    assert config["read_only"] is True
    assert "/tmp" in config["tmpfs"]
    assert config["cap_drop"] == ["ALL"]
    assert config["security_opt"] == ["no-new-privileges:true"]
    assert set(config["deploy"]["resources"]["limits"]) == {"memory", "pids"}
    assert not config.get("privileged")


@pytest.mark.parametrize("service", SERVICES)
def test_ports_are_published_on_loopback_only(service: str) -> None:
    for port in SERVICES[service].get("ports", []):
        assert port.startswith("127.0.0.1:")


def test_redis_asks_for_a_password_keeps_an_append_only_file_and_evicts_nothing() -> None:
    shell, flag, script = SERVICES["redis"]["command"]
    assert (shell, flag) == ("sh", "-c")
    settings = dict(line.split(maxsplit=1) for line in script.splitlines()[1:-1])
    assert settings["requirepass"] == "$$REDISCLI_AUTH"
    assert settings["appendonly"] == "yes"
    assert settings["maxmemory-policy"] == "noeviction"
    assert script.startswith("exec ")  # so that SIGTERM reaches the server


@pytest.mark.parametrize("service", WORKERS)
def test_a_worker_is_given_no_database_and_time_to_hand_its_trial_back(service: str) -> None:
    config = SERVICES[service]
    assert not [name for name, value in environment(service).items() if "DATABASE" in name or "POSTGRES" in str(value)]
    assert not set(config["networks"]) & set(SERVICES["postgres"]["networks"])
    assert set(config["networks"]) & set(SERVICES["redis"]["networks"])
    assert set(config["networks"]) & set(SERVICES["api"]["networks"])
    assert float(config["stop_grace_period"].removesuffix("s")) > Settings(_env_file=None).drain_s
    assert "checkpoints:/var/lib/ladder/checkpoints" in config["volumes"]


def test_the_gpu_worker_starts_on_request_and_reserves_the_devices() -> None:
    gpu = SERVICES["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]
    assert len(device["device_ids"]) == 1  # a worker trains on one device
    assert [name for name in SERVICES if "profiles" in SERVICES[name]] == ["worker-gpu"]


def test_services_start_in_an_order_in_which_each_finds_what_it_needs() -> None:
    ready, done = {"condition": "service_healthy"}, {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"] == {"postgres": ready}
    for server in ("api", "control"):
        assert SERVICES[server]["depends_on"] == {"postgres": ready, "redis": ready, "migrate": done}
    for worker in WORKERS:
        assert SERVICES[worker]["depends_on"] == {"api": ready, "redis": ready}
    waited_for = {
        name for service in SERVICES.values() for name, how in service.get("depends_on", {}).items() if how == ready
    }
    assert waited_for == {name for name in SERVICES if "healthcheck" in SERVICES[name]}


def test_every_variable_that_compose_sets_is_a_setting() -> None:
    given = {name for service in [*SERVERS, *WORKERS] for name in environment(service)}
    assert given <= {f"LADDER_{name.upper()}" for name in Settings.model_fields}


def test_compose_refuses_to_start_without_its_passwords_and_holds_none() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for secret in ("POSTGRES_PASSWORD", "REDIS_PASSWORD"):
        uses = re.findall(rf"\${{{secret}[^}}]*}}", text)
        assert uses
        assert all(use.startswith(f"${{{secret}:?") for use in uses)
    asked = {name for name in re.findall(r"\${([A-Z_]+)", text) if not name.endswith("IMAGE")}
    example = (ROOT / ".env.example").read_text()
    assert asked == set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    assert re.findall(r"^([A-Z_]+)=(.+)$", example, re.MULTILINE) == []


def test_the_image_is_built_in_stages_and_runs_as_nobody_of_the_host() -> None:
    lines = dockerfile()
    assert len([line for line in lines if line.startswith("FROM ")]) == 2
    (user,) = [line for line in lines if line.startswith("USER ")]
    assert all(int(number) >= 10_000 for number in user.removeprefix("USER ").split(":"))
    assert lines.index(user) < lines.index(
        'ENTRYPOINT ["ladder"]'
    )  # exec form: SIGTERM reaches the process that drains
    assert lines[-1] == 'CMD ["--help"]'
    assert not [line for line in lines if re.search(r"password|secret|token", line, re.IGNORECASE)]
    assert re.search(r"^ARG PYTHON_IMAGE=python:\d+\.\d+\.\d+-slim-\w+$", "\n".join(lines), re.MULTILINE)


def test_the_image_gets_every_package_and_nothing_else() -> None:
    packages = {"api", "hpo", "ladder", "migrations", "models", "workers"}
    assert {line.split()[1] for line in dockerfile() if re.match(r"COPY \w+ \w+$", line)} == packages
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == packages | {"LICENSE", "README.md", "pyproject.toml", "constraints.txt"}
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_valid_study_whose_space_fits_its_trainer(path: Path) -> None:
    spec = StudySpec.model_validate(yaml.safe_load(path.read_text()))
    assert spec.name == path.stem
    assert spec.objective.metric in TRAINERS[spec.trainer.name].metrics
    for end in ("low", "high"):
        corner = {param.name: getattr(param, end, None) for param in spec.search_space if param.type != "categorical"}
        for param in spec.search_space:
            if param.type == "categorical":
                corner[param.name] = param.choices[0 if end == "low" else -1]
        parse_config(spec.trainer.name, {**spec.trainer.config, **corner})


@pytest.mark.parametrize("path", CONTESTS, ids=lambda path: path.name)
def test_an_example_contest_is_valid_with_all_its_studies(path: Path) -> None:
    contest = ContestSpec.model_validate(yaml.safe_load(path.read_text()))
    assert contest.name == path.stem
    studies = study_specs(contest)
    assert {study.budget.max_epochs for study in studies} == {contest.budget.max_epochs}
    assert [study.name for study in studies] == [entry.name for entry in contest.entries]


def test_the_digits_contest_has_the_four_methods_of_the_paper_at_400_epochs() -> None:
    contest = ContestSpec.model_validate(yaml.safe_load((ROOT / "examples/contest-digits.yaml").read_text()))
    grid, random, asha, tpe = study_specs(contest)[:4]
    assert contest.budget.max_epochs == 400
    assert [study.sampler.type for study in (grid, random, asha, tpe)] == ["grid", "random", "random", "tpe"]
    assert grid.max_trials * grid.scheduler.max_resource == 400
    assert {study.scheduler.max_resource for study in (grid, random, tpe)} == {25}
    assert asha.scheduler == AshaSpec(min_resource=1, max_resource=16, reduction_factor=4, n_full=4)


def test_the_digits_example_promotes_thirty_trials_and_is_what_the_demo_runs() -> None:
    example = yaml.safe_load((ROOT / "examples/digits-asha.yaml").read_text())
    spec = StudySpec.model_validate(example)
    assert (spec.max_trials, spec.sampler.type) == (30, "tpe")
    assert spec.scheduler.type == "asha"
    assert spec.scheduler.mode == "promote"
    demo = yaml.safe_load((ROOT / "ladder/demo_study.yaml").read_text())
    assert demo == example


def test_the_cifar_example_takes_the_path_of_its_data_as_a_parameter() -> None:
    example = yaml.safe_load((ROOT / "examples/cifar10-asha.yaml").read_text())
    assert "--set trainer.config.data_path=" in (ROOT / "examples/cifar10-asha.yaml").read_text()
    config = dict(example["trainer"]["config"], data_path="elsewhere/cifar10.npz")
    parse_config(example["trainer"]["name"], config)
    assert config["train_images"] == 10_000


def test_the_distribution_is_named_and_split_as_documented() -> None:
    assert PROJECT["name"] == "ladder-hpo"
    assert PROJECT["scripts"] == {"ladder": "ladder.cli:main"}
    assert set(PROJECT["optional-dependencies"]) == {
        *("server", "worker", "local", "dev"),
        *("pandas", "parquet", "tensorboard", "timm"),
    }
    light = {re.split(r"[<>=\[]", needed)[0] for needed in PROJECT["dependencies"]}
    assert light.isdisjoint({"torch", "sqlalchemy", "celery", "fastapi", "optuna"})  # a client installs none of these


def test_constraints_pin_what_is_installed_here() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = dict(line.split("==") for line in lines)
    normal = {normalised(name): version for name, version in pins.items()}
    installed = {normalised(each.name): each.version.split("+")[0] for each in distributions()}
    needed = [
        *PROJECT["dependencies"],
        *(need for extra in PROJECT["optional-dependencies"].values() for need in extra),
    ]
    direct = {normalised(re.split(r"[<>=\[]", need)[0]) for need in needed} - {"ladder-hpo"}
    assert direct <= normal.keys()
    assert {name: installed[name] for name in direct} == {name: normal[name] for name in direct}
    assert normal["torch"] == "2.13.0"  # without a local version: the CPU and the CUDA build are both right


def normalised(name: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_ci_runs_make_test_and_nothing_it_would_not() -> None:
    script = (ROOT / ".ci/run").read_text()
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert [line for line in script.splitlines() if line.startswith("make ")] == ['make test 2>&1 | tee "$log"']


def test_decisions_are_numbered_without_gaps_and_have_the_four_parts() -> None:
    records = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    for record in records:
        text = record.read_text()
        assert text.startswith(f"# {int(record.name[:4])}. ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences", "Rejected"]


def test_links_of_the_readme_lead_to_files_that_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", (ROOT / "README.md").read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
