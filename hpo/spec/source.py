"""A spec as YAML text: read by the rules of YAML 1.2, with the line of every field for errors to name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

MAX_VALUES = 200_000  # once anchors are written out: a few lines of them can stand for billions


class NotYaml(ValueError):
    """The text cannot be read: why, and the line at fault, counted from 1, where it is known."""

    def __init__(self, problem: str, line: int | None) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line


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
class Source:
    """A document. ``lines`` maps the JSON pointer of every value to its line, counted from 1."""

    data: Any
    lines: dict[str, int]

    def line(self, pointer: str) -> int:
        """Of a field, or of the nearest one around it."""
        while pointer not in self.lines and pointer:
            pointer = pointer.rpartition("/")[0]
        return self.lines.get(pointer, 1)


def read(text: str) -> Source:
    """Parse one document; None as data where there is none. Raises NotYaml."""
    try:
        loader = CoreLoader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return Source(None, {})
            _size(root, {})
            return Source(loader.construct_document(root), dict(_lines(root, "")))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise NotYaml(str(error.problem), line) from error
    except yaml.YAMLError as error:
        raise NotYaml(str(error).splitlines()[0], None) from error
    except RecursionError:
        raise NotYaml("it is nested too deeply", None) from None


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node stands for with its anchors written out. Raises NotYaml if they are too many."""
    if id(node) in known:
        if known[id(node)] == 0:
            raise NotYaml("an anchor holds itself", node.start_mark.line + 1)
        return known[id(node)]
    known[id(node)] = 0  # while it is counted
    size = 1
    if isinstance(node, yaml.MappingNode):
        size += sum(_size(key, known) + _size(value, known) for key, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_size(value, known) for value in node.value)
    if size > MAX_VALUES:
        raise NotYaml(f"it holds more than {MAX_VALUES:,} values", node.start_mark.line + 1)
    known[id(node)] = size
    return size


def _lines(node: yaml.Node, pointer: str) -> Iterator[tuple[str, int]]:
    yield pointer, node.start_mark.line + 1
    children: Sequence[tuple[str, yaml.Node]] = ()
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value).replace("~", "~0").replace("/", "~1"), value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(index), value) for index, value in enumerate(node.value)]
    for key, value in children:
        yield from _lines(value, f"{pointer}/{key}")
