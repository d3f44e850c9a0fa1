"""The bundle for pages shows what each task answers, in real Chromium: boxes, masks, labels, who is nearest."""

import base64
import io

import keras
import numpy as np
import pytest
import stock_clients
from browsing import permit, shaped, static, status, wait
from PIL import Image
from selenium.webdriver.common.by import By

from keras_transfer.bundles import golden, targets
from keras_transfer.bundles.content import Content, Golden, Known
from keras_transfer.data.decoding import square_rgb
from keras_transfer.export import exporters, runtime
from keras_transfer.specs import Contract, Output

SIDE, NAMES = 32, ("red", "green", "blue")
READY = "return document.documentElement.dataset.ready ?? document.documentElement.dataset.error"
TESTED = "return document.documentElement.dataset.selftest ?? document.documentElement.dataset.error"
COLOURED = """
const canvas = document.querySelector(%r);
const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
let found = 0;
for (let place = 0; place < data.length; place += 4) {
  const pixel = data.slice(place, place + 3);
  found += data[place + 3] > 0 && Math.max(...pixel) - Math.min(...pixel) > 60;
}
return found / (data.length / 4);
"""
"""The share of a canvas that is neither grey nor clear."""


def mean(image, axes=(1, 2)):
    return keras.ops.mean(keras.ops.cast(image, "float32") / 255, axis=axes)


def boxes(image):
    """One box in the left half, of the class of the channel that is bright, as sure as the picture is."""
    brightness = mean(image, (1, 2, 3))[:, None]
    place = keras.ops.ones_like(brightness)[..., None] * np.float32([[0.25, 0.0, 0.75, 0.5]])
    category = keras.ops.sum(keras.ops.cast(mean(image) > 0.5, "float32") * np.float32([0, 1, 2]), axis=-1)[:, None]
    count = keras.ops.ones_like(brightness)[:, 0]
    return {"location": place, "category": category, "score": brightness, "number of detections": count}


def masks(image):
    """Of each pixel its brightest channel."""
    return {"probabilities": keras.ops.softmax(keras.ops.cast(image, "float32") / 16, axis=-1)}


def places(image):
    point = mean(image) - 0.2
    return {"embedding": point / keras.ops.sqrt(keras.ops.sum(point * point, axis=-1, keepdims=True) + 1e-12)}


def several(image):
    return {"probabilities": mean(image)}


MODELS = {
    "detection": (
        boxes,
        (
            Output(name="location", shape=(1, 4), kind="boxes"),
            Output(name="category", shape=(1,), labels="values"),
            Output(name="score", shape=(1,)),
            Output(name="number of detections", shape=()),
        ),
        NAMES,
        (0.2, 0.2, 0.2),
    ),
    "segmentation": (
        masks,
        (Output(name="probabilities", shape=(SIDE, SIDE, 3), labels="axis"),),
        ("background", *NAMES[1:]),
        (),
    ),
    "embedding": (places, (Output(name="embedding", shape=(3,)),), (), (0.9,)),
    "multilabel": (several, (Output(name="probabilities", shape=(3,), labels="axis"),), NAMES, (0.3, 0.3, 0.3)),
}
"""By task a model that needs no training: it looks at the channels of a picture."""


def png(colour, size=(60, 40)):
    encoded = io.BytesIO()
    Image.new("RGB", size, colour).save(encoded, "PNG")
    return encoded.getvalue()


def made(task, folder):
    """The page of a task, with golden pictures of two colours."""
    answer, outputs, names, thresholds = MODELS[task]
    contract = Contract(class_names=names, image_size=SIDE, task=task, outputs=outputs, thresholds=thresholds)
    image = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="image")
    (artifact,) = exporters.export(keras.Model(image, answer(image)), folder / "exports", ["onnx"], contract)
    file = runtime.load(artifact.path)
    asked = []
    for number, colour in enumerate(("red", "lime"), start=1):
        said = file.predict(square_rgb(png(colour), SIDE, "stretch")[None])
        asked.append(Golden(f"{number}", png(colour), golden.kept(said, contract)))
    known = Known(("Ann", "Bob"), np.eye(2, 3, dtype=np.float32)) if task == "embedding" else None
    content = Content(
        name=task,
        artifact=file.artifact,
        golden=tuple(asked),
        summary="A model that needs no training.",
        papers={"MODEL_CARD.md": b"", "model_card.json": b"{}"},
        gallery=known,
        modules=stock_clients.MODULES,
    )
    return targets.write("web", content, folder)[0]


