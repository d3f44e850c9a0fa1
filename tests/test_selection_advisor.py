"""Advice: what is chosen, why, and what is said where nothing can be known."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from keras_transfer.errors import UsageError, WeightsError
from keras_transfer.selection import measuring
from keras_transfer.selection.advisor import advise
from keras_transfer.selection.findings import BlockFeatures, Limits, Measurement, Question
from keras_transfer.selection.pictures import InputShift, input_shift
from keras_transfer.specs import BackboneSpec, Block, Plan, Stage

PHOTOGRAPHS = InputShift(grey_share=0.0, fine_detail=0.05, alike=False)


def head(blocks):
    return (Stage(name="head", epochs=20),)


def head_then_top(blocks):
    return (*head(blocks), Stage(name="top", blocks=tuple(range(-(blocks // 2), 0)), epochs=10))


def full(blocks):
    return (*head(blocks), Stage(name="all", blocks="all", epochs=10))


def adapt_then_full(blocks):
    return (*head_then_top(blocks), *full(blocks)[1:])


RECIPES = {"head": head, "head_then_top": head_then_top, "full": full, "adapt_then_full": adapt_then_full}


def spec(name="Small", *, traits=(), min_size=32):
    return BackboneSpec(
        name=name,
        family="test",
        build=lambda tensor: tensor,
        input_size=224,
        min_size=min_size,
        scaling="tf",
        weights=(),
        traits=frozenset(traits),
    )


def task(per_class=100, classes=4, *, looked_at=50, shift=PHOTOGRAPHS, counts=None):
    counts = np.full(classes, per_class) if counts is None else np.asarray(counts)
    labels = np.concatenate([np.full(min(looked_at, count), i) for i, count in enumerate(counts)])
    return Question(
        "pictures",
        labels,
        class_counts=counts,
        pictures=int(counts.sum()),
        image_size=96,
        typical_size=32,
        shift=shift,
    )


def separation(strength, labels, *, distance=0.05, size_bytes=13_000_000, ms=1.0, spread=1.0, source=None):
    """A measurement whose later blocks tell the classes apart by `strength` deviations."""
    rng = np.random.default_rng(0)
    width = int(labels.max()) + 4
    noise = [spread * rng.normal(size=(len(labels), width)) for _ in range(3)]
    features = [
        (each + share * strength * np.eye(width)[labels]).astype(np.float32)
        for each, share in zip(noise, (0.3, 0.6, 1.0), strict=True)
    ]
    blocks = [BlockFeatures(each, distance, mirrored=each[: len(labels) // 2], work=1 / 3) for each in features]
    return Measurement(96, tuple(blocks), size_bytes, ms, source)


def advised(given, strength=2.0, *, specs=None, limits=None, **measured):
    return advise(
        given,
        specs or [spec()],
        lambda row, side: separation(strength, given.labels, **measured),
        RECIPES,
        limits=limits,
    )


def reason(advice, topic):
    return next(each for each in advice.reasons if each.topic == topic)


def test_the_advice_is_a_plan_that_training_takes():
    advice = advised(task())
    assert Plan.model_validate(advice.plan.model_dump()) == advice.plan
    assert type(advice).model_validate_json(advice.model_dump_json()) == advice


def test_every_choice_comes_with_a_sentence_and_a_number():
    advice = advised(task())
    for topic in (
        "pictures",
        "backbone",
        "image size",
        "which blocks learn",
        "epochs",
        "learning rates",
        "augmentation",
        "batch norm",
    ):
        assert any(character.isdigit() for character in reason(advice, topic).sentence), topic


def test_features_that_already_tell_the_classes_apart_need_the_head_alone():
    advice = advised(task(), strength=20)
    assert advice.plan.recipe == "head"
    assert "already right in" in reason(advice, "which blocks learn").sentence


def test_features_that_do_not_tell_the_classes_apart_let_all_blocks_learn():
    assert advised(task(per_class=1000), strength=1).plan.recipe == "full"


def test_few_pictures_leave_early_blocks_alone():
    assert advised(task(per_class=9), strength=1).plan.recipe == "head_then_top"
    assert advised(task(per_class=20), strength=1).plan.recipe == "full"


def test_pictures_unlike_those_of_the_source_take_new_statistics_first():
    plan_of = {distance: advised(task(), strength=1, distance=distance) for distance in (0.2, 0.5, None)}
    assert [advice.plan.recipe for advice in plan_of.values()] == ["full", "adapt_then_full", "full"]
    assert reason(plan_of[0.5], "which blocks learn").sentence == (
        "Recipe adapt_then_full (head, then top, then all): the first block's activations are 0.50 deviations from "
        "those of the pictures the backbone learned from, so batch norms "
        "take new statistics before every weight learns."
    )


@pytest.mark.parametrize(("per_class", "policy"), [(20, "train"), (3, "frozen")])
def test_batch_statistics_are_taken_of_batches_that_are_worth_it(per_class, policy):
    plan = advised(task(per_class=per_class), strength=1).plan
    assert {stage.batch_norm for stage in plan.stages if stage.blocks} == {policy}


def test_epochs_and_rates_are_the_recipes_with_what_they_come_to():
    advice = advised(task(per_class=9, classes=44), strength=1, distance=0.4)
    kept = [
        [(each.epochs, each.learning_rate, each.block_decay) for each in stages]
        for stages in (advice.plan.stages, head_then_top(3))
    ]
    assert kept[0] == kept[1]
    assert reason(advice, "epochs").sentence == "10 epochs where blocks learn, as the recipe has them: 130 steps."
    assert reason(advice, "learning rates").sentence == (
        "Peak rates as the recipe has them (head 0.001, top 0.001); activations are 0.40 deviations from those of the "
        "pictures the backbone learned from (0: alike)."
    )


def test_of_backbones_that_chance_does_not_tell_apart_the_smaller_is_taken():
    given = task()
    measured = {"Large": separation(2, given.labels, size_bytes=90_000_000), "Small": separation(2, given.labels)}
    advice = advise(given, [spec("Large"), spec("Small")], lambda row, side: measured[row.name], RECIPES)
    assert advice.plan.backbone == "Small"


def test_a_clearly_better_backbone_is_taken_whatever_its_size():
    given = task()
    measured = {"Large": separation(6, given.labels, size_bytes=90_000_000), "Small": separation(0.5, given.labels)}
    advice = advise(given, [spec("Small"), spec("Large")], lambda row, side: measured[row.name], RECIPES)
    assert advice.plan.backbone == "Large"
    assert [each.backbone for each in advice.ranking] == ["Large", "Small"]


@pytest.mark.parametrize(
    ("limits", "obstacle"),
    [
        (Limits(max_mb=20), "90.0 MB, where 20 are allowed"),
        (Limits(max_ms=5), "9.0 ms a picture, where 5 are allowed"),
        (Limits(int8=True), "loses its accuracy in int8 (squeeze-excite, swish)"),
    ],
)
def test_a_backbone_beyond_the_limits_is_ranked_last_with_its_obstacle(limits, obstacle):
    given = task()
    measured = {
        "Large": separation(6, given.labels, size_bytes=90_000_000, ms=9.0),
        "Small": separation(0.5, given.labels),
    }
    specs = [spec("Large", traits=("swish", "squeeze-excite")), spec("Small")]
    advice = advise(given, specs, lambda row, side: measured[row.name], RECIPES, limits=limits)
    assert advice.plan.backbone == "Small"
    assert advice.ranking[-1].obstacle == obstacle


def test_int8_is_counted_at_its_size():
    assert advised(task(), limits=Limits(int8=True)).ranking[0].size_mb == pytest.approx(0.3 * 13)


def test_limits_that_nothing_meets_are_an_error_that_says_by_how_much():
    with pytest.raises(UsageError, match=r"the best of them, Small: 13.0 MB, where 1 are allowed. Allow more"):
        advised(task(), limits=Limits(max_mb=1))


def test_no_backbone_at_all_is_an_error():
    with pytest.raises(UsageError, match="at least one backbone"):
        advise(task(), [], lambda row, side: None, RECIPES)


def test_without_weights_the_plan_rests_on_counts_and_says_so():
    def measure(row, side):
        raise WeightsError("not here. Fetch them.")

    advice = advise(task(), [spec()], measure, RECIPES)
    assert advice.plan.backbone == "Small"
    assert "Small was not measured: not here. Fetch them." in advice.unknown
    assert (
        "No pretrained weights are at hand, so nothing was measured: the plan rests on counts alone." in advice.unknown
    )
    assert advice.ranking == ()


def test_constant_features_are_said_to_tell_nothing():
    advice = advised(task(), strength=0, spread=0)
    assert (
        "LogME of Small: All pictures give the same features, so nothing can be told from them: are they all alike?"
        in advice.unknown
    )
    assert advice.ranking[0].probe_accuracy is None
    assert "nothing could be told from its features" in reason(advice, "backbone").sentence


def test_features_that_are_nan_are_said_to_be():
    advice = advised(task(), spread=np.nan)
    assert "LogME of Small: Features must be finite. Received: NaN or infinity in 200 of 200 rows." in advice.unknown
    assert advice.ranking[0].probe_accuracy is None


def test_two_pictures_a_class_are_said_to_be_a_guess():
    advice = advised(task(per_class=2))
    assert advice.unknown[0] == "4 of 4 classes have fewer than 5 pictures: what is said of them is a guess."
    assert advice.plan.recipe != "full"


def test_a_thousand_classes_of_which_few_pictures_were_looked_at_are_a_guess():
    advice = advised(replace(task(per_class=50, classes=1000, looked_at=1), size_is_given=True))
    assert advice.unknown[0] == (
        "1000 pictures were looked at, 1.0 of each of 1000 classes: what a probe says of them is a guess."
    )
    assert advice.plan.stages


def test_one_class_a_hundred_times_another_is_warned_of():
    advice = advised(task(counts=[2000, 20, 20]))
    assert advice.unknown[0] == (
        "The largest class has 100 times the pictures of the smallest: accuracy will mostly speak of the large ones."
    )


def test_naming_the_largest_class_alone_is_no_knowledge():
    advice = advised(task(counts=[200, 2, 2], looked_at=200), strength=0)
    assert advice.ranking[0].probe_accuracy > 0.98
    assert advice.plan.recipe == "head_then_top"
    assert reason(advice, "backbone").sentence.endswith(", no more than chance gives.")
    assert "where the knowledge stands" not in {each.topic for each in advice.reasons}
    assert advice.label_noise is None
    assert "Label noise: a probe that is right no more often than chance cannot doubt labels." in advice.unknown


def test_a_class_without_training_pictures_does_not_divide_by_zero():
    assert advised(task(counts=[100, 100, 0])).plan.stages


def test_pictures_that_are_all_alike_are_said_to_be():
    advice = advised(task(shift=InputShift(0.0, 0.0, alike=True)), strength=0, spread=0)
    assert advice.unknown[0] == "All pictures looked at are the same: nothing can be learned from them."


def test_leep_is_given_where_the_source_predicts():
    given = task()
    source = np.full((len(given.labels), 7), 1 / 7) + np.eye(7)[given.labels] / 100
    assert advised(given, source=source / source.sum(axis=1, keepdims=True)).ranking[0].leep <= 0


def test_a_picture_is_never_smaller_than_the_backbone_takes():
    sides = []

    def measure(row, side):
        sides.append(side)
        return separation(2, task().labels)

    advise(task(), [spec(min_size=128)], measure, RECIPES)
    assert sides[0] == 128


def mirrored(exchange):
    """A measurement whose mirrored pictures look like another class, or like their own."""
    given = task(classes=2)
    order = np.random.default_rng(1).permutation(len(given.labels))
    given = replace(given, labels=given.labels[order])
    whole = separation(3, given.labels)
    *early, last = whole.blocks
    features = last.features
    exchanged = features[:, [1, 0, *range(2, features.shape[1])]] if exchange else features
    whole = replace(whole, blocks=(*early, replace(last, mirrored=exchanged[:50])))
    light = {
        name: lambda blocks, make=make: tuple(each.model_copy(update={"augment": "light"}) for each in make(blocks))
        for name, make in RECIPES.items()
    }
    return advise(given, [spec()], lambda row, side: whole, light)


def test_pictures_whose_mirror_image_is_another_class_are_not_mirrored():
    advice = mirrored(True)
    assert {stage.augment for stage in advice.plan.stages} == {"light_no_flip"}
    assert "so left and right stay where they are" in reason(advice, "augmentation").sentence
    advice = mirrored(False)
    assert {stage.augment for stage in advice.plan.stages} == {"light"}
    assert reason(advice, "augmentation").sentence == (
        "Augmentation light: a probe is right in 0.0 points more of mirrored pictures (standard error 0.0)."
    )


def by_size(given, gain, *, ms=10.0):
    """Measurements that get better with the size of the picture, and take so long that looking twice is affordable."""

    def measure(row, side):
        measured = separation(1 + gain * (side > 96), given.labels, ms=ms)
        return replace(measured, image_size=side)

    return measure


def test_a_larger_picture_is_taken_where_a_probe_gains_more_than_chance():
    advice = advise(task(per_class=1000), [spec()], by_size(task(per_class=1000), gain=2), RECIPES)
    assert advice.plan.image_size == 128
    assert "which is worth its time" in reason(advice, "larger size").sentence


def test_a_larger_picture_that_gains_nothing_is_not_taken():
    advice = advise(task(per_class=1000), [spec()], by_size(task(per_class=1000), gain=0), RECIPES)
    assert advice.plan.image_size == 96
    assert "chance alone could give" in reason(advice, "larger size").sentence


def test_no_second_look_is_taken_that_costs_more_than_its_share_of_training():
    given = task(per_class=100)
    advice = advise(given, [spec()], by_size(given, gain=2, ms=1e-6), RECIPES)
    assert advice.plan.image_size == 96
    assert "was not tried" in reason(advice, "larger size").sentence


def test_what_reading_the_pictures_took_is_part_of_what_advice_took():
    assert advised(replace(task(), seconds=100.0)).seconds > 100


def test_further_backbones_are_measured_only_while_that_is_little_of_the_training():
    given, specs = task(), [spec("First"), spec("Second")]
    advice = advise(given, specs, lambda row, side: separation(1, given.labels, ms=1e-6), RECIPES, share=0.15)
    assert [each.backbone for each in advice.ranking] == ["First"]
    assert (
        "Second was not measured: advice would cost more than 15% of the 0 s that training takes. Ask for it by name "
        "to have it measured." in advice.unknown
    )
    slow = advise(given, specs, lambda row, side: separation(1, given.labels, ms=1e3), RECIPES, share=0.15)
    assert len(slow.ranking) == 2


def test_all_backbones_that_were_asked_for_are_measured():
    advice = advised(task(), strength=1, specs=[spec("First"), spec("Second")], ms=1e-6)
    assert len(advice.ranking) == 2


def test_a_size_that_was_asked_for_is_kept():
    given = replace(task(per_class=1000), size_is_given=True)
    assert advise(given, [spec()], by_size(given, gain=2), RECIPES).plan.image_size == 96


def test_grey_pictures_are_seen():
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (3, 32, 32, 1), np.uint8), 3, axis=-1)
    colour = rng.integers(0, 256, (1, 32, 32, 3), np.uint8)
    assert input_shift(np.concatenate([grey, colour])).grey_share == 0.75


def test_an_enlarged_picture_has_lost_its_fine_detail():
    sharp = keras.ops.cast(np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8), "float32")
    blurred = np.asarray(keras.ops.image.resize(sharp, (96, 96), interpolation="bicubic")).clip(0, 255).astype(np.uint8)
    assert input_shift(blurred).fine_detail < 0.05 * input_shift(np.asarray(sharp).astype(np.uint8)).fine_detail


def test_black_pictures_do_not_divide_by_zero():
    shift = input_shift(np.zeros((3, 32, 32, 3), np.uint8))
    assert (shift.grey_share, shift.fine_detail, shift.alike) == (1.0, 0.0, True)


def test_measuring_gives_every_block_pooled_and_its_distance_from_the_source():
    image = keras.Input((16, 16, 3), dtype="uint8", name="image")
    pixels = keras.layers.Rescaling(1 / 255)(image)
    norm = keras.layers.BatchNormalization(name="norm")
    first = keras.layers.Conv2D(4, 3, strides=2, use_bias=False)
    middle = norm(first(pixels))
    last = keras.layers.Conv2D(6, 3)
    end = last(middle)
    model = keras.Model(image, end)
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    scaled = images / np.float32(255)
    taken = np.asarray(first(scaled))
    norm.moving_mean.assign(taken.mean(axis=(0, 1, 2)))
    norm.moving_variance.assign(taken.var(axis=(0, 1, 2)))

    def engine(graph, check):
        return lambda pictures: np.asarray(graph(pictures))

    blocks = (Block(0, (first, norm), middle), Block(1, (last,), end))
    measured = measuring.measure(model, blocks, images, engine)
    assert [block.features.shape for block in measured.blocks] == [(40, 4), (40, 6)]
    assert np.allclose(measured.blocks[0].features, np.asarray(norm(first(scaled))).mean(axis=(1, 2)), atol=1e-5)
    assert measured.blocks[0].distance == pytest.approx(0, abs=1e-3)
    assert measured.blocks[1].distance is None
    norm.moving_mean.assign_add(np.sqrt(taken.var(axis=(0, 1, 2))))
    assert measuring.measure(model, blocks, images, engine).blocks[0].distance == pytest.approx(1, abs=1e-3)


def test_advice_says_what_its_probes_were_judged_on():
    given = task()
    alike = advised(given).ranking[0].judged_on
    assert alike == "with look-alikes left out together (200 pictures, 152 of them different)"
    wide = BlockFeatures(np.random.default_rng(0).normal(size=(200, 60)))
    alone = advise(given, [spec()], lambda row, side: Measurement(96, (wide,), 1, 1.0), RECIPES)
    assert alone.ranking[0].judged_on == "with each picture left out in turn"
    grouped = replace(given, groups=np.arange(len(given.labels)) % 20)
    assert advised(grouped).ranking[0].judged_on == "with each of 20 groups left out as a whole"
    given = replace(given, validation_labels=np.arange(40) % 4)
    whole = separation(2, given.labels)
    elsewhere = [replace(block, validation=np.zeros((40, block.features.shape[1]))) for block in whole.blocks]
    advice = advise(given, [spec()], lambda row, side: replace(whole, blocks=tuple(elsewhere)), RECIPES)
    assert advice.ranking[0].probe_accuracy == 0.25
    assert "judged on 40 validation pictures of the source's own" in reason(advice, "how probes are judged").sentence


def test_advice_ends_with_what_training_takes_and_what_cheaper_recipes_give():
    advice = advised(task(per_class=1000), strength=1, ms=2.0)
    assert [each.recipe for each in advice.alternatives] == ["full", "head_then_top", "head"]
    assert advice.alternatives[0].seconds == advice.training_seconds
    assert sorted((each.seconds for each in advice.alternatives), reverse=True) == [
        each.seconds for each in advice.alternatives
    ]
    assert advice.cost.startswith("full takes about 8 min; head_then_top about ")
    assert advice.cost.endswith(f"at about what the probe says: {advice.ranking[0].probe_accuracy:.1%}")


def test_a_step_of_training_is_timed_where_training_is_long():
    given = task(per_class=1000)

    def expected(ms):
        measured = replace(separation(1, given.labels, ms=ms), learning_ms=lambda: 100.0)
        return advise(given, [spec()], lambda row, side: measured, RECIPES).ranking[0].learning_ms

    assert expected(ms=2.0) == 100.0
    assert expected(ms=0.01) is None


def test_validation_passes_are_part_of_what_training_takes():
    given = task(per_class=1000)
    longer = replace(given, validation_pictures=4000)
    assert advised(longer, strength=1).training_seconds > 1.2 * advised(given, strength=1).training_seconds


def test_pictures_with_several_labels_are_advised_on_and_what_is_not_measured_is_said():
    rng = np.random.default_rng(0)
    labels = rng.random((200, 4)) < 0.4
    given = replace(task(), labels=labels, class_counts=labels.sum(axis=0), pictures=200, task="multilabel")
    blocks = tuple(BlockFeatures(labels + rng.normal(0, each, labels.shape), 0.05) for each in (3.0, 1.0))
    measured = Measurement(96, blocks, 13_000_000, 1.0)
    advice = advise(given, [spec()], lambda row, side: measured, RECIPES)
    ranked = advice.ranking[0]
    assert advice.plan.task == "multilabel"
    assert ranked.probe_accuracy > 0.6
    assert ranked.tells
    assert (ranked.h_score, ranked.leep, advice.label_noise) == (None, None, None)
    assert "H-score and LEEP of Small: they take one class per picture." in advice.unknown
    assert "Label noise: it is told from pictures with one class each." in advice.unknown
