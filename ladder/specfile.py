"""Study and contest specs in YAML: read by the rules of YAML 1.2, with the line of every field for errors to name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from hpo.domain.errors import FieldError
from ladder.errors import LocalError


class CoreLoader(yaml.SafeLoader):
    """SafeLoader by the core schema of YAML 1.2.

    PyYAML reads 1.1, where ``1e-4`` is text, ``no`` is false and ``12:30`` is a number.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


CoreLoader.yaml_implicit_resolvers = {}  # instead of 1.1's, which it would inherit
for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?[0-9]+$", list("-+0123456789")),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list("-+.")),
):
    CoreLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)
# 1.1's constructor would read 010 as eight.
CoreLoader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(str(node.value)))


@dataclass(frozen=True, slots=True)
class SpecFile:
    """A parsed file. ``lines`` maps the JSON pointer of every value to its line, counted from 1."""

    name: str
    data: dict[str, Any]
    lines: dict[str, int]

    def located(self, error: FieldError) -> FieldError:
        """The error with ``file:line`` before its pointer: the line of the field, or of the nearest one around it."""
        pointer = error.pointer
        while pointer not in self.lines and pointer:
            pointer = pointer.rpartition("/")[0]
        return replace(error, pointer=f"{self.name}:{self.lines.get(pointer, 1)}: {error.pointer}")


def parse(text: str, name: str) -> SpecFile:
    """Read a study spec. Raises LocalError with file and line if it is not YAML, or not a mapping."""
    try:
        loader = CoreLoader(text)
        try:
            root = loader.get_single_node()
            data = None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise LocalError(f"{name}:{line}: not valid YAML: {error.problem}", "correct that line") from error
    except yaml.YAMLError as error:
        raise LocalError(f"{name}: not valid YAML: {error}".splitlines()[0]) from error
    if not isinstance(data, dict) or root is None:
        raise LocalError(f"{name}:1: want a mapping of fields, got {type(data).__name__}", "see examples/")
    return SpecFile(name, data, dict(_lines(root, "")))


def override(data: dict[str, Any], assignment: str) -> None:
    """Apply ``a.b=c`` in place: ``c`` is YAML, a number in the path is a place in a list, missing mappings are made.

    Raises LocalError if it cannot be read or leads through something that has no fields.
    """
    path, equals, text = assignment.partition("=")
    keys = path.split(".")
    if not equals or not all(keys):
        raise LocalError(f"--set wants path=value, got {assignment!r}", "for example --set scheduler.max_resource=9")
    try:
        value = yaml.load(text, CoreLoader)
    except yaml.YAMLError as error:
        raise LocalError(f"--set {path}: not a YAML value: {text!r}") from error
    at: Any = data
    for depth, key in enumerate(keys):
        place: Any
        if isinstance(at, dict):
            place = key
        elif isinstance(at, list) and key.isdigit() and int(key) < len(at):
            place = int(key)
        else:
            raise LocalError(f"--set {path}: there is no {key!r} in {'.'.join(keys[:depth]) or 'the study'}")
        if depth == len(keys) - 1:
            at[place] = value
        else:
            at = at.setdefault(place, {}) if isinstance(at, dict) else at[place]


def _lines(node: yaml.Node, pointer: str) -> Iterator[tuple[str, int]]:
    yield pointer, node.start_mark.line + 1
    children: Sequence[tuple[str, yaml.Node]] = ()
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value).replace("~", "~0").replace("/", "~1"), value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(index), value) for index, value in enumerate(node.value)]
    for key, value in children:
        yield from _lines(value, f"{pointer}/{key}")
