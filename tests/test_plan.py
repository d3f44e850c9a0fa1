"""Plans: what a file says is what comes back, and what is wrong is one sentence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_transfer import plan as plans
from keras_transfer.errors import UsageError
from keras_transfer.specs import Plan, Stage

STAGES = st.builds(
    Stage,
    name=st.sampled_from(["head", "top"]),
    blocks=st.one_of(st.just("all"), st.lists(st.integers(-5, 5), max_size=4).map(tuple)),
    epochs=st.integers(1, 99),
    learning_rate=st.floats(1e-6, 1),
    patience=st.none() | st.integers(1, 9),
    ema=st.none() | st.floats(0.1, 0.99),
)
PLANS = st.builds(
    Plan,
    data=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
    stages=STAGES.map(lambda stage: (stage,)),
    image_size=st.none() | st.integers(16, 512),
    seed=st.integers(0, 2**31 - 1),
)


@given(PLANS)
@settings(deadline=None)
def test_a_plan_comes_back_from_its_file_as_it_was(tmp_path_factory, plan):
    path = tmp_path_factory.mktemp("plan") / "plan.toml"
    path.write_text(plans.to_toml(plan), encoding="utf-8")
    assert plans.read(path) == plan


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "plan: 'data' is missing."),
        ({"data": "x", "sed": 1}, "plan: Unknown key 'sed'. Did you mean 'seed'?"),
        ({"data": "x", "stages": [{"name": "a", "epoch": 3}]}, "plan: Unknown key 'epoch'. Did you mean 'epochs'?"),
        ({"data": "x", "seed": -1}, "plan: 'seed': Input should be greater than or equal to 0. Received: -1"),
        (
            {"data": "x", "stages": [{"name": "a"}, {"name": "a"}]},
            "plan: 'stages': Stage names must differ. Received: a, a",
        ),
    ],
)
def test_what_is_wrong_with_a_plan_is_one_sentence(values, sentence):
    with pytest.raises(UsageError) as caught:
        plans.make(values)
    assert str(caught.value) == sentence


def test_overrides_reach_into_stages():
    values = plans.override({"stages": [{"name": "head", "epochs": 3}]}, ["stages.0.epochs=9", "seed=4", "data=a b"])
    assert values == {"stages": [{"name": "head", "epochs": 9}], "seed": 4, "data": "a b"}


@pytest.mark.parametrize(
    ("item", "sentence"), [("seed", "must be key=value. Received: 'seed'"), ("stages.7.epochs=1", "has nothing at")]
)
def test_an_override_that_fits_nowhere_is_refused(item, sentence):
    with pytest.raises(UsageError, match=sentence):
        plans.override({"stages": [{}]}, [item])


def test_a_file_that_is_no_toml_is_named(tmp_path):
    (tmp_path / "plan.toml").write_text("data = ")
    with pytest.raises(UsageError, match=r"plan\.toml' is not a TOML file that can be read"):
        plans.read(tmp_path / "plan.toml")