@pytest.fixture(scope="module")
def browser():
    stock_clients.installed((stock_clients.MODULES / "axe-core").is_dir(), "axe-core")
    with stock_clients.chrome("--use-fake-device-for-media-stream") as driver:
        yield driver


@pytest.fixture(scope="module", params=MODELS)
def page(request, tmp_path_factory):
    """The task and the address of its page."""
    with static(made(request.param, tmp_path_factory.mktemp(request.param))) as address:
        yield request.param, address


def opened(browser, address, width=1280):
    shaped(browser, width)
    browser.get(address)
    wait(browser, READY, "")


def dropped(browser, path, colour):
    """Choose a picture of a colour; return what is said above its answer, and below."""
    path.write_bytes(png(colour))
    before = len(browser.find_elements(By.CSS_SELECTOR, "#answers > li"))
    browser.find_element(By.ID, "files").send_keys(str(path))
    wait(browser, f"return document.querySelectorAll('#answers > li').length > {before}")
    card = browser.find_element(By.CSS_SELECTOR, "#answers > li")
    rows = [row.text for row in card.find_elements(By.CSS_SELECTOR, "tr, .found li")]
    return card.find_element(By.TAG_NAME, "h3").text, rows


SAID = {
    "detection": ("1 found", ["red 33.3 %"]),
    "segmentation": ("mostly background", ["background 100.0 %"]),
    "embedding": ("the same as Ann (cosine 0.94)", ["Ann 0.94", "Bob -0.24"]),
    "multilabel": ("red", ["red 100.0 %", "green 0.0 %", "blue 0.0 %"]),
}
"""Of a red picture."""


def test_a_page_of_every_task_says_and_shows_what_the_file_answers(browser, page, tmp_path):
    task, address = page
    opened(browser, address, 390)
    assert dropped(browser, tmp_path / "one.png", "red") == SAID[task]
    if task == "detection":
        assert dropped(browser, tmp_path / "two.png", "#707070") == ("1 found", ["red 43.9 %"])
        assert 0.05 < browser.execute_script(COLOURED % "#answers canvas") < 0.9  # grey, but for its box
    if task == "segmentation":
        assert dropped(browser, tmp_path / "two.png", "#505840")[0] == "mostly green"
        assert browser.execute_script(COLOURED % "#answers canvas") > 0.9  # grey, but for its mask
    if task == "embedding":
        assert dropped(browser, tmp_path / "two.png", "red")[0] == "the same as one.png (cosine 1.00)"
        assert dropped(browser, tmp_path / "three.png", "blue")[0] == "none of them: Ann is nearest (cosine -0.24)"
    fits(browser, task)
    permit(browser, address, "granted")
    browser.find_element(By.ID, "camera").click()
    wait(browser, "return document.querySelector('#now h3')?.textContent.length > 2")
    if task in ("detection", "segmentation"):
        wait(browser, (COLOURED % "#over").replace("return found", "return found > 0 && found"))
    if task == "embedding":
        wait(browser, "return document.querySelectorAll('#now .bars tr').length === 5")
    browser.find_element(By.ID, "camera").click()
    said = [each["message"] for each in browser.get_log("browser")]
    assert [each for each in said if "readback" not in each] == []  # which is of the test's own looking


def fits(browser, task):
    """Run the self-test, and hold the page to both widths and to axe."""
    browser.find_element(By.ID, "selftest").send_keys("\n")
    wait(browser, TESTED, "passed")
    assert status(browser) == "Self-test passed: 2 of 2 pictures."
    browser.execute_script((stock_clients.MODULES / "axe-core" / "axe.min.js").read_text())
    for width in (390, 1280):
        shaped(browser, width)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        found = browser.execute_async_script("axe.run().then(said => arguments[0](said.violations))")
        assert [(each["id"], each["impact"]) for each in found] == [], (task, width)
        assert len(base64.b64decode(browser.get_screenshot_as_base64())) > 5000
