"""An objective from outside the package is registered by a name and trained, as CONTRIBUTING says."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from sharedkeras import objectives, recipes, training
from sharedkeras.attacks import PGD
from sharedkeras.losses import cross_entropy


@dataclasses.dataclass(frozen=True, kw_only=True)
class BothViews:
    """The mean of the clean and the adversarial cross-entropy."""

    attack: object = dataclasses.field(default_factory=PGD)

    terms = ("ce_clean", "ce_adv")
    taps = ()
    variables = ()
    layers = ()
    ramped = ()

    def views(self, classifier, x, targets, seed):
        adv = self.attack(classifier, x, targets["label"], seed=seed, index=targets.get("index"))
        return {"clean": x, "adv": adv}, targets

    def loss(self, targets, outputs, epoch=None):
        terms = {
            f"ce_{view}": ops.mean(cross_entropy(targets["label"], outputs[view]["logits"]))
            for view in ("clean", "adv")
        }
        return {"loss": sum(terms.values()) / 2, **terms}


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(objectives.registry, "_OBJECTIVES", dict(objectives.registry._OBJECTIVES))
    objectives.register("both-views", BothViews)


def test_two_steps_of_a_registered_objective(registered, tmp_path):
    recipe = dataclasses.replace(
        recipes.get("quickstart").with_objective("both-views"),
        latent=False,
        batch_size=50,
        validation_size=9900,
        validation_examples=5,
    )
    run = training.fit(recipe, tmp_path / "run", max_steps=2, verbose=0)
    assert run.updates == 2
    (loss,), (clean,), (adv,) = (run.history[k] for k in ("loss", "ce_clean", "ce_adv"))
    np.testing.assert_allclose(loss, (clean + adv) / 2, rtol=1e-5)
    assert adv > clean > 0
    assert (tmp_path / "run" / "last.keras").exists()


def test_a_registered_name_is_known_and_kept(registered):
    assert objectives.get("both-views") is BothViews
    assert "both-views" in objectives.names()
    objectives.register("both-views", BothViews)  # A module that is imported twice does no harm.
    with pytest.raises(ValueError, match=r"taken by .*Standard.*Received: name='standard'"):
        objectives.register("standard", BothViews)
    assert objectives.get("standard") is objectives.Standard


def test_names_are_forgotten_between_tests():
    assert "both-views" not in objectives.names()
