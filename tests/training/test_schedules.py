"""Learning rates and training attacks that change as a run goes on."""

import keras
import numpy as np
import pytest
from keras import ops

from sharedkeras import attacks, objectives, training
from sharedkeras.training import learning_rates

SMALL = attacks.PGD(epsilon=0.1, step_size=0.05, steps=4)
LARGE = attacks.PGD(epsilon=0.2, step_size=0.1, steps=5)


def rates(name, epochs=10, steps_per_epoch=10, **options):
    schedule = learning_rates.get(name)(0.1, epochs, steps_per_epoch, **options)
    copy = type(schedule).from_config(schedule.get_config())
    values = [float(ops.convert_to_numpy(schedule(step))) for step in range(100)]
    assert values == [float(ops.convert_to_numpy(copy(step))) for step in range(100)]
    return np.array(values)


def test_one_cycle_rises_and_falls_linearly():
    values = rates("one-cycle", rise=0.3)
    assert values.max() <= 0.1
    assert abs(values.argmax() - 30) <= 1
    np.testing.assert_allclose(np.diff(values[:29]), 0.1 / 0.3 / 101, rtol=1e-3)
    np.testing.assert_allclose(np.diff(values[31:]), -0.1 / 0.7 / 101, rtol=1e-3)
    assert 0 < values[0] < 0.005
    assert 0 < values[-1] < 0.005


def test_cosine_falls_from_the_rate_to_zero():
    np.testing.assert_allclose(rates("cosine"), 0.05 * (1 + np.cos(np.pi * np.arange(100) / 100)), 1e-4)


def test_cosine_warms_up():
    values = rates("cosine", warmup=2)
    assert values[0] == pytest.approx(0.005)
    assert values[20] == pytest.approx(0.1)
    assert np.all(np.diff(values[:21]) > 0)
    assert np.all(np.diff(values[20:]) < 0)
    assert values[-1] < 1e-4


def test_steps_drop_after_a_warm_up():
    values = rates("step", drops=(5,), factor=0.5, warmup=1)
    np.testing.assert_allclose(values[:10], 0.01 * np.arange(1, 11), rtol=1e-5)
    np.testing.assert_allclose(values[10:50], 0.1, rtol=1e-5)
    np.testing.assert_allclose(values[50:], 0.05, rtol=1e-5)


def test_steps_drop_by_a_factor_each():
    values = rates("step", drops=(5, 9), factor=(0.3, 0.5))
    np.testing.assert_allclose(values[:50], 0.1, rtol=1e-5)
    np.testing.assert_allclose(values[50:90], 0.03, rtol=1e-5)
    np.testing.assert_allclose(values[90:], 0.015, rtol=1e-5)


def test_bad_schedules():
    with pytest.raises(ValueError, match="one for each drop"):
        learning_rates.get("step")(0.1, 10, 10, drops=(5,), factor=(0.3, 0.5))
    with pytest.raises(ValueError, match="one-cycle"):
        learning_rates.get("nothing")
    with pytest.raises(ValueError, match="rise"):
        training.OneCycle(0.1, updates=10, rise=1.0)


def test_curriculum_names_the_attack_of_an_epoch():
    curriculum = training.Curriculum(((0, SMALL), (3, LARGE)))
    assert [curriculum.at(epoch) for epoch in (0, 2, 3, 9)] == [SMALL, SMALL, LARGE, LARGE]


@pytest.mark.parametrize("begins", [(), (1,), (0, 0), (0, 3, 2)])
def test_bad_curriculum(begins):
    with pytest.raises(ValueError, match="stages"):
        training.Curriculum(tuple((begin, SMALL) for begin in begins))


def test_the_trainer_follows_the_curriculum():
    inputs = keras.Input((8, 8, 1))
    network = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))

    class Watched(objectives.Standard):
        def loss(self, targets, outputs, epoch=None):
            terms = super().loss(targets, outputs, epoch)
            # The size of the perturbation in place of the loss, as the graph that runs sees it.
            size = ops.max(ops.abs(outputs["adv"]["logits"] - targets["clean"]))
            return {"loss": terms["loss"], "ce_adv": size}

        def views(self, classifier, x, targets, seed):
            views, targets = super().views(classifier, x, targets, seed)
            return views, {**targets, "clean": classifier.predict(x)}

    curriculum = training.Curriculum(((0, SMALL), (2, LARGE)))
    trainer = training.RobustTrainer(network, Watched(attack=SMALL), curriculum=curriculum)
    trainer.compile(optimizer=keras.optimizers.SGD(1e-9))
    x = np.full((12, 8, 8, 1), 0.5, "float32")
    y = (np.arange(12) % 2).astype("int32")

    class Epochs(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.begin_epoch(epoch)

    history = trainer.fit(x, y, batch_size=12, epochs=4, callbacks=[Epochs()], verbose=0).history
    moved = history["ce_adv"]
    # The network is linear: so the logits move in proportion to epsilon.
    assert moved[1] == pytest.approx(moved[0], rel=1e-3)
    assert moved[3] == pytest.approx(moved[2], rel=1e-3)
    assert moved[2] == pytest.approx(2 * moved[0], rel=1e-3)
