"""The report and the model card: what they say, and that a browser shows them as they should be."""

import base64
import io
import json
import re

import numpy as np
import pytest
import stock_clients
from PIL import Image
from scipy.stats import binomtest

from keras_transfer.errors import DataError
from keras_transfer.evaluation import classification, classification_page, clips_page, model_card, report
from keras_transfer.evaluation.intervals import margin
from keras_transfer.evaluation.shipping import judged
from keras_transfer.evaluation.verdict import labels_saved, verdict
from keras_transfer.specs import Contract, Output, Plan, RunRecord, Scored, StageResult

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "a-class-with-a-very-long-name-that-does-not-fit-anywhere",
    "<b>Coat & Co</b>",
    "Bag",
)
SECTION = "sections/classification.html.j2"
EXPORTS = (
    {
        "name": "model.tflite",
        "size_bytes": 13_500_000,
        "merit": 0.79,
        "lost_points": 0.0,
        "agreement": 1.0,
        "latency_ms": 0.79,
    },
    {"name": "model-int8.tflite", "size_bytes": 4_000_000, "merit": 0.785, "lost_points": 0.5, "latency_ms": 0.28},
    {"name": "model.onnx", "size_bytes": 13_400_000, "merit": 0.3, "lost_points": 49.0, "accepted": False},
    {"name": "saved_model", "size_bytes": 14_000_000},
)
OUTPUTS = (Output(name="probabilities", shape=(5,), labels="axis"),)
TRANSFER = tuple(
    {"method": method, "per_class": size, "accuracy": accuracy + seed / 100, "cpu_seconds": seconds}
    for method, curve, seconds in (("transfer", (0.6, 0.7, 0.8), 20), ("scratch", (0.3, 0.4, 0.62), 400))
    for size, accuracy in zip((5, 25, 100), curve, strict=True)
    for seed in (0, 1, 2)
)


def stage(name, index, *, kept=True, accuracy=0.7, after="ab" * 32):
    return StageResult(
        name=name,
        index=index,
        learned_blocks=(3, 4) if index else (),
        epochs=3,
        seconds=12.5,
        pictures_per_second=400,
        engine="litert",
        engine_reason="fastest that agrees",
        validation_merit=accuracy,
        validation_loss=0.9,
        kept=kept,
        reason="kept: better than before" if kept else "rolled back: no better than stage head",
        frozen_tensors=40,
        frozen_digest_before="ab" * 32,
        frozen_digest_after=after,
        history=tuple({"epoch": i + 1, "merit": 0.5 + i / 10, "validation_merit": 0.45 + i / 10} for i in range(3)),
    )


def evidence(name="fashion", *, count=100, explain=True, **changes):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % len(CLASSES)
    probabilities = rng.dirichlet(np.full(len(CLASSES), 0.4), count) + 0.6 * np.eye(len(CLASSES))[labels]
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    record = RunRecord(
        plan=Plan(data="sample:fashion"),
        class_names=CLASSES,
        counts={"train": 1000, "validation": 300, "test": count},
        data_digest="cd" * 32,
        image_size=96,
        stages=(stage("head", 0), stage("top", 1, accuracy=0.8), stage("all", 2, kept=False)),
        best_stage="top",
        scratch={"accuracy": 0.42},
        seconds=61.2,
        environment={"tensorflow": "2.21.0"},
        **changes,
    )
    return report.Evidence(
        name=name,
        record=record,
        scored=scored(probabilities, labels, CLASSES),
        answers={"probabilities": probabilities},
        labels=labels,
        keys=[f"test/{i}.png" for i in range(count)],
        pictures=lambda rows: {i: np.full((40, 60, 3), (i * 7) % 255, np.uint8) for i in rows},
        explain=(lambda images: np.tile(np.linspace(0, 1, 96, dtype=np.float32), (len(images), 96, 1)))
        if explain
        else None,
        exports=EXPORTS,
        advice={
            "seconds": 4.0,
            "training_seconds": 50.0,
            "reasons": [{"topic": "blocks", "sentence": "Knowledge for this task stands in block 3."}],
            "blocks": [{"accuracy": 0.3 + i / 10, "standard_error": 0.02} for i in range(5)],
            "unknown": ["LEEP: the weights bring no source predictions."],
        },
        transfer=TRANSFER,
        commands=("keras-transfer train sample:fashion --seed 0",),
    )


