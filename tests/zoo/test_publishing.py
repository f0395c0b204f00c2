"""Publishing: the old entry or the new one, at every moment and for every error."""

import contextlib
import errno
import hashlib
import json
import os

import numpy as np
import pytest
from damage.groups.publish import make_run
from support.failing_disk import Killed, disk
from support.power import cut

import zoo
from sharedkeras.files import litter, locked, make_directory
from zoo import card_reader, cards_index, loading, make_card, publishing, weights_store


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def made(run):
    """The card and the weights of the run, and those of another one of the same name."""
    card, packed = make_card.make_card(run, "mine")
    other = {**card, "training": {**card["training"], "hardware": "another"}}
    return (card, packed), (other, packed + b"another")


def entry(root, name="mine"):
    """Return a network's card and weights, which must be there, whole and fit together; or None."""
    paths = cards_index.card_files(root)
    if not paths:
        return None
    (path,) = paths
    card = json.loads(path.read_text())
    data = (root / "weights" / card["weights"]["file"]).read_bytes()
    assert hashlib.sha256(data).hexdigest() == card["weights"]["sha256"]
    return card["training"]["hardware"], data


def write(root, card, packed):
    card = json.loads(json.dumps(card))
    card["weights"]["sha256"] = hashlib.sha256(packed).hexdigest()
    card["weights"]["bytes"] = len(packed)
    path = root / "cards" / "mnist" / "linf" / "mine.json"
    for directory in (root / "weights", path.parent):
        make_directory(directory)
    publishing.write_entry(card, packed, path, root / "weights")


def files(root):
    return sorted(p.name for p in root.rglob("*") if p.is_file())


