"""Who is let in to the studio and what they may ask: strangers, tokens, sizes, ids, and a fuzz of every route."""

import asyncio
import errno
import functools
import json
import os
import re
import string
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transfer.studio import server
from keras_transfer.studio.guard import Guard
from keras_transfer.studio.ids import id_of
from keras_transfer.studio.jobs import Jobs
from keras_transfer.studio.routes import make_app, routes
from keras_transfer.workflow import serving
from tests.test_studio_pictures import png

TOKEN = "t0ken" * 8
HOST = "127.0.0.1:7878"
LET_IN = {"host": HOST, "authorization": f"Bearer {TOKEN}"}
JSON = {"content-type": "application/json"}


@functools.cache
def app(**changes):
    """A studio for two classes, whose verbs end without a word: what they do is tested elsewhere."""
    folder = Path(tempfile.mkdtemp(prefix="keras-transfer-studio-"))
    for label, name in enumerate(("cat", "dog")):
        (folder / "pets" / name).mkdir(parents=True)
        for number in range(4):
            (folder / "pets" / name / f"{number}.png").write_bytes(png(10 * label + number))
    (folder / "secret.txt").write_text("secret")
    given = serving.given_for(str(folder / "pets"), folder=folder / "saved_models")
    made = make_app(type(given)(**{**vars(given), "command": ("true",), **changes}))
    return Guard(made, token=TOKEN, hosts=[HOST, "localhost:7878"], port=7878)


def studio():
    return app().app.state.studio


def asked(path, method="GET", body=None, headers=LET_IN, query=b"", of=None):
    """Ask as a server would; return status, headers and body."""
    content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    own = {} if body is None or isinstance(body, bytes) else JSON
    length = {} if method == "GET" else {"content-length": str(len(content))}
    given = {**length, **own, **headers}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items() if value is not None],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 7878),
    }
    sent = []

    async def ask():
        incoming = [{"type": "http.request", "body": content}]

        async def receive():
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        await (of or app())(scope, receive, send)

    asyncio.run(ask())
    start = next(each for each in sent if each["type"] == "http.response.start")
    said = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], said, b"".join(each.get("body", b"") for each in sent[1:])


def picture():
    return studio().pictures.pictures()[0].id


def test_who_knows_the_token_gets_the_page_and_a_cookie_that_lets_in():
    status, headers, body = asked("/", headers={"host": HOST}, query=f"token={TOKEN}".encode())
    assert (status, b"<title>Studio</title>" in body) == (200, True)
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert asked("/api/state", headers={"host": HOST, "cookie": cookie.split(";")[0]})[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer no"},
        {"cookie": "studio-7878=no"},
        {"cookie": "studio-7878="},
        {"cookie": "\x01=;;"},
    ],
)
@pytest.mark.parametrize("path", ["/", "/main.js", "/api/state", "/api/events", "/nowhere"])
def test_nobody_else_gets_anything(headers, path):
    status, _, body = asked(path, headers={"host": HOST, **headers})
    assert status == 401
    assert b"Open the address that the terminal shows" in body


def test_the_token_is_taken_in_the_address_of_the_page_alone():
    assert asked("/api/state", headers={"host": HOST}, query=f"token={TOKEN}".encode())[0] == 401


