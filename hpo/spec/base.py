"""What all spec models share: frozen, no unknown field, no NaN, no NUL byte, and errors with a stable code."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError


class SpecModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


def refuse(code: str, message: str, *, field: str | None = None) -> PydanticCustomError:
    """An error for a validator to raise; the API turns ``code`` and ``message`` into a problem's field error.

    A validator of a whole model names the ``field`` at fault, which pydantic's own location then lacks.
    """
    # PydanticCustomError formats its template, so braces of the user's own input must not reach it as one.
    return PydanticCustomError(code, "{text}", {"text": message} | ({} if field is None else {"field": field}))


def escaped(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


def _storable(text: str) -> str:
    if "\x00" in text:
        raise refuse("nul_character", "text must not contain U+0000")
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise refuse("lone_surrogate", "text must be valid Unicode, got a lone surrogate")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Name = Annotated[Text, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
MetricName = Annotated[Text, Field(min_length=1, max_length=100)]
# A number and nothing that can be taken for one: neither true nor "0.5".
Real = Annotated[float, Field(strict=True)]
QueueName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