def scored(probabilities, labels, names, **contract):
    given = Contract(class_names=tuple(names), image_size=96, **contract)
    return classification.score({"probabilities": probabilities}, labels, given)


def many(classes, count, name="many"):
    """Evidence of a run with many classes and few pictures of each."""
    rng = np.random.default_rng(0)
    names, labels = tuple(f"class-{i}" for i in range(classes)), np.arange(count) % classes
    probabilities = 0.9 * rng.dirichlet(np.full(classes, 0.2), count) + 0.1 * np.eye(classes)[labels]
    given = evidence(name, count=5)
    changes = {
        "record": given.record.model_copy(update={"class_names": names}),
        "answers": {"probabilities": probabilities},
        "labels": labels,
        "keys": [str(i) for i in range(count)],
        "scored": scored(probabilities, labels, names),
    }
    return report.Evidence(**{**vars(given), **changes})


def page_of(given):
    return report.render(given, SECTION, classification_page.show)


def of_clips(frames=8, count=60):
    """Evidence of a run on clips, whose frames get lighter one by one."""
    given = evidence("clips", count=count, explain=False)
    strips = {i: np.repeat(np.arange(10, 10 + 20 * frames, 20, np.uint8), 40)[None, :, None] for i in range(count)}
    changes = {
        "scored": scored(given.answers["probabilities"], given.labels, CLASSES, frames=frames),
        "transfer": (),
        "pictures": lambda rows: {row: np.broadcast_to(strips[row], (40, 40 * frames, 3)) for row in rows},
        "keys": [f"a-folder-of-videos/a-class/a-long-name-of-a-video-{i}.mp4#t=0,{i}" for i in range(count)],
    }
    return report.Evidence(**{**vars(given), **changes})


def page_of_clips(given):
    return report.render(given, "sections/clips.html.j2", clips_page.show)


@pytest.fixture(scope="module")
def html():
    return page_of(evidence())


@pytest.fixture(scope="module")
def browser():
    with stock_clients.chrome() as driver:
        yield driver


def shown(browser, path, width, *, theme="light", media="screen"):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600},
    )
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    browser.get(path.as_uri())
    return browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    few = evidence("a-run-with-a-long-name-" * 4, count=5, explain=False)
    written = {
        "report": page_of(evidence()),
        "few pictures": page_of(few),
        "many classes": page_of(many(81, 600)),
        "clips": page_of_clips(of_clips()),
        "clips of two frames": page_of_clips(of_clips(frames=2)),
        "comparison": report.render_comparison([evidence("first"), evidence("second"), few]),
    }
    for name, text in written.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return [folder / f"{name}.html" for name in written]


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_and_the_console_stays_silent(browser, pages, width):
    for path in pages:
        page = shown(browser, path, width)
        assert page.execute_script("return document.documentElement.scrollWidth") <= width, path.stem
        beyond = page.execute_script(
            "return [...document.querySelectorAll('body *')].filter(e => !e.closest('.wide') && !e.closest('svg') &&"
            " e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
        )
        assert beyond == []
        assert page.get_log("browser") == []
        image = base64.b64decode(page.get_screenshot_as_base64())
        assert len(image) > 5000


def test_text_is_readable_on_light_on_dark_and_on_paper(browser, pages):
    path = pages[0]
    contrast = """
      const level = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => (x /= 255) <= 0.03928 ? x / 12.92 :
        ((x + 0.055) / 1.055) ** 2.4); return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
      const page = level(getComputedStyle(document.body).backgroundColor);
      return ['body', '.soft', '.good', '.bad', 'th', 'figure svg'].map(name => {
        const ink = level(getComputedStyle(document.querySelector(name)).color);
        return [name, (Math.max(ink, page) + 0.05) / (Math.min(ink, page) + 0.05)]; });"""
    for theme, media in (("light", "screen"), ("dark", "screen"), ("dark", "print")):
        page = shown(browser, path, 1280, theme=theme, media=media)
        # 4.5 is what WCAG 2.1 asks of text of this size.
        assert [name for name, ratio in page.execute_script(contrast) if ratio < 4.5] == [], (theme, media)


