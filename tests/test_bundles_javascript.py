"""The bundles for pages and for Node, in real Chromium and real Node, with nothing but what they bring along."""

import base64
import json
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
import stock_clients
from browsing import permit, shaped, static, status, wait
from colours import shipped
from PIL import Image

from keras_transfer import workflow

READY = "return document.documentElement.dataset.ready ?? document.documentElement.dataset.error"
TESTED = "return document.documentElement.dataset.selftest ?? document.documentElement.dataset.error"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    stock_clients.installed((stock_clients.MODULES / "axe-core").is_dir(), "axe-core")
    return shipped(tmp_path_factory.mktemp("runs"))


def made(run, target, folder):
    return workflow.bundle(run, target, output=folder, modules=stock_clients.MODULES)


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    return made(run, "web", tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def package(run, tmp_path_factory):
    stock_clients.installed(bool(shutil.which("node")), "node")
    return made(run, "node", tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def browser():
    with stock_clients.chrome("--use-fake-device-for-media-stream") as driver:
        yield driver


@pytest.fixture
def served():
    """Serve a folder as any static server does; gives its address."""
    with ExitStack() as servers:
        yield lambda folder: servers.enter_context(static(folder))


def opened(browser, address, width=1280, theme="light"):
    shaped(browser, width, theme)
    browser.get(address)
    wait(browser, READY, "")
    return browser


def choose(browser, *paths):
    """Choose pictures as a person does; return what stands above the newest answer."""
    from selenium.webdriver.common.by import By

    before = len(browser.find_elements(By.CSS_SELECTOR, "#answers > li"))
    browser.find_element(By.ID, "files").send_keys("\n".join(str(path) for path in paths))
    wait(browser, f"return document.querySelectorAll('#answers > li').length >= {before + len(paths)}")
    return browser.find_element(By.CSS_SELECTOR, "#answers h3").text


def test_the_page_tests_itself_when_its_address_says_so(browser, served, page):
    browser.get(served(page.folder) + "?selftest")
    wait(browser, TESTED, "passed")
    assert status(browser) == f"Self-test passed: {page.golden} of {page.golden} pictures."
    assert browser.get_log("browser") == []


def test_the_page_answers_as_predict_does(browser, served, page, run):
    picture = next(Path(run.record.plan.data).rglob("*.png"))
    opened(browser, served(page.folder))
    (wanted,) = workflow.predict(page.artifact.path, [picture])
    assert choose(browser, picture) == f"{wanted.class_name}, {wanted.probability * 100:.1f} %"
    assert browser.get_log("browser") == []


def test_what_is_no_picture_is_told_and_the_page_goes_on(browser, served, page):
    opened(browser, served(page.folder))
    golden = page.folder / "golden" / "1.png"
    choose(browser, golden)
    browser.find_element("id", "files").send_keys(str(page.folder / "labels.txt"))
    wait(browser, "return document.getElementById('status').className === 'bad'")
    assert status(browser) == "labels.txt is no picture that this browser can read."
    assert choose(browser, golden)


def test_the_camera_is_answered_live_and_stops(browser, served, page):
    address = served(page.folder)
    permit(browser, address, "granted")
    opened(browser, address)
    button = browser.find_element("id", "camera")
    button.click()
    wait(browser, "return document.querySelectorAll('#now .bars tr').length === 3")
    assert browser.execute_script("return document.getElementById('over').width") > 100
    assert button.text == "Stop the camera"
    button.click()
    assert browser.execute_script("return document.getElementById('live').hidden")
    assert browser.get_log("browser") == []


def test_a_camera_that_is_denied_is_told_of(browser, served, page):
    address = served(page.folder)
    permit(browser, address, "denied")
    opened(browser, address)
    browser.find_element("id", "camera").click()
    wait(browser, "return document.getElementById('status').className === 'bad'")
    assert status(browser).startswith("The camera was denied. Allow it")


def test_another_model_in_its_place_is_found_out(browser, served, page, tmp_path):
    folder = shutil.copytree(page.folder, tmp_path / "copy")
    with (folder / page.artifact.path.name).open("ab") as model:
        model.write(b"more")
    browser.get(served(folder))
    wait(browser, READY)
    assert "is not the file that was proven" in status(browser)


def test_a_golden_answer_that_is_another_fails_the_self_test(browser, served, page, tmp_path):
    folder = shutil.copytree(page.folder, tmp_path / "copy")
    told = json.loads((folder / "golden.json").read_text())
    told["pictures"][0]["answer"]["probabilities"].reverse()
    (folder / "golden.json").write_text(json.dumps(told))
    browser.get(served(folder) + "?selftest")
    wait(browser, TESTED, "failed")
    assert status(browser) == f"Self-test failed: {page.golden - 1} of {page.golden} pictures."


def test_the_page_fits_phones_and_desks_and_has_no_barrier(browser, served, page):
    opened(browser, served(page.folder))
    choose(browser, page.folder / "golden" / "wide.png", page.folder / "golden" / "1.png")
    browser.find_element("id", "selftest").send_keys("\n")  # by the keyboard
    wait(browser, TESTED, "passed")
    browser.execute_script((stock_clients.MODULES / "axe-core" / "axe.min.js").read_text())
    for width, theme in ((390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")):
        shaped(browser, width, theme)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        found = browser.execute_async_script("axe.run().then(said => arguments[0](said.violations))")
        assert [(each["id"], each["impact"]) for each in found] == [], (width, theme)
        assert len(base64.b64decode(browser.get_screenshot_as_base64())) > 5000


def test_without_a_server_the_page_says_what_to_do(browser, page):
    shaped(browser, 1280)
    browser.get((page.folder / "index.html").as_uri())
    assert "open this page through a server" in status(browser)
    browser.get_log("browser")  # what Chromium says of it is its own affair


def test_a_browser_without_vectors_says_so(served, page):
    with stock_clients.chrome("--js-flags=--no-enable-sse4-1") as old:
        old.get(served(page.folder))
        wait(old, READY)
        assert status(old).startswith("This browser runs no WebAssembly with SIMD, which the model needs")
        assert old.find_element("id", "files").get_attribute("disabled")


def test_the_page_names_what_it_brings_and_asks_nobody_else(page):
    told = json.loads((page.folder / "bundle.json").read_text())
    assert [(each["name"], each["license"]) for each in told["vendored"]] == [("onnxruntime-web", "MIT")]
    assert (page.folder / "vendor" / "onnxruntime-web" / "LICENSE").is_file()
    sources = [each for each in page.folder.glob("*.*") if each.suffix in (".html", ".js", ".css")]
    assert [each.name for each in sources if "https://" in each.read_text().replace("https:// ", "")] == []


def in_node(folder, *arguments):
    done = subprocess.run(["node", *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_nodes_own_runner_passes_the_golden_pictures(package):
    code, said, errors = in_node(package.folder, "--test", "test/")
    assert code == 0, said + errors
    assert f"pass {package.golden + 1}" in said


def test_node_says_of_files_what_predict_says(package, run, tmp_path):
    picture = next(Path(run.record.plan.data).rglob("*.png"))
    large = Image.open(picture).resize((400, 300), Image.Resampling.BICUBIC)
    given = [picture, tmp_path / "photograph.jpg", tmp_path / "turned.jpg"]
    noted = Image.Exif()
    noted[0x0112] = 6
    large.save(given[1], quality=95, subsampling=0)
    large.save(given[2], quality=95, subsampling=0, exif=noted)
    code, said, errors = in_node(package.folder, "command.js", *given)
    assert code == 0, errors
    # Pillow decodes JPEG files at a fraction of their size; the mean of whole pixels is nearly that.
    for line, wanted, bound in zip(
        said.splitlines(), workflow.predict(package.artifact.path, given), (1e-4, 0.03, 0.03), strict=True
    ):
        found = json.loads(line)["probabilities"]
        assert max(abs(found[name] - share) for name, share in wanted.probabilities.items()) < bound


def test_node_is_told_in_a_sentence_what_is_wrong(package, tmp_path):
    folder = shutil.copytree(package.folder, tmp_path / "copy")
    assert in_node(folder, "command.js")[0] == 2
    code, _, errors = in_node(folder, "command.js", "labels.txt")
    assert (code, "labels.txt is neither a PNG nor a JPEG file" in errors) == (1, True)
    (folder / package.artifact.path.name).write_bytes(b"another")
    code, _, errors = in_node(folder, "command.js", "--selftest")
    assert (code, "is not the file that was proven" in errors) == (1, True)
