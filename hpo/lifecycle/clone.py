"""A new study from the definition of another, with changes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from hpo.domain.errors import FieldError, InvalidSpec
from hpo.spec.errors import errors_of
from hpo.spec.study import StudySpec

Json = dict[str, Any]
CHANGES = "/changes"  # where the changes stand in the request


def cloned(spec: Mapping[str, Any], name: str, changes: Mapping[str, Any]) -> StudySpec:
    """The spec of a study that is called ``name`` and otherwise what ``changes`` make of a stored ``spec``.

    Changes are merged as RFC 7396 says: objects field by field, everything else replaced, null takes a field back to
    its default. An object of another ``type`` is replaced whole. What ``auto`` had picked is picked anew.
    Raises InvalidSpec naming every wrong field.
    """
    if "name" in changes:
        raise InvalidSpec(FieldError(f"{CHANGES}/name", "given_twice", "the name stands beside changes, not in them"))
    merged = _merged(_unpicked(spec), changes) | {"name": name}
    try:
        return StudySpec.model_validate(merged)
    except ValidationError as error:
        raise in_changes(InvalidSpec(*errors_of(error, merged))) from error


def in_changes(invalid: InvalidSpec) -> InvalidSpec:
    """The errors of the merged spec where the request has its fields."""
    return InvalidSpec(
        *(
            error if error.pointer == "/name" else replace(error, pointer=CHANGES + error.pointer)
            for error in invalid.errors
        )
    )


def _unpicked(spec: Mapping[str, Any]) -> Json:
    base = dict(spec)
    for field in ("sampler", "scheduler"):
        if base[field]["type"] == "auto":
            base[field] = {key: value for key, value in base[field].items() if key not in ("picked", "why")}
    return base


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Json:
    # As deep as the base is, which is bounded: what is deeper in the changes replaces.
    merged = dict(base)
    for key, value in changes.items():
        before = base.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(before, dict) and _same_kind(before, value):
            merged[key] = _merged(before, value)
        else:
            merged[key] = value
    return merged


def _same_kind(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return "type" not in after or after["type"] == before.get("type")
