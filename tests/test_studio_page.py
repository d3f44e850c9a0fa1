"""The studio's page in real Chromium: what people do there, on phones and desks, in two tabs, after it was killed."""

import base64
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import stock_clients
from browsing import PATIENCE, permit, shaped, static, status, wait
from colours import draw, shipped
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

TESTED = "return document.documentElement.dataset.selftest ?? document.documentElement.dataset.error"
READY = "return document.documentElement.dataset.ready !== undefined"
TILES = "return document.querySelectorAll('.tile img').length"
STEPS = ("pictures", "train", "try", "mistakes", "ship")
MANY = 20_000


@pytest.fixture(scope="module")
def browser():
    with stock_clients.chrome("--use-fake-device-for-media-stream") as driver:
        yield driver


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A working folder with a run whose files are proven, and the state of a user of its own."""
    stock_clients.installed((stock_clients.MODULES / "axe-core").is_dir(), "axe-core")
    folder = tmp_path_factory.mktemp("studio")
    shipped(folder / "saved_models", ("tflite",))
    draw(folder / "pictures")
    return folder


class Studio:
    """`keras-transfer studio` as a person starts it, at a port of its own."""

    def __init__(self, place, *words):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.place, self.words = place, words
        self.start()

    def start(self):
        command = [
            sys.executable,
            "-m",
            "keras_transfer",
            "studio",
            *self.words,
            "--no-browser",
            "--port",
            str(self.port),
            "--modules",
            str(stock_clients.MODULES),
        ]
        self.process = subprocess.Popen(
            command,
            cwd=self.place,
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[1]),
                "KERAS_TRANSFER_CACHE": str(self.place / "cache"),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = self.process.stdout.readline().strip()
        assert self.address.startswith(f"http://127.0.0.1:{self.port}/?token="), self.process.stderr.read()

    def end(self, how=signal.SIGINT):
        self.process.send_signal(how)
        self.process.communicate()


@pytest.fixture(scope="module")
def studio(place):
    made = Studio(place, "pictures")
    yield made
    made.end()


def opened(browser, studio, step="pictures", width=1280, theme="light"):
    shaped(browser, width, theme)
    browser.get("about:blank")
    browser.get(studio.address + f"#{step}")
    wait(browser, READY)
    return browser


def click(browser, text):
    """Click what a person reads."""
    wait(
        browser,
        f"return [...document.querySelectorAll('button, a')].some(e => e.textContent === {text!r} && !e.disabled)",
    )
    browser.execute_script(f"[...document.querySelectorAll('button, a')].find(e => e.textContent === {text!r}).click()")


def table(place, name="pictures-studio.csv"):
    with open(place / name, newline="") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


def heard(browser):
    """What the browser has to say of the page, but that a server was killed, which is a test's own doing."""
    return [each for each in browser.get_log("browser") if "ERR_" not in each["message"]]


def test_labels_are_mended_in_one_tab_and_seen_in_the_other(browser, studio, place):
    opened(browser, studio)
    wait(browser, f"{TILES} > 20")
    first = browser.current_window_handle
    browser.switch_to.new_window("tab")
    opened(browser, studio)
    wait(browser, f"{TILES} > 20")
    tiles = browser.find_element(By.CSS_SELECTOR, ".tiles")
    tiles.send_keys(" ", Keys.ARROW_RIGHT, " ")
    wait(browser, "return document.querySelector('.chosen strong')?.textContent === '2 selected'")
    Select(browser.find_element(By.CSS_SELECTOR, ".chosen select")).select_by_visible_text("red")
    wait(browser, "return document.querySelectorAll('.tile .dot').length === 2")
    tiles.send_keys(Keys.ARROW_RIGHT, " ", Keys.DELETE)
    wait(browser, "return [...document.querySelectorAll('.facets button')].some(e => e.textContent === 'Left out1')")
    mended = table(place)
    assert [mended["pictures/blue/0.png"], mended["pictures/blue/1.png"]] == ["red", "red"]
    assert len(mended) == 59
    browser.close()
    browser.switch_to.window(first)
    wait(browser, "return document.querySelectorAll('.tile .dot').length === 2")
    browser.refresh()
    wait(browser, "return document.querySelectorAll('.tile .dot').length === 2")
    click(browser, "Undo")
    wait(browser, "return ![...document.querySelectorAll('.facets button')].some(e => e.textContent === 'Left out1')")
    click(browser, "Undo")
    wait(browser, "return document.querySelectorAll('.tile .dot').length === 0")
    assert not (place / "pictures-studio.csv").exists()
    assert heard(browser) == []


