"""Who it is, from folders of pictures to a gallery that knows people nobody was trained on."""

import numpy as np
import pytest
from PIL import Image

import keras_transfer as kt
from keras_transfer import workflow
from keras_transfer.errors import ArtifactError, DataError, UsageError
from keras_transfer.export import runtime
from keras_transfer.specs import Plan
from keras_transfer.workflow import galleries


def blotches(folder, names, pictures=6):
    """Someone is three blotches of colour, always the same; each picture adds noise."""
    for name in names:
        rng = np.random.default_rng(sum(map(ord, name)))
        base = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((16, 16, 1)))
        (folder / name).mkdir(parents=True)
        for each in range(pictures):
            noise = np.random.default_rng(each).normal(0, 25, base.shape)
            Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8)).save(folder / name / f"{each}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on twelve blotches, trained once for all tests of this file."""
    place = tmp_path_factory.mktemp("embedding")
    data = blotches(place / "data", [f"blotch{letter}" for letter in "abcdefghijkl"])
    plan = Plan(
        data=str(data),
        task="embedding",
        recipe="head",
        epochs=2,
        image_size=64,
        exports=("tflite", "tflite-int8", "onnx"),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_TRANSFER_CACHE", str(place / "cache"))
        made = kt.train(plan, folder=place / "runs", name="blotches")
        made.folder.joinpath("proven").write_text(
            "\n".join(
                f"{each.artifact.path.name} {each.parity.passed} {each.parity.reason}" for each in kt.export(made)
            )
        )
    return made


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Three that no run has seen; the last picture of each is kept out of galleries."""
    folder = blotches(tmp_path_factory.mktemp("people"), ["ann", "bob", "cid"], pictures=4)
    shown = {}
    for name in ("ann", "bob", "cid"):
        shown[name] = folder.parent / f"shown-{name}.png"
        (folder / name / "3.png").rename(shown[name])
    return folder, shown


def test_a_run_is_judged_on_identities_that_it_never_saw(run):
    assert run.record.merit_name == "Recall@1"
    assert run.record.test["Recall@1"] > 2 * run.record.test["Recall@1_by_chance"]
    assert len(run.record.settled["thresholds"]) == 1


def test_every_file_is_proven_and_names_nobody(run):
    assert {"model.tflite True ", "model.onnx True ", "model-int8.tflite True "} == {
        *(run.folder / "proven").read_text().split("\n")
    }
    for name in ("model.tflite", "model-int8.tflite", "model.onnx"):
        contract = runtime.load(run.exports / name).artifact.contract
        assert contract.class_names == ()
        assert [output.name for output in contract.outputs] == ["embedding"]
        assert contract.thresholds == tuple(run.record.settled["thresholds"])
        content = (run.exports / name).read_bytes()
        assert not any(person.encode() in content for person in run.record.class_names)


def test_the_report_and_the_card_tell_of_pairs_and_of_whom_it_saw(run):
    text = kt.report([run]).read_text()
    assert "Nearest pairs of different ones" in text
    card = (run.folder / "MODEL_CARD.md").read_text()
    assert run.record.class_names[0] in card
    assert "TAR at FAR 1%" in card


def test_mediapipe_opens_the_file_without_options_and_finds_our_cosines(run, people):
    mediapipe = pytest.importorskip("mediapipe")
    embedder = mediapipe.tasks.vision.ImageEmbedder
    path = run.exports / "model.tflite"
    pictures = [np.asarray(Image.open(each)) for each in people[1].values()]
    ours = runtime.load(path).predict(np.stack(pictures))["embedding"]
    with embedder.create_from_model_path(str(path)) as opened:
        found = [
            opened.embed(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=each)).embeddings[0]
            for each in pictures
        ]
        assert found[0].head_name == "embedding"
        for first in range(3):
            for second in range(3):
                theirs = embedder.cosine_similarity(found[first], found[second])
                assert theirs == pytest.approx(float(ours[first] @ ours[second]), abs=1e-4)


@pytest.mark.parametrize("of", ["run", "model.tflite", "model-int8.tflite", "model.onnx"])
def test_a_gallery_knows_people_that_nobody_was_trained_on(run, people, tmp_path, of):
    folder, shown = people
    model = run.folder if of == "run" else run.exports / of
    place = kt.gallery(model, folder, file=tmp_path / "gallery.npz")
    for name, picture in shown.items():
        (said,) = kt.predict(model, [picture], gallery=place)
        assert said.says["nearest"] == name
        assert said.says["name"] == (name if said.says["cosine"] >= said.says["threshold"] else "unknown")


def test_whom_a_gallery_does_not_know_is_unknown():
    known = galleries.Gallery(("ann", "bob"), np.eye(2, 3, dtype=np.float32), digest="", threshold=0.5)
    (said,) = galleries.recognized(known, np.array([[0.1, 0.0, 0.995]], np.float32))
    assert (said["name"], said["nearest"]) == ("unknown", "ann")


def test_one_more_is_added_without_training(run, people, tmp_path):
    place = kt.gallery(run.folder, people[0], file=tmp_path / "gallery.npz")
    kt.gallery(run.folder, blotches(tmp_path / "more", ["dot"]), file=place, add=True)
    contract = runtime.load(run.exports / "model.tflite").artifact.contract
    assert set(galleries.read(place, contract).names) == {"ann", "bob", "cid", "dot"}


def test_a_gallery_of_another_model_is_refused(run, people, tmp_path):
    place = kt.gallery(run.folder, people[0], file=tmp_path / "gallery.npz")
    contract = runtime.load(run.exports / "model.tflite").artifact.contract
    with pytest.raises(ArtifactError, match="was made by another model"):
        galleries.read(place, contract.model_copy(update={"run_digest": "0" * 64}))


def test_one_face_under_two_names_is_refused(run, people, tmp_path):
    blotches(tmp_path / "two", ["ann"])
    (tmp_path / "two" / "bea").mkdir()
    (tmp_path / "two" / "bea" / "1.png").write_bytes((tmp_path / "two" / "ann" / "1.png").read_bytes())
    with pytest.raises(DataError, match=r"One face under two names: .*ann.* is 'ann' and .* is 'bea'"):
        kt.gallery(run.folder, tmp_path / "two", file=tmp_path / "gallery.npz")


def test_one_picture_alone_is_told(run, tmp_path):
    told = []
    folder = blotches(tmp_path / "alone", ["ann"], pictures=1)
    workflow.gallery(run.folder, folder, file=tmp_path / "gallery.npz", listener=told.append)
    assert "Known by one picture alone: 1, the first 'ann'. Add others." in [event.message for event in told]


def test_an_empty_gallery_is_refused(run, tmp_path):
    with pytest.raises(DataError, match="would make an empty gallery"):
        kt.gallery(run.folder, tmp_path)


def test_a_file_that_is_no_gallery_is_refused(run, people, tmp_path):
    (tmp_path / "gallery.npz").write_bytes(b"no gallery")
    with pytest.raises(ArtifactError, match="is not a gallery that can be read"):
        kt.predict(run.folder, [people[1]["ann"]], gallery=tmp_path / "gallery.npz")


def test_a_classifier_makes_no_gallery():
    from keras_transfer.specs import Contract

    with pytest.raises(UsageError, match="takes a model that gives embeddings, and this one is of classification"):
        galleries.check(Contract(class_names=("cat", "dog"), image_size=96))


def test_a_solved_grid_knows_people_by_its_file_and_is_judged_by_a_list_of_pairs(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_TRANSFER_CACHE", str(tmp_path / "cache"))
    data = blotches(tmp_path / "data", [f"blotch{letter}" for letter in "abcdefgh"], pictures=3)
    plan = Plan(
        data=str(data), task="embedding", head="grid", recipe="solved", image_size=64, seed=1, exports=("tflite",)
    )
    made = kt.train(plan, folder=tmp_path / "runs", name="solved")
    (stage,) = made.record.stages
    assert (stage.epochs, stage.learned_blocks, stage.frozen_digest_before) == (1, (), stage.frozen_digest_after)
    (proven,) = kt.export(made)
    assert proven.parity.passed
    assert runtime.load(proven.artifact.path).artifact.contract.outputs[0].shape == (512,)

    people = blotches(tmp_path / "people", ["ann", "bob", "cid"], pictures=3)
    (people / "ann" / "2.png").rename(tmp_path / "ann.png")
    place = kt.gallery(proven.artifact.path, people, file=tmp_path / "gallery.npz")
    (said,) = kt.predict(proven.artifact.path, [tmp_path / "ann.png"], gallery=place)
    assert (said.says["name"], said.says["nearest"]) == ("ann", "ann")

    for name in ("ann", "bob", "cid"):
        for number in (1, 2):
            with Image.open(people / name / f"{number - 1}.png") as picture:
                picture.save(people / name / f"{name}_{number:04d}.jpg", quality=95)
    pairs = ["ann\t1\t2", "ann\t1\tbob\t1", "bob\t1\t2", "bob\t2\tcid\t1"]
    (people / "pairs.txt").write_text("\n".join(["2\t1", *pairs]))
    scored = kt.evaluate(proven.artifact.path, str(people / "pairs.txt"))
    assert (scored.accuracy, scored.standard_error, scored.roc_auc, scored.pairs) == (1, 0, 1, 4)
