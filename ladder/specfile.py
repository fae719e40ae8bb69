"""Study and contest specs in YAML: read by the rules of YAML 1.2, with the line of every field for errors to name."""

from dataclasses import dataclass, replace
from typing import Any

import yaml

from hpo.domain.errors import FieldError
from hpo.spec.source import CoreLoader, NotYaml, read
from ladder.errors import LocalError


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
        source = read(text)
    except NotYaml as error:
        line = "" if error.line is None else f":{error.line}"
        raise LocalError(f"{name}{line}: not valid YAML: {error.problem}", "correct that line") from error
    if not isinstance(source.data, dict):
        raise LocalError(f"{name}:1: want a mapping of fields, got {type(source.data).__name__}", "see examples/")
    return SpecFile(name, source.data, source.lines)


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
