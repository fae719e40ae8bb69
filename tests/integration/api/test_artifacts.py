"""Checkpoints over HTTP: in whole or not at all, with the hash that was told; out in parts, and not again in vain."""

import base64
import hashlib
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from httpx import Client

from api import incoming
from api.main import create_app
from hpo.settings import Settings
from tests.integration.api.caller import V1, Api, Json, problem
from tests.integration.api.server import serve

NAME = "step-2.safetensors"
PATH = f"/studies/s/trials/0/artifacts/{NAME}"
CONTENT = bytes(range(256)) * 40
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def trial(api: Api) -> Json:
    api.create()
    (trial,) = api.ask()
    return trial


def put(api: Api, trial: Json, content: Any = CONTENT, **headers: str) -> Any:
    lease = {"X-Ladder-Lease": trial["lease"]["token"], "Content-Type": "application/octet-stream"}
    return api.call("PUT", PATH, raw=content, scope="worker", headers=lease | headers)


def files(settings: Settings, trial: Json) -> list[Path]:
    """What the store holds of the trial."""
    return [path for path in (settings.checkpoint_root / trial["study_id"]).rglob("*") if path.is_file()]


def test_bytes_with_the_hash_that_was_told_are_stored(api: Api, trial: Json) -> None:
    digest = base64.b64encode(bytes.fromhex(SHA256)).decode()
    for headers in ({"X-Content-SHA256": SHA256.upper()}, {"Digest": f"md5=x, SHA-256={digest}"}):
        answer = put(api, trial, **headers)
        assert answer.status_code == 201, answer.text
        assert answer.json()["sha256"] == SHA256
        assert answer.headers["location"] == f"{V1}/studies/{trial['study_id']}/trials/0/artifacts/{NAME}"
    assert api.get(answer.headers["location"], scope="worker").content == CONTENT
    assert len(api.get("/studies/s/trials/0/artifacts").json()["items"]) == 1


def test_bytes_with_another_hash_leave_nothing_behind(api: Api, trial: Json, settings: Settings) -> None:
    answer = put(api, trial, CONTENT + b"x", **{"X-Content-SHA256": SHA256})
    (error,) = problem(answer, 422, "validation_failed")["errors"]
    assert (error["pointer"], error["code"]) == ("/body", "sha256_mismatch")
    assert SHA256 in error["message"]
    assert files(settings, trial) == []
    assert api.get("/studies/s/trials/0/artifacts").json()["items"] == []


@pytest.mark.parametrize(
    ("headers", "pointer"),
    [
        ({"X-Content-SHA256": "abc"}, "/header/X-Content-SHA256"),
        ({"Digest": "sha-256=abc"}, "/header/Digest"),
        ({"Digest": "sha-256=%"}, "/header/Digest"),
        ({"X-Content-SHA256": "0" * 64, "Digest": f"sha-256={base64.b64encode(bytes(31) + b'1').decode()}"},
         "/header/Digest"),
    ],
)  # fmt: skip
def test_a_hash_that_is_none_is_refused(api: Api, trial: Json, headers: dict[str, str], pointer: str) -> None:
    (error,) = problem(put(api, trial, **headers), 422, "validation_failed")["errors"]
    assert error["pointer"] == pointer


def test_a_stored_checkpoint_is_never_changed(api: Api, trial: Json) -> None:
    assert put(api, trial).status_code == 201
    problem(
        put(api, trial, b"other", **{"X-Content-SHA256": hashlib.sha256(b"other").hexdigest()}), 409, "invalid_state"
    )
    problem(put(api, trial, b"other"), 422, "validation_failed")
    assert put(api, trial).status_code == 201
    assert api.get(PATH).content == CONTENT


def test_more_than_the_operator_allows_is_refused_while_it_arrives(api: Api, trial: Json, settings: Settings) -> None:
    small = settings.model_copy(update={"max_artifact_bytes": 100_000})
    with serve(create_app(small)) as url, Client(base_url=url, timeout=10) as client:
        there = Api(client, api.hand, api.project, api.tokens)
        problem(put(there, trial, bytes(100_001)), 413, "too_large")
        assert put(there, trial, bytes(100_000)).status_code == 201
    assert [path.stat().st_size for path in files(settings, trial) if path.name == NAME] == [100_000]


def test_a_connection_that_breaks_leaves_nothing_behind(api: Api, trial: Json, settings: Settings) -> None:
    class Broken(Exception):
        pass

    def half() -> Iterator[bytes]:
        yield CONTENT
        raise Broken

    headers = {"X-Ladder-Lease": trial["lease"]["token"], "Authorization": f"Bearer {api.tokens['worker']}"}
    with pytest.raises(Broken):
        api.client.put(V1 + PATH, content=half(), headers=headers)
    assert put(api, trial).status_code == 201  # answered after the server has seen the other end
    assert sorted(path.name for path in files(settings, trial)) == [NAME, f"{NAME}.json"]


def test_a_sender_that_falls_silent_is_refused(
    api: Api, trial: Json, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incoming, "SILENT_S", 0.2)
    head = [
        f"PUT {V1}{PATH} HTTP/1.1",
        "Host: ladder",
        f"Authorization: Bearer {api.tokens['worker']}",
        f"X-Ladder-Lease: {trial['lease']['token']}",
        "Content-Type: application/octet-stream",
        f"Content-Length: {len(CONTENT)}",
        "Connection: close",
    ]
    with socket.create_connection((api.client.base_url.host, api.client.base_url.port), timeout=10) as sender:
        sender.sendall("\r\n".join(head).encode() + b"\r\n\r\n" + CONTENT[:100])
        answer = b"".join(iter(partial(sender.recv, 65536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"nothing came for 0.2 s after 100 bytes" in answer
    assert files(settings, trial) == []


def test_a_part_is_read_by_its_range(api: Api, trial: Json) -> None:
    put(api, trial)
    size = len(CONTENT)
    for asked, begin, end in (("0-9", 0, 10), ("100-", 100, size), ("-5", size - 5, size), (f"0-{size * 2}", 0, size)):
        part = api.get(PATH, headers={"Range": f"bytes={asked}"})
        assert part.status_code == 206
        assert part.content == CONTENT[begin:end]
        assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
        assert part.headers["content-length"] == str(end - begin)
    for asked in (f"{size}-", "-0"):
        refused = api.get(PATH, headers={"Range": f"bytes={asked}"})
        problem(refused, 416, "range_not_satisfiable")
        assert refused.headers["content-range"] == f"bytes */{size}"
    for whole in ("bytes=0-1,5-6", "lines=1-2", "bytes=9-3", "bytes=-"):
        assert api.get(PATH, headers={"Range": whole}).content == CONTENT
    etag = api.get(PATH).headers["etag"]
    assert api.get(PATH, headers={"Range": "bytes=0-9", "If-Range": etag}).status_code == 206
    assert api.get(PATH, headers={"Range": "bytes=0-9", "If-Range": '"other"'}).status_code == 200


def test_what_is_known_is_not_sent_again_and_head_tells_what_there_is(api: Api, trial: Json) -> None:
    put(api, trial)
    head = api.call("HEAD", PATH, scope="read")
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["content-length"], head.headers["etag"]) == (str(len(CONTENT)), f'"{SHA256}"')
    assert head.headers["accept-ranges"] == "bytes"
    for method in ("GET", "HEAD"):
        known = api.call(method, PATH, headers={"If-None-Match": f'"x", W/"{SHA256}"'})
        assert (known.status_code, known.content) == (304, b"")
    assert api.call("HEAD", PATH.replace("step-2", "step-3")).status_code == 404