def test_paper_is_white_whatever_the_theme(browser, pages):
    page = shown(browser, pages[0], 1280, theme="dark", media="print")
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_nothing_is_loaded_from_anywhere(html):
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html.replace("xlink:href", "href"))
    assert not re.search(r"@import|url\((?!#)", html)
    assert "<script" not in html


def test_names_from_data_are_text_and_never_markup(html):
    assert "&lt;b&gt;Coat &amp; Co&lt;/b&gt;" in html
    assert "<b>Coat" not in html


def test_a_rolled_back_stage_and_its_reason_are_told(html):
    assert "rolled back" in html
    assert "no better than stage head" in html


def test_a_frozen_tensor_that_moved_is_shown_as_moved():
    moved = evidence().record.model_copy(update={"stages": (stage("head", 0, after="ef" * 32),), "best_stage": ""})
    changed = report.Evidence(**{**vars(evidence()), "record": moved})
    assert ">moved<" in page_of(changed)
    assert "Tensors moved that had to stay frozen, in stage head" in page_of(changed)
    assert ">moved<" not in page_of(evidence())


def test_a_perfect_model_has_no_mistakes_to_show():
    given = evidence()
    sure = np.eye(len(CLASSES))[given.labels]
    perfect = {"answers": {"probabilities": sure}, "scored": scored(sure, given.labels, CLASSES)}
    assert "Worst mistakes" not in page_of(report.Evidence(**{**vars(given), **perfect}))


def test_a_run_with_nothing_but_predictions_still_has_a_report():
    given = evidence()
    bare = {"exports": (), "advice": None, "transfer": (), "commands": (), "explain": None}
    record = given.record.model_copy(update={"stages": (), "best_stage": "", "scratch": {}})
    html = page_of(report.Evidence(**{**vars(given), **bare, "record": record}))
    assert 'aria-label="Confusion"' in html
    assert "Freeze audit" not in html


def test_three_hundred_classes_stay_a_page():
    assert len(page_of(many(300, 600))) < 3_000_000


def test_with_many_classes_the_weakest_stand_open_and_the_others_are_folded():
    shown = classification_page.show(many(81, 600))
    rows = [*shown["in_sight"], *shown["folded"]]
    assert (len(shown["in_sight"]), len(shown["folded"])) == (20, 61)
    assert [row.metrics.recall for row in rows] == sorted(row.metrics.recall for row in rows)
    assert "<summary>The other 61 classes</summary>" in page_of(many(81, 600))


def test_a_confusion_picture_of_many_classes_names_those_it_shows():
    given = many(81, 600)
    shown = classification_page.confused_classes(given.scored)
    drawn = classification_page.confusion(given.scored, shown)
    assert len(shown) == 16
    assert 'aria-label="Confusion of 16 of 81 classes"' in drawn
    assert all(f">class-{i}</text>" in drawn for i in shown)
    assert "The 16 classes that are confused most, of 81." in page_of(given)


def test_the_most_confused_classes_are_those_with_the_most_mistakes_either_way():
    wrong = scored(np.eye(4)[[0, 0, 0, 3, 1, 2]], np.array([0, 1, 1, 1, 2, 2]), "abcd")
    assert classification_page.confused_classes(wrong, most=2) == [0, 1]


def test_a_mistaken_clip_is_shown_by_each_of_its_frames_in_their_order():
    shown = clips_page.show(of_clips())
    first = shown["worst"][0]
    assert first.truth != first.predicted
    light = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(each.partition(",")[2])))).mean() for each in first.looks
    ]
    assert light == pytest.approx(range(10, 170, 20), abs=3)


def test_a_page_of_clips_shows_few_strips_and_speaks_of_clips():
    given = of_clips()
    shown, html = clips_page.show(given), page_of_clips(given)
    assert len(shown["worst"]) == len(shown["uncertain"]) == clips_page.SHOWN
    assert all(len(strips) == 1 for _, strips in shown["pairs"])
    assert html.count("<img") == 8 * html.count('class="frames"')
    assert "On 60 clips it had never seen" in html
    assert "pictures" not in re.sub(r"<style>.*</style>", "", html, flags=re.DOTALL)