def test_the_camera_takes_a_burst_into_a_class_and_a_denied_one_is_told_of(browser, studio, place):
    opened(browser, studio)
    permit(browser, studio.address.partition("?")[0], "granted")
    browser.find_element(By.ID, "new-class").send_keys("desk\n")
    click(browser, "desk0")
    click(browser, "Camera")
    wait(browser, "return document.querySelector('dialog video')?.videoWidth > 0")
    button = browser.find_element(By.CSS_SELECTOR, "dialog button.main")
    browser.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerdown'))", button)
    wait(browser, "return parseInt(document.querySelector('dialog [role=status]').textContent) >= 2")
    browser.execute_script("arguments[0].dispatchEvent(new PointerEvent('pointerup'))", button)
    click(browser, "Done")
    wait(browser, "return document.querySelectorAll('.tile').length >= 2")
    collected = json.loads((place / "pictures-studio" / "edits.json").read_text())["collected"]
    assert list(collected.values()).count("desk") >= 2
    permit(browser, studio.address.partition("?")[0], "denied")
    click(browser, "Camera")
    wait(browser, "return document.getElementById('status').className === 'bad'")
    assert status(browser).startswith("The camera was denied. Allow it beside the address")
    assert heard(browser) == []


def test_files_are_collected_and_what_is_no_picture_is_told_of(browser, studio, tmp_path):
    draw(tmp_path, names=("lamp",), seed=5)
    (tmp_path / "lamp" / "notes.jpg").write_text("no picture")
    opened(browser, studio)
    files = [tmp_path / "lamp" / name for name in ("0.png", "1.png", "notes.jpg")]
    browser.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))
    wait(browser, "return document.getElementById('which-class') !== null")
    Select(browser.find_element(By.ID, "which-class")).select_by_visible_text("a new class …")
    browser.find_element(By.ID, "which-name").send_keys("lamp\n")
    wait(browser, "return document.getElementById('status').className === 'bad'")
    said = "2 pictures taken. Not taken: notes.jpg is of none of the kinds that are taken: AVIF, BMP, GIF, HEIC,"
    assert status(browser).startswith(said)
    wait(browser, "return [...document.querySelectorAll('.facets button')].some(e => e.textContent === 'lamp2')")
    browser.get_log("browser")  # what Chromium says of an answer that refuses is its own affair


@pytest.mark.parametrize(("width", "theme"), [(390, "light"), pytest.param(1280, "dark", marks=pytest.mark.slow)])
def test_every_step_fits_phones_and_desks_and_has_no_barrier(browser, studio, width, theme):
    for step in STEPS:
        opened(browser, studio, step, width, theme)
        wait(browser, "return document.getElementById('view').children.length > 0")
        time.sleep(0.3)  # what the step asks for is drawn when it comes, and stays within what is measured here
        for each in (390, 1280):
            shaped(browser, each, theme)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= each, (step, each)
        shaped(browser, width, theme)
        browser.execute_script((stock_clients.MODULES / "axe-core" / "axe.min.js").read_text())
        found = browser.execute_async_script("axe.run().then(said => arguments[0](said.violations))")
        told = [(each["id"], each["impact"], each["nodes"][0]["html"][:120]) for each in found]
        assert told == [], (step, width, theme)
        assert heard(browser) == [], step


def test_a_run_shows_its_files_and_what_was_proven_of_each(browser, studio):
    opened(browser, studio, "ship")
    wait(browser, "return document.querySelectorAll('#view table tbody tr').length >= 1")
    shown = browser.execute_script("return document.getElementById('view').textContent")
    assert "model.tflite" in shown
    assert "100.0 %" in shown
    assert browser.execute_script("return document.getElementById('run').selectedOptions[0].textContent") == "colours"


def test_a_page_goes_on_when_its_studio_was_killed_and_opened_again(browser, studio):
    opened(browser, studio)
    studio.end(signal.SIGKILL)
    wait(browser, "return !document.getElementById('offline').hidden")
    studio.start()
    wait(browser, "return document.getElementById('offline').hidden")
    browser.find_element(By.ID, "new-class").send_keys("after\n")
    wait(browser, "return [...document.querySelectorAll('.facets button')].some(e => e.textContent === 'after0')")


