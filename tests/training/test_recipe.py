"""What settings that were not given are, by those that were."""

import pytest

from mxml.errors import SettingError
from mxml.model.graph import Graph
from mxml.runtime.imports import load_mxnet
from mxml.training.config import TrainConfig
from mxml.training.recipe import Recipe, with_rate, with_recipe

mx = load_mxnet()

LP_FT = Recipe("lp-ft", "scaled-adamw", 0.01, 0.9, 0.01, 1.0, 1.0)
FEATURES = Recipe("features", "scaled-adamw", 0.01, 0.9, 0.01, 1.0, 1.0)
ORIGINAL = Recipe("finetune", "sgd", 0.01, 0.9, 0.0001, 0.0, 10.0)
FROM_ZERO = Recipe("finetune", "adamw", 0.0002, 0.9, 0.01, 1.0, 10.0)


def config(**given):
    return TrainConfig(prefix="run", model="net", data_train="train.lst", data_val="val.lst", **given)


def but(recipe, **changes):
    return Recipe(**{**vars(recipe), **changes})


@pytest.mark.parametrize(
    "given, recipe",
    [
        ({}, LP_FT),
        ({"method": "features"}, FEATURES),
        ({"method": "finetune"}, FROM_ZERO),
        # The original script's options ask for its recipe.
        ({"lr": 0.05}, but(ORIGINAL, lr=0.05)),
        ({"mom": 0.8}, but(ORIGINAL, mom=0.8)),
        ({"lr": 0.01, "mom": 0.9, "wd": 0.0001}, ORIGINAL),
        ({"optimizer": "sgd"}, ORIGINAL),
        ({"optimizer": "nag"}, but(ORIGINAL, optimizer="nag")),
        ({"method": "finetune", "lr": 0.05}, but(ORIGINAL, lr=0.05)),
        ({"method": "finetune", "mom": 0.8}, but(ORIGINAL, mom=0.8)),
        ({"method": "finetune", "optimizer": "sgd"}, ORIGINAL),
        ({"method": "finetune", "optimizer": "adamw", "lr": 0.001}, but(FROM_ZERO, lr=0.001)),
        # A method or an optimizer that is given wins.
        ({"method": "lp-ft", "lr": 0.001}, but(LP_FT, lr=0.001)),
        (
            {"method": "lp-ft", "optimizer": "nag", "mom": 0.5, "lr": 0.1},
            but(LP_FT, optimizer="nag", mom=0.5, lr=0.1, wd=0.0001, warmup_epochs=0.0),
        ),
        ({"optimizer": "adam"}, but(LP_FT, optimizer="adam", lr=0.0002, wd=0.0001)),
        ({"optimizer": "adamw", "lr": 0.001}, but(LP_FT, optimizer="adamw", lr=0.001)),
        (
            {"method": "lp-ft", "optimizer": "sgd"},
            but(LP_FT, optimizer="sgd", lr=0.01, wd=0.0001, warmup_epochs=0.0),
        ),
        # What does not ask for a recipe.
        ({"wd": 0.0}, but(LP_FT, wd=0.0)),
        ({"head_lr_mult": 0.0}, but(LP_FT, head_lr_mult=0.0)),
        ({"warmup_epochs": 0.0}, but(LP_FT, warmup_epochs=0.0)),
        ({"mom": 0.0}, but(ORIGINAL, mom=0.0)),
        ({"loss": "asymmetric"}, LP_FT),
    ],
    ids=str,
)
def test_what_is_given_decides_on_the_rest(given, recipe):
    assert Recipe.of(config(**given)) == recipe
    resolved = with_recipe(config(**given))
    if recipe.optimizer == "scaled-adamw" and "lr" not in given:
        recipe = but(recipe, lr=None)
    if "adam" in recipe.optimizer:
        recipe = but(recipe, mom=None)
    assert vars(recipe).items() <= vars(resolved).items()
    assert with_recipe(resolved) == resolved


@pytest.mark.parametrize(
    ("given", "optimizer"),
    [
        ({"method": "lp-ft"}, "scaled-adamw"),
        ({"method": "features"}, "scaled-adamw"),
        ({"optimizer": "adam"}, "adam"),
        ({"method": "finetune", "optimizer": "adamw"}, "adamw"),
    ],
)
def test_momentum_is_refused_where_the_optimizer_has_none(given, optimizer):
    with pytest.raises(SettingError, match=f"`mom` 0.9: should be left out, .* sgd or nag: {optimizer} has none"):
        with_recipe(config(mom=0.9, **given))
    # A run from before this was refused has it in its sidecar, and goes on.
    assert Recipe.of(config(mom=0.9, **given)).optimizer == optimizer


@pytest.mark.parametrize("op", ["BatchNorm", "BatchNorm_v1"])
@pytest.mark.parametrize(
    ("norm", "given", "lr"),
    [
        ({}, {}, 0.02),
        (None, {}, 0.01),
        # Fixed statistics let the output grow with the weights.
        ({"use_global_stats": True}, {}, 0.01),
        ({"use_global_stats": "1"}, {}, 0.01),
        ({"use_global_stats": "true"}, {}, 0.01),
        ({}, {"method": "lp-ft", "lr": 0.002}, 0.002),
        ({}, {"method": "finetune"}, 0.0002),
    ],
)
def test_steps_are_larger_where_batch_norm_follows(norm, given, lr, op):
    net = mx.sym.Convolution(mx.sym.Variable("data"), num_filter=2, kernel=(3, 3), name="conv")
    if norm is not None:
        net = getattr(mx.sym, op)(net, name="bn", **norm)
    assert with_rate(with_recipe(config(**given)), Graph.of(net)).lr == lr


@pytest.mark.parametrize("given", [{"loss": "focal"}, {"pos_weight": "auto"}, {"label_smoothing": 0.1}])
def test_features_fits_plain_cross_entropy_only(given):
    with pytest.raises(SettingError, match="features fits plain bce"):
        with_recipe(config(method="features", **given))