def test_no_picture_is_among_the_worst_and_the_most_uncertain():
    shown = classification_page.show(many(81, 600))
    worst, uncertain = ({each.key for each in shown[name]} for name in ("worst", "uncertain"))
    assert len(worst) == len(uncertain) == 12
    assert not worst & uncertain


def test_a_caption_reads_as_a_sentence(html):
    assert re.search(r"says <b>[^<]+</b> \(\d+%\), is \S+", html)


def test_figures_of_few_pictures_are_grey_and_carry_their_interval():
    given = many(81, 600)
    row = classification_page.class_rows(given.scored)[0]
    assert row.rough
    assert row.interval[0] <= row.metrics.recall <= row.interval[1]
    assert "Grey: fewer than 20 pictures" in page_of(given)
    assert "Grey: fewer" not in page_of(evidence(count=200))


def test_digests_stand_folded_at_the_end_for_engineers(html):
    folded = html[html.index("<h2>For engineers</h2>") :]
    digests = ("cd" * 8, "ab" * 6)
    assert all(digest in folded and digest not in html[: -len(folded)] for digest in digests)
    assert folded.count("<details>") == 2


def test_a_task_without_drawings_of_its_own_has_a_page_of_its_figures():
    class Ranked(Scored):
        ranking: float

        @property
        def figures(self):
            return {"label ranking": self.ranking}

    record = evidence().record.model_copy(update={"merit_name": "label ranking"})
    given = report.Evidence(**{**vars(evidence()), "scored": Ranked(count=100, ranking=0.75), "record": record})
    html = report.render(given, "sections/pieces.html.j2")
    assert "On 100 pictures it had never seen, its label ranking is 75.0%." in html
    assert "What it gets right and wrong" not in html
    assert ">accuracy<" not in html


def test_predictions_of_other_classes_are_refused():
    with pytest.raises(DataError, match=r"Received: shape \(100, 4\) for 100 pictures and 5 classes"):
        page_of(report.Evidence(**{**vars(evidence()), "answers": {"probabilities": np.ones((100, 4))}}))


def test_one_run_is_not_a_comparison():
    with pytest.raises(DataError, match=r"at least two runs. Received: 1"):
        report.render_comparison([evidence()])


def test_runs_on_different_pictures_are_said_not_to_compare():
    other = evidence("other")
    record = other.record.model_copy(update={"data_digest": "00"})
    text = report.render_comparison([evidence(), report.Evidence(**{**vars(other), "record": record})])
    assert "not comparable like for like" in text


def test_the_verdict_names_the_gain_the_weakest_class_and_the_file_to_ship():
    given = evidence()
    said = verdict(given.scored, given.record, judged(given.exports))
    assert "transfer brought" in said
    assert "The file to ship is model-int8.tflite with 4.0 MB, 0.5 points below the model." in said
    assert "Not to be shipped, for it differs too much from the model: model.onnx." in said
    assert "Rolled back, because it was no better than what stood before: all." in said


@pytest.mark.parametrize(("right", "count"), [(50, 100), (0, 4), (9, 9), (840, 1000)])
def test_the_margin_is_wilsons_interval(right, count):
    interval = binomtest(right, count).proportion_ci(method="wilson")
    assert margin(right / count, count) == pytest.approx((interval.high - interval.low) / 2)


def test_one_file_is_recommended_and_the_others_hold_differ_or_were_never_run():
    assert [row["advice"] for row in judged(EXPORTS)] == ["holds", "ship", "differs too much", "not verified"]


def test_where_all_files_lose_much_the_one_that_loses_least_is_recommended():
    rows = [{"name": "a", "size_bytes": 1, "lost_points": 0.9}, {"name": "b", "size_bytes": 2, "lost_points": 0.7}]
    assert [row["advice"] for row in judged(rows)] == ["holds", "ship"]


def test_nothing_is_recommended_where_every_file_differs_too_much():
    assert judged([{"name": "a", "size_bytes": 1, "lost_points": 9.0, "accepted": False}])[0]["advice"] == (
        "differs too much"
    )


