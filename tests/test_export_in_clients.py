"""What is left of a file where other people's programs read and resize the original pictures themselves."""

import http.client
import http.server
import json
import queue
import shutil
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import stock_clients
from colours import shipped
from PIL import Image

from keras_transfer import cli, workflow
from keras_transfer.errors import DataError, UsageError
from keras_transfer.export import clients
from keras_transfer.export.clients import CLIENTS
from keras_transfer.specs import Contract
from keras_transfer.workflow import proving

SIDE = 64
READERS = {
    "pillow": clients._one_by_one(clients._pillow),
    "opencv": clients._one_by_one(clients._opencv),
    "browser": clients._in_browser,
}


def contract(**changes):
    return Contract(class_names=("cat", "dog"), image_size=SIDE, **changes)


def there(name):
    if name == "browser":
        stock_clients.installed(any(map(shutil.which, clients.browser.PROGRAMS)), "chromium")
    if name == "mediapipe":
        pytest.importorskip("mediapipe")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return shipped(tmp_path_factory.mktemp("clients"))


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("aspect", ["stretch", "crop", "letterbox"])
def test_a_client_squares_a_picture_as_the_contract_says_by_its_own_filter(name, aspect, tmp_path):
    there(name)
    pixels = np.zeros((90, 180, 3), np.uint8)
    pixels[:, :45], pixels[:, 45:135], pixels[:, 135:] = (250, 10, 10), (10, 250, 10), (10, 10, 250)
    Image.fromarray(pixels).save(tmp_path / "flag.png")
    (found,) = READERS[name]([str(tmp_path / "flag.png")], contract(aspect=aspect))
    wanted = {"stretch": [0, 1, 2], "crop": [1, 1, 1], "letterbox": [0, 1, 2]}[aspect]
    assert found.shape == (SIDE, SIDE, 3)
    assert found[SIDE // 2, [5, 32, 58]].argmax(axis=1).tolist() == wanted
    assert (found[2, 32].max() < 5) == (aspect == "letterbox")


@pytest.mark.parametrize("name", READERS)
def test_a_file_that_a_client_cannot_read_is_none_and_the_next_is_read(name, tmp_path):
    there(name)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    Image.new("RGB", (80, 80), (200, 10, 30)).save(tmp_path / "fine.png")
    first, second = READERS[name]([str(tmp_path / each) for each in ("broken.jpg", "fine.png")], contract())
    assert first is None
    assert np.abs(second[9, 9].astype(int) - (200, 10, 30)).max() <= 1


@pytest.mark.parametrize("name", CLIENTS)
def test_a_client_opens_the_files_it_knows_and_what_it_leaves_stands_beside_parity(run, name):
    there(name)
    found = {each.artifact.format: each for each in workflow.verify(run, clients=[name])}
    for format, each in found.items():
        if format not in CLIENTS[name].formats:
            assert each.clients == ()
            continue
        (left,) = each.clients
        assert (left.client, left.unreadable) == (name, 0)
        assert left.lost_points == pytest.approx(100 * (each.parity.accuracy - left.merit))
        assert 0 <= left.merit <= 1  # of three classes, on nine pictures that are mostly noise
        assert 0.5 < left.agreement <= 1


def test_the_verb_tells_of_each_client_and_of_files_that_one_does_not_open(run, capsys):
    there("mediapipe")
    cli.app(["verify", str(run.folder), "--client", "mediapipe", "--client", "opencv"], standalone_mode=False)
    printed = capsys.readouterr().out
    assert "in mediapipe" in printed
    (row,) = [line for line in printed.splitlines() if line.startswith("model.onnx")]
    assert row.split()[-2] == "-"
    cli.app(["verify", str(run.folder), "--client", "pillow", "--json"], standalone_mode=False)
    rows = json.loads(capsys.readouterr().out)
    assert all([each["client"] for each in row["clients"]] == ["pillow"] for row in rows)


def test_what_clients_leave_is_kept_with_the_proof_and_told_in_the_report(run):
    workflow.verify(run, clients=["opencv"])
    workflow.verify(run, clients=["pillow"])
    workflow.verify(run)
    kept = json.loads((run.exports / proving.PROOFS).read_bytes())
    assert kept["version"] == 3
    assert all({"opencv", "pillow"} <= {each["client"] for each in proof["clients"]} for proof in kept["proofs"])
    assert "in opencv" in workflow.report_of([run]).read_text()


def test_proofs_of_format_1_which_knew_no_clients_are_read(run, tmp_path):
    kept = json.loads((run.exports / proving.PROOFS).read_bytes())
    for proof in kept["proofs"]:
        del proof["clients"]
    (tmp_path / proving.PROOFS).write_text(json.dumps({**kept, "version": 1}))
    assert [proof.clients for proof in proving._read(tmp_path)] == [(), ()]


@pytest.mark.parametrize("place", ["favicon.ico", "1", "-1", "../given"])
def test_what_a_browser_asks_for_of_its_own_accord_is_not_there_and_says_nothing(place, tmp_path, capfd):
    (tmp_path / "a.png").write_bytes(b"picture")
    pages = clients.browser._handler([str(tmp_path / "a.png")], b"{}", queue.Queue())
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked = http.client.HTTPConnection("127.0.0.1", server.server_port)
        asked.request("GET", "/0")
        assert asked.getresponse().read() == b"picture"
        asked.request("GET", f"/{place}")
        assert asked.getresponse().status == 404
        server.shutdown()
    assert capfd.readouterr().err == ""


def test_pictures_that_a_client_cannot_read_are_worth_nothing_in_its_hands():
    opened = SimpleNamespace(
        labels=lambda split: np.array([0, 1, 0, 1]), task=workflow.task_of("classification"), splits=None
    )
    said = {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]], np.float32)}
    artifact = SimpleNamespace(contract=contract())
    readable = np.array([True, True, False, True])
    found = proving.in_client("pillow", opened, artifact, said, said, readable, "test")
    assert (found.merit, found.lost_points, found.agreement, found.unreadable) == (0.5, 25.0, 0.75, 1)


def test_a_client_that_is_not_installed_is_told_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UsageError, match=r"^--client mediapipe needs a package: pip install 'keras-transfer\[clients"):
        clients.check(["mediapipe"], contract(), ["tflite"])
    monkeypatch.setattr(clients.shutil, "which", lambda name: None)
    with pytest.raises(UsageError, match=r"^--client browser needs one of chromium, .*: apt-get install chromium$"):
        clients.check(["browser"], contract(), ["onnx"])


@pytest.mark.parametrize(
    ("name", "changes", "formats", "told"),
    [
        ("pilow", {}, ["onnx"], r"^Unknown client 'pilow'\. Did you mean 'pillow'\?$"),
        ("mediapipe", {}, ["onnx"], r"opens files of tflite, and none of these is one\. Received: onnx\. Export one: "),
        (
            "mediapipe",
            {"task": "segmentation"},
            ["tflite"],
            r"Received: files of segmentation\. Use another of: opencv",
        ),
        ("pillow", {"frames": 8}, ["tflite"], r"reads pictures, and these files take clips\. Leave --client out\."),
    ],
)
def test_a_client_that_cannot_be_asked_is_refused_in_one_sentence(name, changes, formats, told):
    with pytest.raises(UsageError, match=told):
        clients.check([name], contract(**changes), formats)


def test_pictures_that_are_no_files_are_refused_in_one_sentence():
    with pytest.raises(
        DataError, match=r"^Clients read picture files, and these pictures stand in memory or in shards"
    ):
        clients.paths_of(np.zeros((3, 8, 8, 3), np.uint8))
