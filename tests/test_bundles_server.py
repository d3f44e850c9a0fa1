"""The server bundle: its service on loopback, its limits, and what TensorFlow Serving finds."""

import http.client
import importlib.util
import json
import re
import shutil
import socket
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from colours import shipped
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transfer import runs, workflow
from keras_transfer.bundles import server, warming
from keras_transfer.errors import ArtifactError

NAME = "three-colours"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return shipped(tmp_path_factory.mktemp("runs"), ("saved_model", "tflite"))


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    # Under another name than the module that trained it, which is imported here.
    return workflow.bundle(run, "server", name=NAME, output=tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def service(bundle):
    """The module `service.py` of the bundle, beside its package."""
    sys.path.insert(0, str(bundle.folder / "python"))
    spec = importlib.util.spec_from_file_location("service", bundle.folder / "service.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["service"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(bundle.folder / "python"))


@pytest.fixture
def serving(service):
    """Start the service with some limits on a free port of loopback; gives its address."""
    started = []

    def start(**limits):
        listening = socket.create_server(("127.0.0.1", 0))
        app = service.make_app(service.Limits(**limits))
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        started.append((running, thread))
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for running, thread in started:
        running.should_exit = True
        thread.join()


def asked(address, body=None):
    """Send a request; return its status and what came back."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body), timeout=300) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture(scope="module")
def picture(run):
    return next(Path(run.record.plan.data).rglob("*.png"))


def test_it_answers_as_predict_does_and_counts_it(serving, bundle, picture):
    address = serving()
    status, said = asked(f"{address}/predict", picture.read_bytes())
    (wanted,) = workflow.predict(bundle.artifact.path, [picture])
    assert status == 200
    assert json.loads(said)["class_name"] == wanted.class_name
    assert json.loads(said)["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-5)
    assert asked(f"{address}/healthz") == (200, '{"model":"three-colours","selftest":"passed"}')
    metrics = asked(f"{address}/metrics")[1]
    assert 'predictions_total{status="200"} 1.0' in metrics
    assert "prediction_seconds_count 1.0" in metrics


def test_what_is_too_large_or_no_picture_is_refused_in_a_sentence(serving, picture):
    address = serving(most_bytes=100_000, most_pixels=3000)
    assert asked(f"{address}/predict", picture.read_bytes()[:100_000])[0] == 200
    for body, status, sentence in (
        (b"no picture", 422, "The picture is not a picture that can be read"),
        (bytes(100_001), 413, "A picture has at most 100,000 bytes."),
        (b"", 422, "The body is empty"),
        (png(60, 60), 422, "The picture declares 60 x 60 pixels, more than 3,000"),
    ):
        found, said = asked(f"{address}/predict", body)
        assert (found, sentence in json.loads(said)["error"]) == (status, True), said
    assert 'predictions_total{status="413"} 1.0' in asked(f"{address}/metrics")[1]


def png(width, height):
    import io

    from PIL import Image

    encoded = io.BytesIO()
    Image.new("RGB", (width, height)).save(encoded, "PNG")
    return encoded.getvalue()


def test_an_answer_that_takes_too_long_is_given_up(serving, picture):
    assert asked(f"{serving(most_seconds=0)}/predict", picture.read_bytes())[0] in (408, 504)


def test_more_than_may_wait_are_sent_away_and_the_rest_answered_alike(serving, picture):
    address, body = serving(most_waiting=4, threads=2), picture.read_bytes()
    with ThreadPoolExecutor(16) as beside:
        answers = list(beside.map(lambda _: asked(f"{address}/predict", body), range(120)))
    assert {status for status, _ in answers} <= {200, 503}
    said = {text for status, text in answers if status == 200}
    assert len(said) == 1
    assert "predictions_waiting 0.0" in asked(f"{address}/metrics")[1]


def test_nobody_may_wait_where_none_may(serving, picture):
    status, said = asked(f"{serving(most_waiting=0)}/predict", picture.read_bytes())
    assert (status, json.loads(said)["error"]) == (503, "0 pictures are waiting already: ask again in a moment.")


def test_whatever_is_asked_nothing_breaks(serving, picture):
    address, whole = serving(most_bytes=20_000).removeprefix("http://"), picture.read_bytes()
    cut = st.tuples(st.integers(0, len(whole)), st.binary(max_size=40)).map(lambda pair: whole[: pair[0]] + pair[1])

    @settings(max_examples=150, deadline=None)
    @given(
        method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
        path=st.sampled_from(["predict", "healthz", "metrics", "openapi.json"]) | st.text(max_size=20).map(quoted),
        body=cut | st.binary(max_size=200) | st.just(bytes(30_000)),
        kind=st.sampled_from(["image/png", "application/json", "multipart/form-data", ""]),
    )
    def ask(method, path, body, kind):
        connection = http.client.HTTPConnection(address, timeout=300)
        connection.request(method, f"/{path}", body, {"content-type": kind})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status < 500, (method, path, said)
        assert b"Traceback" not in said

    ask()


def quoted(text):
    return urllib.parse.quote(text.encode("utf-8", "surrogatepass"))


def test_limits_come_from_the_environment(service, monkeypatch):
    monkeypatch.setenv("MOST_BYTES", "5")
    monkeypatch.setenv("MOST_SECONDS", "0.5")
    assert service.Limits.of_environment() == service.Limits(most_bytes=5, most_seconds=0.5)


def test_a_model_that_says_something_else_is_not_healthy(serving, service, monkeypatch):
    monkeypatch.setattr(service, "selftest", lambda model: [type("Row", (), {"passed": False})])
    assert asked(f"{serving()}/healthz") == (503, '{"model":"three-colours","selftest":"failed"}')


def test_tensorflow_serving_finds_a_model_and_requests_that_it_answers(bundle):
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto

    folder = bundle.folder / "serving" / NAME / server.VERSION
    signatures = tf.saved_model.load(str(folder)).signatures
    known = warming._messages()["PredictionLog"]
    records = [known.FromString(each.numpy()) for each in tf.data.TFRecordDataset(str(folder / warming.FILE))]
    assert len(records) == 2 * warming.PICTURES
    said = {}
    for record in records:
        request = record.predict_log.request
        ((name, value),) = [(each.key, each.value) for each in request.inputs]
        tensor = tf.make_ndarray(TensorProto.FromString(value))
        answer = signatures[request.model_spec.signature_name](**{name: tf.constant(tensor)})
        said.setdefault(request.model_spec.signature_name, []).append(answer["probabilities"].numpy())
        assert request.model_spec.name == NAME
    pixels, encoded = (np.concatenate(said[signature]) for signature in warming.SIGNATURES)
    assert np.allclose(pixels, encoded, atol=1e-6)


def test_its_container_copies_what_is_there_and_listens_on_what_it_says(bundle):
    text = (bundle.folder / "Dockerfile").read_text()
    copied = [name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()]
    assert [name for name in copied if not (bundle.folder / name).exists()] == []
    assert "service:make_app" in text
    assert "USER 65534" in text
    assert "-p 127.0.0.1:8000:8000" in (bundle.folder / "README.md").read_text()


def test_a_run_without_a_saved_model_is_told_how_to_get_one(run, tmp_path):
    copy = runs.open_run(Path(shutil.copytree(run.folder, tmp_path / "colours")))
    shutil.rmtree(copy.exports / "saved_model")
    with pytest.raises(ArtifactError, match=r"a SavedModel that is proven\. Export one: .*--format saved_model"):
        workflow.bundle(copy, "server")