def test_files_that_are_calibrated_are_not_said_to_want_it():
    probabilities, labels = np.tile([0.95, 0.05], (100, 1)), np.arange(100) % 2
    assert "calibrate it before relying on a threshold" in scored(probabilities, labels, "ab").worth()[-1]
    assert scored(probabilities, labels, "ab", temperature=1.5).worth()[-1] == (
        "The confidence it claims is off by 45.0 points on average, although it was calibrated: choose a threshold on "
        "pictures of your own."
    )


def test_the_weakest_class_is_one_that_is_known_to_be_weak():
    # b: none of 1; c: 40 of 100. One miss of one picture says less than sixty of a hundred.
    labels = np.array([0] * 100 + [1] + [2] * 100)
    predicted = np.array([0] * 100 + [0] + [2] * 40 + [0] * 60)
    assert (
        "It is weakest on c, where it finds 40% of 100, mostly taken for a."
        in scored(np.eye(3)[predicted], labels, "abc").worth()
    )


def test_labels_saved_is_one_sentence_a_manager_can_read():
    assert labels_saved(TRANSFER) == (
        "With 25 labelled pictures per class, transfer is at least as good as training from scratch with 100 "
        "(71.0% against 63.0%), in 20 instead of 400 CPU-seconds: 75% of the labels saved."
    )


def curve(transfer, scratch):
    """One seed of a curve: accuracies by number of pictures for each method."""
    return [
        {"method": method, "per_class": size, "accuracy": accuracy, "cpu_seconds": seconds}
        for method, accuracies, seconds in (("transfer", transfer, 20), ("scratch", scratch, 30))
        for size, accuracy in accuracies.items()
    ]


def test_transfer_that_saved_nothing_is_said_to():
    assert labels_saved(curve({5: 0.3, 25: 0.4}, {5: 0.2, 25: 0.5})) == (
        "Transfer saved nothing here: from scratch, 25 pictures per class reach 50.0%, and it does not."
    )


@pytest.mark.parametrize(("transfer", "said"), [(0.875, "87.5%"), (0.4, "40.0%")])
def test_one_number_of_labels_alone_is_not_said_to_save_any(transfer, said):
    assert labels_saved(curve({100: transfer}, {100: 0.5})) == (
        f"With 100 labelled pictures per class, transfer names {said} correctly and training from scratch 50.0%, in "
        "20 and 30 CPU-seconds; how many labels that saves shows only where several numbers of them are measured."
    )


@pytest.mark.parametrize("best_from_scratch", [25, 5])
def test_transfer_that_needs_as_many_labels_is_said_to_save_none(best_from_scratch):
    scratch = {5: 0.2, 25: 0.2, best_from_scratch: 0.5}
    assert labels_saved(curve({5: 0.4, 25: 0.6}, scratch)) == (
        "Transfer saved no labels here: it takes 25 per class to be at least as good as training from scratch with "
        f"{best_from_scratch} (60.0% against 50.0%), in 20 instead of 30 CPU-seconds."
    )


def test_labels_saved_is_silent_where_nothing_was_measured():
    assert labels_saved([]) == ""


def test_a_model_card_survives_json_and_names_what_the_model_cannot():
    given = evidence()
    card = model_card.card("fashion", given.record, given.scored, EXPORTS)
    assert model_card.ModelCard.model_validate(json.loads(card.model_dump_json())) == card
    assert card.limits[0] == "It knows 5 classes and calls every picture one of them, whatever it shows."
    assert any("measured on 100 pictures only" in limit for limit in card.limits)
    assert any("licence of the weights" in limit for limit in card.limits)


def test_a_model_card_in_markdown_has_its_tables_whole():
    given = evidence(weights_license="Apache-2.0", weights_source="package x")
    text = model_card.markdown(model_card.card("fashion", given.record, given.scored, EXPORTS, OUTPUTS))
    assert text.startswith("# fashion\n")
    assert "| model-int8.tflite | 4.00 | 78.5% | 0.28 | ship |" in text
    assert "gives `probabilities`." in text
    assert "Licence of those weights: Apache-2.0" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1