def test_of_many_pictures_those_in_sight_are_in_the_page(browser, tmp_path):
    stock_clients.installed(stock_clients.MODULES.is_dir(), "axe-core")
    draw(tmp_path / "few", names=("one",))
    for name in ("ant", "bee"):
        (tmp_path / "many" / name).mkdir(parents=True)
        for number in range(MANY // 2):
            os.link(tmp_path / "few" / "one" / f"{number % 20}.png", tmp_path / "many" / name / f"{number:05}.png")
    crowded = Studio(tmp_path, "many")
    try:
        opened(browser, crowded)
        wait(browser, f"{TILES} > 20")
        assert browser.execute_script("return document.querySelectorAll('.tile').length") < 250
        browser.find_element(By.CSS_SELECTOR, ".tiles").send_keys(Keys.END)
        wait(
            browser,
            f"return document.getElementById('tile-{MANY - 1}')?.ariaLabel.startsWith('{MANY // 2 - 1:05}.png, bee')",
        )
        assert browser.execute_script("return document.querySelectorAll('.tile').length") < 250
        assert heard(browser) == []
    finally:
        crowded.end()


def refused(place, *words):
    command = [sys.executable, "-m", "keras_transfer", "studio", *words, "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_what_cannot_be_opened_is_told_in_a_sentence(studio, place, tmp_path):
    code, told = refused(place, "pictures", "--port", "0")
    assert (code, told) == (
        1,
        f"Error: A studio for these pictures is open already at http://127.0.0.1:{studio.port}/.\n",
    )
    code, told = refused(tmp_path, "--port", str(studio.port))
    assert code == 2
    assert told == f"Error: Port {studio.port} is in use. Name another with --port, or 0 for any that is free.\n"
    code, told = refused(tmp_path, "nowhere")
    assert (code, "There is no folder or file 'nowhere'" in told) == (1, True)


@pytest.mark.slow
def test_the_whole_way_from_a_folder_to_a_bundle_that_tests_itself(browser, tmp_path):
    draw(tmp_path / "things")
    draw(tmp_path / "new", names=("red",), seed=9)
    made = Studio(tmp_path, "things")
    try:
        opened(browser, made)
        click(browser, "Look at every picture")
        opened(browser, made, "train")
        browser.execute_script(
            "for (const [name, value] of [['recipe', 'head'], ['epochs', 400], ['image-size', 64]])"
            " document.getElementById(name).value = value"
        )
        browser.find_element(By.ID, "begin").click()
        wait(browser, "return document.querySelectorAll('#view .chart').length === 2")
        made.end(signal.SIGKILL)
        made.start()
        wait(browser, "return document.getElementById('offline').hidden")
        assert browser.execute_script("return document.getElementById('live').textContent") == "Training"
        click(browser, "Stop")
        wait(browser, "return document.getElementById('live').textContent === 'Stopped'")
        click(browser, "Go on")
        wait(browser, "return document.getElementById('live').textContent === 'Trained'")
        opened(browser, made, "try")
        browser.find_element(By.ID, "files").send_keys(str(tmp_path / "new" / "red" / "0.png"))
        wait(browser, "return document.querySelectorAll('.cards .looks img').length === 2")
        assert browser.execute_script("return [...document.querySelectorAll('.looks img')].every(e => e.complete)")
        opened(browser, made, "mistakes")
        click(browser, "List the mistakes")
        wait(browser, "return document.getElementById('view').textContent.includes('among ')")
        opened(browser, made, "ship")
        click(browser, "Export and prove")
        wait(browser, "return document.getElementById('view').textContent.includes('model.onnx')")
        click(browser, "Web page")
        browser.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "got")}
        )
        click(browser, "Download")
        packed = downloaded(tmp_path / "got")
        assert heard(browser) == []
    finally:
        made.end()
    with zipfile.ZipFile(packed) as held:
        held.extractall(tmp_path / "bundle")
    (page,) = (tmp_path / "bundle").rglob("index.html")
    with static(page.parent) as address:
        browser.get(address + "?selftest")
        wait(browser, TESTED, "passed")


def downloaded(folder):
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        found = list(folder.glob("*.zip"))
        if found:
            return found[0]
        time.sleep(0.1)
    raise AssertionError("nothing was downloaded")


@pytest.mark.slow
def test_screenshots_at_both_widths_are_pictures(browser, studio, tmp_path):
    for step in STEPS:
        for width in (390, 1280):
            opened(browser, studio, step, width)
            shot = base64.b64decode(browser.get_screenshot_as_base64())
            (tmp_path / f"{step}-{width}.png").write_bytes(shot)
            assert len(shot) > 5000
