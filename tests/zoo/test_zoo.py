"""The zoo: cards, weights that are what the card says, and what happens when they are not."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from keras import ops

import zoo
from sharedkeras import data, evaluation
from zoo import weights_store

NAME = "mnist-cnn-shared"


def test_first_network_is_there():
    assert NAME in zoo.names()


@pytest.mark.parametrize("name", zoo.names())
def test_cards_carry_their_evidence(name):
    card = zoo.card(name)
    evidence = card["evaluation"]
    settings = evidence["settings"]
    if evidence["n"] != settings["split_size"]:
        assert evidence["n"] >= 1000
        assert settings["subset"] == "random"
        assert settings["subset_seed"] == 0
    for further in card.get("further_evaluations", ()):
        assert (further["n"], further["settings"]["epsilon"]) == (evidence["n"], card["epsilon"])
        assert further["settings"]["weights_sha256"] == settings["weights_sha256"]
    assert 0 <= evidence["robust"] <= min(evidence["accuracy"].values()) <= 1
    assert evidence["versions"]["keras"]
    assert card["weights"]["sha256"]
    assert card["training"]["recipe"]["dataset"] == card["dataset"]
    assert card["parameters"] == sum(w.size for w in zoo.load(name).get_weights())


def test_weights_are_those_that_were_judged():
    judged = zoo.card(NAME)["evaluation"]["settings"]["weights_sha256"]
    assert evaluation.weights_digest(zoo.load(NAME)) == judged


def test_network_is_right_on_embedded_images():
    test = data.load("mnist-mini", "test")
    logits = ops.convert_to_numpy(zoo.load(NAME)(test.x))
    # The card's natural accuracy is over 10,000 images, of which these 2,000 are a part.
    error = np.sqrt(0.02 / 2000)
    assert abs((logits.argmax(1) == test.y).mean() - zoo.card(NAME)["evaluation"]["clean"]) < 5 * error


def test_a_card_is_a_copy():
    zoo.card(NAME)["epsilon"] = 99
    assert zoo.card(NAME)["epsilon"] == 0.3


def test_unknown_name_lists_the_zoo():
    with pytest.raises(ValueError, match=NAME):
        zoo.load("mnist-cnn-magic")
    with pytest.raises(FileNotFoundError, match=NAME):
        zoo.find("nowhere/at/all")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A zoo whose weights are not shipped but lie at an address."""
    entry = zoo.card(NAME)["weights"]
    shipped = weights_store.ROOT / "weights" / entry["file"]
    remote = tmp_path / "remote"
    remote.mkdir()
    (remote / entry["file"]).write_bytes(shipped.read_bytes())
    monkeypatch.setattr(weights_store, "ROOT", tmp_path / "empty")
    monkeypatch.setenv("SHAREDKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SHAREDKERAS_ZOO_URL", raising=False)
    return remote, entry


def test_remote_weights_are_fetched_checked_and_cached(elsewhere, monkeypatch):
    remote, entry = elsewhere
    expected = (remote / entry["file"]).read_bytes()
    assert weights_store.read(entry, zoo_url=remote.as_uri()) == expected
    (remote / entry["file"]).unlink()
    assert weights_store.read(entry) == expected
    cached = list(weights_store.cache_directory().iterdir())
    assert len(cached) == 1


def test_remote_address_by_environment(elsewhere, monkeypatch):
    remote, entry = elsewhere
    monkeypatch.setenv("SHAREDKERAS_ZOO_URL", remote.as_uri())
    assert hashlib.sha256(weights_store.read(entry)).hexdigest() == entry["sha256"]


def test_wrong_weights_are_refused_and_not_cached(elsewhere):
    remote, entry = elsewhere
    (remote / entry["file"]).write_bytes(b"something else")
    with pytest.raises(ValueError, match="SHA-256"):
        weights_store.read(entry, zoo_url=remote.as_uri())
    assert not weights_store.cache_directory().exists()


def test_absent_weights(elsewhere, tmp_path):
    _, entry = elsewhere
    with pytest.raises(FileNotFoundError, match="SHAREDKERAS_ZOO_URL"):
        weights_store.read(entry)
    with pytest.raises(FileNotFoundError, match="could not be fetched"):
        weights_store.read(entry, zoo_url=(tmp_path / "void").as_uri())


def test_packing_is_deterministic_and_float16_is_close():
    network = zoo.load(NAME)
    assert weights_store.pack(network) == weights_store.pack(network)
    packed = weights_store.pack(network, "float16")
    twin = zoo.load(NAME)
    weights_store.unpack(packed, twin)
    for a, b in zip(network.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def test_weights_of_another_network():
    from sharedkeras import models

    other = models.build("cnn", input_shape=(28, 28, 1), num_classes=10)
    with pytest.raises(ValueError, match="another network"):
        weights_store.unpack(weights_store.pack(zoo.load(NAME)), other)


def test_loading_needs_no_training_code():
    source = (
        f"import sys, builtins\nimport zoo\nnetwork = zoo.load({NAME!r})\nprint(network.output_shape)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, env=os.environ, check=True
    )
    assert "(None, 10)" in result.stdout


@pytest.mark.slow
def test_card_is_reproduced_on_all_test_images():
    try:
        measured = zoo.verify(NAME, attacks=("pgd20",))
    except FileNotFoundError as error:
        pytest.skip(f"full MNIST is absent: {error}")
    print(measured)
    card, now = measured["clean"]
    assert card == now
    card, now = measured["pgd20"]
    assert abs(card - now) <= 0.003