@pytest.mark.parametrize("name", ["a|b", "two\nlines", "| --- |"])
def test_a_class_of_any_name_keeps_the_tables_of_a_card_whole(name):
    given = evidence()
    rows = (given.scored.per_class[0].model_copy(update={"name": name}), *given.scored.per_class[1:])
    text = model_card.markdown(
        model_card.card("fashion", given.record, given.scored.model_copy(update={"per_class": rows}))
    )
    (table,) = (each for each in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE) if "| class |" in each)
    lines = table.splitlines()
    assert len(lines) == len(CLASSES) + 2
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1


def test_a_card_of_many_test_pictures_and_known_weights_has_fewer_limits():
    given = evidence(count=400, weights_license="Apache-2.0")
    card = model_card.card("fashion", given.record, given.scored)
    assert not [limit for limit in card.limits if "pictures only" in limit or "licence" in limit]
    assert any("other cameras, light or places were not measured" in limit for limit in card.limits)


def test_a_card_without_files_or_classes_has_no_tables_of_them():
    class Plain(Scored):
        @property
        def figures(self):
            return {"worth": 0.5, "of nothing": None}

    text = model_card.markdown(model_card.card("plain", evidence().record, Plain(count=10)))
    assert "## Files" not in text
    assert "| class |" not in text
    assert "of nothing" not in text
    assert "| worth | 50.0% (95 % interval: ± " in text


def test_a_loss_is_told_as_a_number_and_a_share_in_percent():
    given = evidence()
    text = model_card.markdown(model_card.card("fashion", given.record, given.scored))
    assert f"| log loss | {given.scored.log_loss:.3f} |" in text
    assert f"| balanced accuracy | {given.scored.balanced_accuracy:.1%} |" in text
    assert "top-5" not in text  # of five classes it says nothing


def test_a_run_that_lost_to_training_from_nothing_says_what_transfer_cost():
    given = evidence()
    record = given.record.model_copy(update={"scratch": {"accuracy": 1.0}})
    assert "trained from nothing for as long reaches 100.0%: transfer cost " in verdict(given.scored, record)


def test_a_verdict_without_files_names_none_to_ship():
    given = evidence()
    record = given.record.model_copy(update={"scratch": {}, "stages": ()})
    said = verdict(given.scored, record)
    assert said == " ".join(given.scored.worth())


def test_a_file_that_loses_nothing_is_as_good_as_the_model():
    given = evidence()
    rows = judged([{"name": "model.onnx", "size_bytes": 1_000_000, "lost_points": -0.3}])
    assert "The file to ship is model.onnx with 1.0 MB, as good as the model." in verdict(
        given.scored, given.record, rows
    )


def test_of_files_of_one_size_the_one_that_loses_less_is_recommended_and_rows_stay_in_their_order():
    rows = [
        {"name": "a", "size_bytes": 4, "lost_points": 0.2},
        {"name": "b", "size_bytes": 4, "lost_points": 0.1},
        {"name": "c", "size_bytes": 1, "lost_points": 0.1, "accepted": False},
    ]
    assert [(row["name"], row["advice"]) for row in judged(rows)] == [
        ("a", "holds"),
        ("b", "ship"),
        ("c", "differs too much"),
    ]
    assert "advice" not in rows[0]  # what came is left as it was
    assert judged([]) == ()


def test_a_comparison_names_the_best_run_and_how_well_that_is_known():
    weaker = evidence("weaker")
    sure = np.eye(len(CLASSES))[weaker.labels]
    better = report.Evidence(
        **{
            **vars(evidence("better")),
            "answers": {"probabilities": sure},
            "scored": scored(sure, weaker.labels, CLASSES),
        }
    )
    text = report.render_comparison([weaker, better])
    assert "better" in text
    assert f"{margin(1.0, 100):.1%}" in text


def test_runs_that_are_judged_by_other_figures_are_no_comparison():
    class Ranked(Scored):
        @property
        def figures(self):
            return {"label ranking": 0.5}

    other = report.Evidence(**{**vars(evidence()), "scored": Ranked(count=3)})
    with pytest.raises(DataError, match=r"judged by one figure\. Received: accuracy, label ranking"):
        report.render_comparison([evidence(), other])
