import itertools
import time

import keras
import numpy as np
import pytest

from sharedkeras.data import Batches

X = (np.arange(23, dtype="float32") / 32).reshape(23, 1, 1, 1)
Y = np.arange(23) % 5


def rows(batches):
    return [targets["index"].tolist() for _, targets in batches]


class Recorder(keras.Model):
    """Does nothing but remember, in a variable, which examples each step was given."""

    def __init__(self, capacity=200, width=5):
        super().__init__()
        self.scale = self.add_weight(shape=(), name="scale")
        self.step = self.add_weight(shape=(), dtype="int32", trainable=False, initializer="zeros")
        self.seen = self.add_weight(
            shape=(capacity, width), dtype="int32", trainable=False, initializer="zeros"
        )

    def call(self, x):
        return x[:, 0, 0, 0] * self.scale

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        index = keras.ops.cast(y["index"], "int32")
        missing = self.seen.shape[1] - keras.ops.shape(index)[0]
        row = keras.ops.pad(index + 1, ((0, missing),))
        self.seen.assign(keras.ops.slice_update(self.seen.value, (self.step.value, 0), row[None]))
        self.step.assign(self.step.value + 1)
        return keras.ops.mean(y_pred)

    def record(self):
        # The addition makes a tensor: Keras's conversion of a TensorFlow variable makes NumPy 2 warn.
        seen, step = (keras.ops.convert_to_numpy(v + 0) for v in (self.seen, self.step))
        return [[int(i) - 1 for i in row if i] for row in seen[: int(step)]]


class SetEpoch(keras.callbacks.Callback):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch


def fit(batches, *, set_epoch=True, model=None, **options):
    model = model or Recorder()
    if not model.compiled:
        model.compile(optimizer=keras.optimizers.SGD(0.0), loss=None)
    options.setdefault("shuffle", False)
    callbacks = [SetEpoch(batches)] if set_epoch else []
    model.fit(batches, verbose=0, callbacks=callbacks + options.pop("callbacks", []), **options)
    return model.record()


def expected(epochs, **options):
    batches = Batches(X, Y, 5, **options)
    out = []
    for epoch in epochs:
        batches.epoch = epoch
        out += rows(batches)
    return out


class TestBatches:
    def test_every_example_once_with_its_own_label(self):
        batches = Batches(X, Y, 5, seed=3)
        assert len(batches) == 5
        seen = []
        for x, targets in batches:
            np.testing.assert_array_equal(x, X[targets["index"]])
            np.testing.assert_array_equal(targets["label"], Y[targets["index"]])
            assert (x.dtype, targets["label"].dtype) == (np.float32, np.int32)
            assert targets["index"].dtype == np.int32
            seen += targets["index"].tolist()
        assert sorted(seen) == list(range(23))
        assert seen != list(range(23))

    def test_order_is_a_function_of_seed_and_epoch(self):
        first, second = Batches(X, Y, 5, seed=3), Batches(X, Y, 7, seed=3)
        orders = set()
        for epoch in range(4):
            second.order(9)
            np.testing.assert_array_equal(first.order(epoch), second.order(epoch))
            orders.add(tuple(first.order(epoch)))
        orders.add(tuple(Batches(X, Y, 5, seed=4).order(0)))
        assert len(orders) == 5

    def test_golden_order(self):
        # Philox's stream is fixed for ever: a run of today can be resumed by a later NumPy.
        order = Batches(X, Y, 5, seed=1).order(2)
        assert order[:8].tolist() == [4, 11, 2, 19, 13, 16, 18, 21]

    def test_places_are_uniform(self):
        batches = Batches(X, Y, 5)
        places = np.array([np.argsort(batches.order(epoch)) for epoch in range(2000)])
        # Mean of 2000 places uniform over 0..22: 11 with standard error 0.148.
        np.testing.assert_allclose(places.mean(axis=0), 11.0, atol=5 * 0.148)
        assert np.abs(np.corrcoef(places.T) - np.eye(23)).max() < 1 / 22 + 5 / np.sqrt(2000)

    def test_drop_remainder(self):
        batches = Batches(X, Y, 5, drop_remainder=True)
        assert len(batches) == 4
        assert all(len(batch) == 5 for batch in rows(batches))

    def test_without_shuffle(self):
        batches = Batches(X, Y, 5, shuffle=False)
        batches.epoch = 7
        assert list(itertools.chain(*rows(batches))) == list(range(23))

    def test_without_index(self):
        assert set(Batches(X, Y, 5, index=False)[0][1]) == {"label"}

    def test_positions(self):
        batches = Batches(X, Y, 5)
        np.testing.assert_array_equal(batches[-1][0], batches[4][0])
        for position in (5, -6):
            with pytest.raises(IndexError, match="5 batches"):
                batches[position]


