"""An export with one line a row and one value a cell: CSV, and Parquet where pyarrow is installed."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from api.exports.lines import Column, Export, Kind, Line
from hpo.domain.errors import FieldError, InvalidSpec

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_lines(export: Export) -> Iterator[bytes]:
    """RFC 4180 with a header line; every text is quoted, numbers are not, what is missing is empty.

    Text that a spreadsheet would take for a formula begins with an apostrophe (OWASP CSV Injection).
    """
    columns = export.columns()
    yield _csv([[_text(column.name) for column in columns]])
    for lines in export.pages():
        yield _csv([[_cell(column, line) for column in columns] for line in lines])


def _csv(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(column: Column, line: Line) -> Any:
    value = _fitted(column.kind, column.of(line))
    if value is None:
        return ""
    if column.kind == "bool":
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat()
    return _text(value) if isinstance(value, str) else value


def _text(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value


def _fitted(kind: Kind, value: Any) -> Any:
    """As the one type of a column: JSON does not tell 1 from 1.0, and choices may be of several types."""
    if value is None or kind in ("bool", "time"):
        return value
    if kind == "text":
        return str(value) if isinstance(value, str) else json.dumps(value)
    return int(value) if kind == "int" else float(value)


class _Chunks(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        self._chunks: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        content = bytes(data)
        self._chunks.append(content)
        return len(content)

    def take(self) -> bytes:
        content = b"".join(self._chunks)
        self._chunks.clear()
        return content


def parquet_lines(export: Export) -> Iterator[bytes]:
    """One row group a page. Raises InvalidSpec where pyarrow is not installed."""
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        message = (
            "this server has no pyarrow; install it there: pip install 'ladder-hpo[parquet]', or take csv or jsonl"
        )
        raise InvalidSpec(FieldError("/query/format", "not_installed", message)) from None
    return _parquet(export, pa, parquet)


def _parquet(export: Export, pa: Any, parquet: Any) -> Iterator[bytes]:
    columns, chunks = export.columns(), _Chunks()
    types = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
    types["time"] = pa.timestamp("us", tz="UTC")
    schema = pa.schema([(column.name, types[column.kind]) for column in columns])
    with parquet.ParquetWriter(pa.PythonFile(chunks, mode="w"), schema, compression="zstd") as writer:
        for lines in export.pages():
            cells = [[_fitted(column.kind, column.of(line)) for line in lines] for column in columns]
            arrays = [pa.array(values, field.type) for values, field in zip(cells, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            yield chunks.take()
    yield chunks.take()