@pytest.mark.parametrize("error", [Killed, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
@pytest.mark.parametrize("is_there", [False, True])
def test_stopped_at_any_operation_the_entry_is_old_or_new(made, tmp_path, monkeypatch, error, is_there):
    first, second = made
    new = ("another", second[1])
    old = ("", first[1]) if is_there else None

    def prepare(root):
        if is_there:
            write(root, *first)
        return root

    with disk(monkeypatch) as done:
        write(prepare(tmp_path / "count"), *second)
    seen = set()
    for last in range(len(done)):
        root = prepare(tmp_path / str(last))
        before = files(root)
        with disk(monkeypatch, last, error), contextlib.suppress(Killed, OSError):
            write(root, *second)
        found = entry(root)
        assert found in (old, new), last
        seen.add(found == new)
        if error is not Killed and found == old:
            assert files(root) == before
        # The next one succeeds and leaves one card and its weights only.
        monkeypatch.setattr(litter, "is_alive", lambda pid, since: False)
        for directory in (root / "weights", root / "cards" / "mnist" / "linf"):
            litter.remove_litter(directory)
        write(root, *second)
        assert entry(root) == new
        assert len(files(root)) == 2
    assert seen == {False, True}


@pytest.mark.parametrize("names_are_lost", [True, False], ids=["names", "contents"])
@pytest.mark.parametrize("is_there", [False, True])
def test_after_a_power_cut_at_any_operation_the_entry_is_old_or_new(
    made, tmp_path, monkeypatch, is_there, names_are_lost
):
    first, second = made
    old, new = ("", first[1]) if is_there else None, ("another", second[1])

    def published(last=-1):
        root = tmp_path / str(last)
        root.mkdir()
        if is_there:
            write(root, *first)
        with cut(monkeypatch, root, last, names_are_lost=names_are_lost) as done:
            write(root, *second)
        return entry(root), len(done)

    whole, count = published()
    assert whole == new and count >= 10
    found = [published(last)[0] for last in range(count)]
    assert all(one in (old, new) for one in found)
    assert old in found and new in found


def test_published_replaced_and_loaded(run, tmp_path, monkeypatch):
    root = tmp_path / "zoo"
    path = publishing.publish(run, "mine", root=root)
    assert path == root / "cards" / "mnist" / "linf" / "mine.json"
    with pytest.raises(FileExistsError, match="replace=True"):
        publishing.publish(run, "mine", root=root)
    assert publishing.publish(run, "mine", root=root, hardware="another", replace=True) == path
    assert entry(root)[0] == "another"
    assert len(files(root)) == 2
    monkeypatch.setattr(cards_index, "ROOT", root)
    monkeypatch.setattr(weights_store, "ROOT", root)
    assert zoo.names() == ["mine"]
    card = zoo.card("mine")
    assert (card["norm"], card["epsilon"], card["evaluation"]["n"]) == ("linf", 0.3, 10_000)
    assert card["evaluation"]["accuracy"] == {"pgd20": 0.75}
    shipped = weights_store.pack(zoo.load("mine"))
    assert hashlib.sha256(shipped).hexdigest() == card["weights"]["sha256"]


def test_two_publishers_do_not_meet(run, tmp_path):
    root = tmp_path / "zoo"
    root.mkdir()
    with locked(root), pytest.raises(FileExistsError, match="works in this directory"):
        publishing.publish(run, "mine", root=root)


def test_weights_that_float16_holds_are_published_in_it(tmp_path):
    network = zoo.load("mnist-cnn-shared")
    network.set_weights([w.astype("float16").astype("float32") for w in network.get_weights()])
    run = make_run(tmp_path / "run", network=network)
    card = json.loads(publishing.publish(run, "half", root=tmp_path, dtype="float16").read_text())
    assert card["weights"]["dtype"] == "float16"


def test_a_network_of_other_layers_with_the_same_weights(run, monkeypatch):
    build = loading.build

    def with_other_activation(description, **options):
        network = build(description, **options)
        network.layers[1].activation = np.tanh
        return network

    network = build(zoo.card("mnist-cnn-shared")["network"])
    changed = with_other_activation(zoo.card("mnist-cnn-shared")["network"])
    changed.set_weights(network.get_weights())
    with pytest.raises(ValueError, match="something else"):
        make_card.check_same_function(network, changed, run)


@pytest.fixture
def published(run, tmp_path):
    """A zoo with the run's network, judged by PGD."""
    publishing.publish(run, "mine", root=tmp_path / "zoo")
    return tmp_path / "zoo"


def _autoattack(folder, share, **changes):
    """Write a report on the same images and weights, by `standard`, and return its path."""
    flags = {"clean": np.ones(10_000, bool), "square": np.arange(10_000) % 10 < 10 * share}
    settings = {"version": "standard", "attacks": {"square": {"norm": "linf", "epsilon": 0.3}}}
    run = make_run(folder, flags=flags, settings={**settings, **changes})
    return run / "report.json"


def test_a_card_is_renewed_by_newer_reports(run, published, tmp_path):
    before, weights = json.loads(cards_index.card_files(published)[0].read_text()), entry(published)[1]
    reports = [_autoattack(tmp_path / "aa", 0.7), run / "report.json"]
    path = publishing.renew("mine", reports, root=published)
    after = json.loads(path.read_text())
    assert (after["evaluation"]["robust"], after["evaluation"]["accuracy"]) == (0.7, {"square": 0.7})
    assert [judged["accuracy"] for judged in after["further_evaluations"]] == [{"pgd20": 0.75}]
    assert entry(published)[1] == weights and len(files(published)) == 2
    renewed = {"epsilon", "evaluation", "further_evaluations", "created"}
    assert {k: v for k, v in after.items() if k not in renewed} == {
        k: v for k, v in before.items() if k not in renewed
    }
    read = card_reader.read_card(path)
    assert read["evaluation"]["settings"]["version"] == "standard"


def test_a_renewal_that_is_refused_changes_nothing(run, published, tmp_path):
    good = _autoattack(tmp_path / "aa", 0.7)
    other = _autoattack(tmp_path / "other", 0.7, weights_sha256="0" * 64)
    smaller = _autoattack(tmp_path / "smaller", 0.7, epsilon=0.2)
    estimate = _autoattack(tmp_path / "estimate", 0.7, version="estimate")
    for name, reports, message in (
        ("mine", [], "at least one report"),
        ("mine", [other], "other weights"),
        ("mine", [good, other], "other weights"),
        ("mine", [smaller], "another ball"),
        ("mine", [estimate], "everybody was judged"),
        ("../mine", [good], "name"),
    ):
        before = [p.read_bytes() for p in sorted(published.rglob("*")) if p.is_file()]
        with pytest.raises(ValueError, match=message):
            publishing.renew(name, reports, root=published)
        assert [p.read_bytes() for p in sorted(published.rglob("*")) if p.is_file()] == before
    for name, reports in (("yours", [good]), ("mine", [tmp_path / "none.json"])):
        with pytest.raises(FileNotFoundError, match=r"mine|none\.json"):
            publishing.renew(name, reports, root=published)
    publishing.renew("mine", [good], root=published)
    with pytest.raises(ValueError, match="AutoAttack"):
        publishing.renew("mine", [run / "report.json"], root=published)
    assert entry(published) is not None


@pytest.mark.parametrize(
    ("trained", "norm"),
    [
        ({}, "linf"),
        ({"attack": "n-fgsm"}, "linf"),
        ({"attack": "cw", "attack_options": {"c": 2.0, "norm": "l2"}}, "l2"),
        ({"attack_options": {"norm": "l2"}}, "l2"),
    ],
)
def test_the_evidence_is_in_the_norm_of_the_training_attack(run, tmp_path, trained, norm):
    recipe = {**json.loads((run / "config.json").read_text())["recipe"], **trained}
    settings = {"attacks": {"square": {"norm": norm, "epsilon": 0.3}}, "norm": norm}
    good = _autoattack(tmp_path / "good", 0.7, **settings)
    assert make_card.read_reports([good], recipe)[good].settings["norm"] == norm
    other = "l2" if norm == "linf" else "linf"
    bad = _autoattack(tmp_path / "bad", 0.7, **{**settings, "norm": other})
    with pytest.raises(ValueError, match=f"expected norm to be '{norm}'"):
        make_card.read_reports([bad], recipe)


def test_a_renewal_of_weights_that_are_damaged(published, tmp_path, monkeypatch):
    monkeypatch.setenv("SHAREDKERAS_HOME", str(tmp_path / "home"))
    good = _autoattack(tmp_path / "aa", 0.7)
    (file,) = (published / "weights").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=file.name):
        publishing.renew("mine", [good], root=published)