class TestFit:
    def test_callback_decides_the_epoch(self):
        record = fit(Batches(X, Y, 5, seed=3), epochs=3)
        assert record == expected([0, 1, 2], seed=3)

    def test_resumed_run_reads_the_same(self):
        batches = Batches(X, Y, 5, seed=3)
        record = fit(batches, epochs=4, initial_epoch=2)
        assert record == expected([2, 3], seed=3)
        # Also an object and a model that have been used before.
        model = Recorder()
        fit(batches, epochs=2, model=model)
        assert fit(batches, epochs=4, initial_epoch=2, model=model) == expected(range(4), seed=3)

    def test_nothing_is_read_across_an_epochs_end(self):
        read = []

        class Watched(Batches):
            def __getitem__(self, position):
                read.append((self.epoch, position))
                return super().__getitem__(position)

        class Wait(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                pause()
                read.clear()

            def on_epoch_end(self, epoch, logs=None):
                pause()
                assert read == [(epoch, position) for position in range(5)]

        def pause():
            time.sleep(0.1)  # Time for a thread to read ahead.

        fit(Watched(X, Y, 5), epochs=3, callbacks=[Wait()])

    def test_with_validation_data_and_steps_of_an_epoch(self):
        batches, validation = Batches(X, Y, 5, seed=3), Batches(X, Y, 5, shuffle=False)
        model = Recorder()
        record = fit(batches, epochs=2, validation_data=validation, model=model)
        evaluated = expected([0], shuffle=False)
        assert record == expected([0], seed=3) + evaluated + expected([1], seed=3) + evaluated
        record = fit(Batches(X, Y, 5, seed=3), epochs=3, steps_per_epoch=5)
        assert record == expected([0, 1, 2], seed=3)

    def test_stopped_in_the_middle_and_run_again(self):
        class Stop(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if batch == 1:
                    self.model.stop_training = True

        batches = Batches(X, Y, 5, seed=3)
        assert fit(batches, epochs=3, callbacks=[Stop()]) == expected([0], seed=3)[:2]
        assert fit(batches, epochs=2) == expected([0, 1], seed=3)

    def test_counts_by_itself_where_nobody_does(self):
        batches = Batches(X, Y, 5, seed=3)
        assert fit(batches, epochs=3, set_epoch=False) == expected([0, 1, 2], seed=3)
        assert batches.epoch == 3

    def test_reading_outside_of_a_loop_does_not_count(self):
        batches = Batches(X, Y, 12, seed=3)  # Two batches: Keras looks at both for their shapes.
        assert len(rows(batches)) == 2
        model = Recorder(width=12)
        assert fit(batches, epochs=1, set_epoch=False, model=model) == [
            batches.order(0)[:12].tolist(),
            batches.order(0)[12:].tolist(),
        ]
        assert batches.epoch == 1

    def test_shuffled_by_keras_is_told(self):
        if keras.backend.backend() == "tensorflow":
            # The warning, an error here, is raised in tf.data's thread.
            with pytest.raises(Exception, match="shuffle=False"):
                fit(Batches(X, Y, 1), epochs=3, shuffle=True)
        else:
            with pytest.warns(UserWarning, match="shuffle=False"):
                fit(Batches(X, Y, 1), epochs=3, shuffle=True)


class TestBadInput:
    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"x": (X * 255).astype("uint8")}, TypeError, "Divide by 255"),
            ({"y": np.eye(23)}, ValueError, "one-hot"),
            ({"y": Y[:-1]}, ValueError, "23 labels"),
            ({"batch_size": 0}, ValueError, "batch_size=0"),
            ({"batch_size": 2.5}, TypeError, "batch_size=2.5"),
            ({"batch_size": True}, ValueError, "batch_size=True"),
            ({"seed": -1}, ValueError, "seed=-1"),
            ({"seed": 2**64}, ValueError, "seed="),
            ({"seed": None}, TypeError, "seed=None"),
            ({"batch_size": 24, "drop_remainder": True}, ValueError, "not one batch"),
        ],
    )
    def test_refused(self, change, error, message):
        arguments = {"x": X, "y": Y, "batch_size": 5} | change
        with pytest.raises(error, match=message):
            Batches(arguments.pop("x"), arguments.pop("y"), arguments.pop("batch_size"), **arguments)

    @pytest.mark.parametrize(("epoch", "error"), [(-1, ValueError), (0.5, TypeError)])
    def test_epoch(self, epoch, error):
        batches = Batches(X, Y, 5)
        with pytest.raises(error, match="epoch"):
            batches.epoch = epoch

    def test_options_are_keyword_only(self):
        with pytest.raises(TypeError):
            Batches(X, Y, 5, 3)