@pytest.mark.parametrize("host", ["evil.example:7878", "127.0.0.1", "127.0.0.1:80", "", "localhost:7878.evil.example"])
def test_a_name_that_was_made_to_lead_here_is_refused(host):
    assert asked("/api/state", headers={**LET_IN, "host": host})[0] == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1:7878"},
        {"origin": "http://localhost:7878"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_page_from_elsewhere_may_ask_nothing_even_with_the_token(headers, method):
    status, _, body = asked("/api/undo", method, headers={**LET_IN, **headers})
    assert (status, json.loads(body)["error"]) == (403, "Only the studio's own page may ask this.")


def test_a_link_to_the_page_may_be_followed_from_elsewhere_and_nothing_else_may():
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    query = f"token={TOKEN}".encode()
    assert asked("/", headers={"host": HOST, **followed}, query=query)[0] == 200
    assert asked("/", headers={"host": HOST, **followed})[0] == 401
    assert asked("/api/state", headers={**LET_IN, **followed})[0] == 403
    assert asked("/", headers={**LET_IN, **followed, "sec-fetch-mode": "no-cors"})[0] == 403


@pytest.mark.parametrize("path", ["/", "/main.js", "/api/state", "/api/nowhere"])
def test_every_answer_says_what_a_browser_may_do_with_it(path):
    _, headers, _ = asked(path)
    assert headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-length": None}, 411),
        ({"content-length": "-1"}, 411),
        ({"content-length": "²"}, 411),
        ({"transfer-encoding": "chunked"}, 411),
        ({"content-length": str(2**21 + 1)}, 413),
        ({"content-length": "9" * 5000}, 413),
    ],
)
def test_what_is_sent_says_how_long_it_is_and_is_not_too_long(headers, status):
    assert asked("/api/undo", "POST", headers={**LET_IN, **headers})[0] == status


def test_pictures_may_be_larger_than_other_requests_and_not_any_size():
    label = id_of("class", "cat")
    for size, status in ((2**22, 422), (2**25 + 1, 413)):
        headers = {**LET_IN, "content-length": str(size)}
        assert asked(f"/api/collect/{label}", "POST", b"no picture", headers=headers)[0] == status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_other_ways_of_asking_are_refused(method):
    assert asked("/api/state", method)[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2f..%2fsecret.txt",
        "/page/../secret.txt",
        "//etc/passwd",
        "/api/pictures/../../secret.txt/small",
        "/api/pictures/..%2f..%2fsecret.txt/small",
        "/api/pictures/0000000000000000/small",
        "/api/runs/0000000000000000",
        "/api/runs/0000000000000000/report",
        "/api/runs/0000000000000000/bundles/0000000000000000",
        "/api/jobs/0000000000000000/drawn/0",
        "/__init__.py",
        "/routes.py",
    ],
)
def test_no_path_leads_to_a_file(path):
    status, _, body = asked(path)
    assert status in (400, 404, 422)
    assert b"secret" not in body.replace(b"secret.txt", b"")
    assert b"root:" not in body


def test_a_picture_is_given_by_its_id_and_is_a_new_jpeg():
    status, headers, body = asked(f"/api/pictures/{picture()}/small")
    assert (status, headers["content-type"], body[:3]) == (200, "image/jpeg", b"\xff\xd8\xff")


def test_what_a_person_decides_goes_through():
    one = picture()
    assert asked("/api/leave-out", "POST", {"ids": [one], "out": True})[0] == 200
    assert studio().pictures.picture(one).left_out
    assert asked("/api/undo", "POST")[0] == 200
    assert not studio().pictures.picture(one).left_out
    status, _, body = asked("/api/classes", "POST", {"name": "CAT"})
    assert (status, json.loads(body)["error"][:29]) == (400, "There is a class 'cat' alread")


@pytest.mark.parametrize(
    "wanted",
    [
        {"verb": "train", "backbone": "--debug"},
        {"verb": "train", "recipe": "head; rm -rf /"},
        {"verb": "train", "epochs": 0},
        {"verb": "train", "minutes": 1e999},
        {"verb": "train", "run": "../../escape"},
        {"verb": "predict", "run": "/etc", "pictures": ["/etc/passwd"]},
        {"verb": "export", "run": "0" * 16, "formats": ["../x"]},
        {"verb": "bundle", "run": "0" * 16, "target": "web"},
        {"verb": "rm"},
        {"verb": "train", "plan_file": "/etc/passwd"},
    ],
)
def test_a_verb_is_asked_for_by_what_the_tables_have(wanted):
    before = len(studio().jobs.all())
    status, _, body = asked("/api/jobs", "POST", json.dumps({"asked": wanted}).encode(), headers={**LET_IN, **JSON})
    assert status in (400, 404, 422), body
    assert len(studio().jobs.all()) == before


