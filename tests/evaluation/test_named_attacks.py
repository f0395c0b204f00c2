"""Attacks by name: the settings that a name stands for."""

import pytest

from sharedkeras.attacks import FGSM, PGD, Square
from sharedkeras.evaluation import ensemble, paper_attacks, paper_epsilon
from sharedkeras.evaluation.suites.named import named_attacks
from sharedkeras.evaluation.suites.paper import default_epsilon

PAPER = ["fgsm", "pgd20", "cw", "cw-search"]


def test_the_papers_attacks_are_the_papers():
    assert named_attacks(PAPER, dataset="cifar10") == paper_attacks("cifar10", PAPER)
    given = {"epsilon": 0.2}
    assert named_attacks(PAPER, dataset="mnist", **given) == paper_attacks("mnist", PAPER, **given)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_members_of_autoattack_are_its_members(norm):
    members = {version: ensemble(version, norm=norm, epsilon=0.5) for version in ("standard", "paper")}
    names = ["square", "fab-t", "apgd-t", "apgd-ce", "apgd-dlr", "fab"]
    found = named_attacks(names, dataset="mnist", norm=norm, epsilon=0.5)
    assert list(found) == names
    assert found == {**members["paper"], **members["standard"]}


def test_other_norms_and_queries():
    ball = {"norm": "l2", "epsilon": 0.5}
    found = named_attacks(["fgsm", "pgd10", "square", "cw"], dataset="cifar10", queries=7, **ball)
    assert found["fgsm"] == FGSM(**ball)
    assert found["pgd10"] == PGD(step_size=0.125, steps=10, **ball)
    assert found["square"] == Square(queries=7, **ball)
    assert found["cw"].epsilon is None
    assert named_attacks(["apgd-ce"], dataset="mnist", norm="l1", epsilon=5.0)["apgd-ce"].norm == "l1"


def test_default_epsilon():
    assert default_epsilon("mnist", "linf") == paper_epsilon("mnist") == 0.3
    assert named_attacks(["square"], dataset="mnist")["square"].epsilon == 0.3
    with pytest.raises(ValueError, match="norm='l2'"):
        named_attacks(["pgd20"], dataset="mnist", norm="l2")
    assert named_attacks(["cw"], dataset="mnist", norm="l2")["cw"].norm == "l2"


def test_mistakes():
    with pytest.raises(ValueError, match=r"known are.*apgd-t.*attack='pgd0'"):
        named_attacks(["pgd0"], dataset="mnist")
    with pytest.raises(ValueError, match=r"no bound for this dataset.*svhn"):
        named_attacks(["pgd20"], dataset="svhn")
    with pytest.raises(ValueError, match="Unknown norm"):
        named_attacks(["pgd20"], dataset="mnist", norm="l3", epsilon=1.0)
    with pytest.raises(ValueError, match="queries"):
        named_attacks(["square"], dataset="mnist", queries=0)
