"""Networks in HDF5, and code inside of files."""

import h5py
import keras
import numpy as np
import pytest
from keras import layers, ops

from sharedkeras.files import hdf5
from sharedkeras.layers import GaussianStochastic
from sharedkeras.models import build, load_network

# Keras's own advice to use its newer format comes by its log, not as a warning.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
X = np.random.default_rng(0).random((3, 8, 8, 1), "float32")


def plain():
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(4)])


def functional():
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.BatchNormalization()(x)
    return keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))


def stochastic():
    inputs = keras.Input((8, 8, 1))
    z, _, _ = GaussianStochastic(5, name="latent")(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(4)(z))


def ours():
    return build("cnn", input_shape=(28, 28, 1), num_classes=4, latent_dim=None)


def compiled():
    network = plain()
    network.compile("adam", "mse")
    return network


def outputs(network):
    x = X if network.input_shape[1] == 8 else np.tile(X, (1, 4, 4, 1))[:, :28, :28]
    return ops.convert_to_numpy(network(x, training=False))


@pytest.mark.parametrize("make", [plain, functional, stochastic, ours, compiled])
@pytest.mark.parametrize("name", ["my.h5", "my.hdf5"])
def test_the_network_comes_back(make, name, tmp_path):
    network = make()
    network.save(tmp_path / name)
    loaded = load_network(tmp_path / name)
    np.testing.assert_array_equal(outputs(loaded), outputs(network))


def with_code():
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Lambda(lambda x: 2 * x), layers.Flatten()])


@pytest.mark.parametrize("name", ["my.h5", "my.keras"])
def test_code_runs_only_when_it_is_trusted(name, tmp_path):
    network = with_code()
    network.save(tmp_path / name)
    with pytest.raises(ValueError, match=r"Lambda layer.*--trust.*Received: path="):
        load_network(tmp_path / name)
    loaded = load_network(tmp_path / name, trust=True)
    np.testing.assert_array_equal(outputs(loaded), outputs(network))


def weights_only(path):
    plain().save_weights(path.with_name("my.weights.h5"))
    path.with_name("my.weights.h5").rename(path)


def cut_off(path):
    plain().save(path)
    path.write_bytes(path.read_bytes()[:2000])


def other_layers(path):
    plain().save(path)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace("Dense", "Danse")


def a_heap_without_end(path):
    plain().save(path)
    data = bytearray(path.read_bytes())
    place = data.find(b"GCOL") + 24
    data[place : place + 8] = (2**64 - 16).to_bytes(8, "little")
    path.write_bytes(data)


def a_billion_units(path):
    plain().save(path)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace(
            '"units": 4', '"units": 1000000000'
        )


def an_array_of_a_terabyte(path):
    plain().save(path)
    with h5py.File(path, "a") as file:
        file.create_dataset("model_weights/x", (2**20, 2**18), "f4", chunks=(1024, 1024))


def not_finite(path):
    network = plain()
    network.set_weights([np.full_like(w, np.nan) for w in network.get_weights()])
    network.save(path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (weights_only, "weights only"),
        (cut_off, "damaged"),
        (other_layers, "cannot be read.*Danse"),
        (a_heap_without_end, "did not end within 2 s of computing"),
        (a_billion_units, r"expects shape \(64, 1000000000\)"),
        (an_array_of_a_terabyte, "no more than the file"),
        (not_finite, "must be finite"),
    ],
)
def test_what_is_wrong_is_said(damage, words, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "_COMPUTING", 2)
    damage(tmp_path / "my.h5")
    with pytest.raises(ValueError, match=rf"(?s){words}.*Received: .*path=.*my\.h5"):
        load_network(tmp_path / "my.h5")
