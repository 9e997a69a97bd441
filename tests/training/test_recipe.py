from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edgedet.config import available_models, changed_training_keys, load_model_file
from edgedet.training.loader import steps_per_epoch
from edgedet.training.recipe import LEAST_IMAGES, describe_fit, fit_recipe

PICO = load_model_file("rtmdet_pico_relu6").train  # batch 8, rate 0.006, averaging 0.998, 100 epochs
BLOOD = 205  # images


@pytest.mark.parametrize("model", available_models())
def test_fit_at_the_batch_of_every_model_file_changes_nothing_on_205_images(model: str) -> None:
    config = load_model_file(model).train
    assert config.reference_batch == config.batch
    assert fit_recipe(config, BLOOD) == replace(config, reference_batch=0)
    assert describe_fit(config, fit_recipe(config, BLOOD), BLOOD) is None


@pytest.mark.parametrize(
    ("batch", "lr", "ema_decay", "epochs"),
    [(2, 0.003, 0.999, 100), (16, 0.00849, 0.997172, 131), (32, 0.012, 0.996, 200), (64, 0.017, 0.994343, 283)],
)
def test_fit_another_batch_by_the_square_root(batch: int, lr: float, ema_decay: float, epochs: int) -> None:
    fitted = fit_recipe(replace(PICO, batch=batch), BLOOD)
    assert (fitted.lr, fitted.ema_decay, fitted.epochs) == (lr, ema_decay, epochs)
    assert fit_recipe(fitted, BLOOD) == fitted
    # Independent of the formula in epochs: steps of the run, relative to those at the reference batch.
    steps = epochs * steps_per_epoch(BLOOD, batch)
    assert steps >= math.floor(LEAST_IMAGES / 8 / math.sqrt(batch / 8))


@pytest.mark.parametrize(("images", "epochs"), [(1, 2400), (20, 1200), (205, 100), (118_000, 100)])
def test_fit_small_data_sets_get_as_many_steps(images: int, epochs: int) -> None:
    fitted = fit_recipe(PICO, images)
    assert fitted == replace(PICO, epochs=epochs, reference_batch=0)


def test_fit_leaves_alone_what_was_given() -> None:
    config = replace(PICO, batch=32)
    fitted = fit_recipe(config, BLOOD, frozenset({"epochs"}))
    assert (fitted.lr, fitted.epochs) == (0.012, 100)
    fitted = fit_recipe(config, BLOOD, frozenset({"lr", "ema_decay"}))
    assert (fitted.lr, fitted.ema_decay, fitted.epochs) == (0.006, 0.998, 200)
    assert fit_recipe(config, BLOOD, frozenset({"lr", "ema_decay", "epochs"})) == replace(config, reference_batch=0)
    without_average = replace(config, ema_decay=0.0)
    assert fit_recipe(without_average, BLOOD).ema_decay == 0.0


def test_fit_without_a_reference_changes_nothing() -> None:
    config = replace(PICO, batch=64, reference_batch=0)
    assert fit_recipe(config, 3) is config


def test_describe_fit_names_each_change() -> None:
    config = replace(PICO, batch=32)
    assert describe_fit(config, fit_recipe(config, BLOOD), BLOOD) == (
        "batch 32 (reference 8), 205 images: rate 0.006 -> 0.012, averaging 0.998 -> 0.996, epochs 100 -> 200"
    )


def test_changed_training_keys_of_overrides() -> None:
    overrides = ("train.lr=0.1", "epochs = 3", "qat.batch=4", "model.widen=0.5", "activation=relu")
    assert changed_training_keys(overrides) == {"lr", "epochs"}