ROUTES = [
    (method, path)
    for route in routes.routes
    for method in route.methods
    for path in [route.path]
    if path != "/api/events"  # it never ends: the browser's test listens to it
]


def test_a_disk_that_is_full_is_a_sentence_and_what_was_decided_stands(monkeypatch):
    def full(path, content):  # stands for a disk that fills up meanwhile
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    made = app(runs_folder=Path(tempfile.mkdtemp()))
    collection = made.app.state.studio.pictures
    first = collection.pictures()[0]
    with monkeypatch.context() as patch:
        patch.setattr("keras_transfer.studio.collection.write_bytes", full)
        status, _, said = asked("/api/label", "POST", {"ids": [first.id], "label": None}, of=made)
    assert (status, json.loads(said)) == (
        500,
        {"error": "The system refuses that: No space left on device. Free some space."},
    )
    assert (collection.changed, collection.undoable) == (0, False)


IDS = st.one_of(
    st.sampled_from(["0" * 16, "small", "large", "..", "%2e%2e", "", "a" * 16]),
    st.text(string.printable, max_size=20),
    st.text(max_size=20),
    st.builds(lambda: picture()),
    st.builds(lambda: id_of("class", "cat")),
)


WORDS = ["ids", "label", "out", "name", "asked", "verb", "run", "pictures", "formats", "target", "split", "backbone"]
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=30),
        st.sampled_from(["train", "doctor", "predict", "export", "web", "test"]),
        IDS,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=8), inner, max_size=5)
    ),
    max_leaves=12,
)
BODIES = st.one_of(
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=200),
    st.binary(max_size=60).map(lambda tail: png()[:50] + tail),
    st.just(b'{"name": "\\ud800"}'),
    st.just(b"[" * 5000),
)
QUERIES = st.one_of(
    st.just(b""),
    st.binary(max_size=40),
    st.tuples(
        st.sampled_from(["offset", "limit", "view", "label", "finding", "split"]), st.text(max_size=12) | st.integers()
    ).map(lambda pair: f"{pair[0]}={pair[1]}".encode("utf-8", "surrogatepass")),
)


@settings(max_examples=300)
@given(
    route=st.sampled_from(ROUTES),
    parts=st.lists(IDS, min_size=3, max_size=3),
    body=BODIES,
    query=QUERIES,
    as_json=st.booleans(),
)
def test_whatever_is_asked_nothing_breaks(route, parts, body, query, as_json):
    method, path = route
    left = iter(parts)
    path = re.sub(r"\{\w+\}", lambda _: next(left), path)
    headers = {**LET_IN, **(JSON if as_json else {"content-type": "application/octet-stream"})}
    status, _said, content = asked(path, method, body if method == "POST" else None, headers, query)
    assert status < 500, (path, content)
    if status >= 400:
        assert json.loads(content)["error"]
    assert b"Traceback" not in content


def test_the_studio_listens_on_loopback_unless_told_otherwise_and_then_says_so():
    assert server.said_of(server.HOST) == ""
    assert "whoever reaches 0.0.0.0 and knows the token" in server.said_of("0.0.0.0")


def test_a_token_is_the_users_own_and_stays_when_the_studio_is_opened_again(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_STATE", str(tmp_path))
    token = server.token_of(tmp_path / "pets-studio")
    assert server.token_of(tmp_path / "pets-studio") == token
    assert server.token_of(tmp_path / "cars-studio") != token
    (file, _) = (tmp_path / "studio").iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_verbs_are_started_with_this_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = serving.given_for(None, folder=tmp_path)
    assert Jobs(tmp_path, given.command).command == (sys.executable, "-m", "keras_transfer")
