"""The checks of an outcome: pure functions of a report, here made by hand."""

import dataclasses

import numpy as np
import pytest

from sharedkeras.attacks import APGD, FAB, FGSM, PGD, Square
from sharedkeras.attacks.attack import settings
from sharedkeras.evaluation import Finding, Report, sanity

N = 1000


def standing(*broken):
    """Flag of N points of which those in the given ranges are broken."""
    flag = np.ones(N, bool)
    for start, stop in broken:
        flag[start:stop] = False
    return flag


def report(attacks, flags, cascade=False, n=N, **fields):
    flags = {"clean": standing(), **dict(zip(attacks, flags, strict=True))}
    return Report(
        flags={name: flag[:n] for name, flag in flags.items()},
        cascade=cascade,
        settings={"attacks": {name: settings(attack) for name, attack in attacks.items()}},
        **fields,
    )


def found(made):
    return {f.code: f for f in sanity.after(made) if f.code != "unique-kills"}


CE, DLR, FABT = APGD(epsilon=0.1), APGD(epsilon=0.1, loss="dlr"), FAB(epsilon=0.1)
SQUARE = Square(epsilon=0.1)
PGD20 = PGD(epsilon=0.1, step_size=0.01, steps=20)
PGD40 = PGD(epsilon=0.1, step_size=0.01, steps=40)


@pytest.mark.parametrize(("last", "codes"), [(402, set()), (403, {"square-stronger"})])
def test_square_in_a_cascade(last, codes):
    attacks = {"apgd-ce": CE, "fab": FABT, "square": SQUARE}
    made = report(attacks, [standing((0, 380)), standing((0, 400)), standing((0, last))], cascade=True)
    assert set(found(made)) == codes
    if codes:
        finding = found(made)["square-stronger"]
        assert finding.severity == "warning"
        assert "broke 3 of 1000 points (0.3 %) that apgd-ce and fab did not" in finding.message


def test_square_before_others_in_a_cascade_is_a_note():
    attacks = {"apgd-ce": CE, "square": SQUARE, "apgd-t": DLR}
    flags = [standing((0, 380)), standing((0, 420)), standing((0, 430))]
    assert found(report(attacks, flags, cascade=True))["square-stronger"].severity == "info"


def test_square_alone_must_not_be_the_strongest():
    attacks = {"apgd-ce": CE, "pgd": PGD20, "square": SQUARE}
    weaker = [standing((0, 300)), standing((0, 290)), standing((50, 310))]
    assert found(report(attacks, weaker)) == {}  # ten points of its own, but fewer in total
    stronger = [standing((0, 300)), standing((0, 290)), standing((0, 320))]
    finding = found(report(attacks, stronger))["square-stronger"]
    assert "20 of 1000" in finding.message
    assert "20 points fewer" in finding.message


def test_square_is_compared_with_strong_attacks_on_the_same_ball():
    flags = [standing((0, 300)), standing((0, 400))]
    others = [
        FGSM(epsilon=0.1),
        PGD(epsilon=0.1, step_size=0.1, steps=2),
        PGD(epsilon=0.05, step_size=0.01, steps=20),
        PGD(norm="l2", epsilon=0.1, step_size=0.01, steps=20),
    ]
    for other in others:
        assert found(report({"other": other, "square": SQUARE}, flags)) == {}
    assert set(found(report({"other": PGD20, "square": SQUARE}, flags))) == {"square-stronger"}


def test_transferred_images_must_break_nothing_new():
    attacks = {"pgd": PGD20, "transfer-vgg": PGD20}
    made = report(attacks, [standing((0, 400)), standing((397, 403))])
    finding = found(made)["transfer-stronger"]
    assert (finding.severity, "broke 3 of 1000" in finding.message) == ("warning", True)
    assert found(report(attacks, [standing((0, 400)), standing((397, 402))])) == {}


def test_reports_from_before_roles_are_read_as_ever():
    pgd = {"pgd20": PGD20, "pgd40": PGD40, "apgd-ce": CE, "fab-t": FABT, "square": SQUARE}
    flags = [standing((7, 300)), standing((0, 299)), standing((0, 400)), standing((0, 420))]
    made = report(pgd, [*flags, standing((0, 100), (500, 900))])
    assert set(found(made)) == {"pgd-gap", "square-stronger"}
    old = {name: {**entry} for name, entry in made.settings["attacks"].items()}
    for entry in old.values():
        del entry["role"]
    assert sanity.after(dataclasses.replace(made, settings={"attacks": old})) == sanity.after(made)


def test_pgd_far_above_autoattack():
    attacks = {"pgd20": PGD20, "apgd-ce": CE}
    assert found(report(attacks, [standing((0, 300)), standing((0, 400))])) == {}
    finding = found(report(attacks, [standing((0, 300)), standing((200, 401))]))["pgd-gap"]
    assert finding.severity == "warning"
    assert "70.0 %" in finding.message
    assert "10.1 percent points (101 of 1000)" in finding.message
    flags = [standing((0, 300)), standing((0, 401))]
    assert set(found(report(attacks, flags, cascade=True))) == {"pgd-gap"}
    # One point of one is a gap of 100 %, and chance.
    assert found(report(attacks, [standing(), standing((0, 1))], n=1)) == {}


@pytest.mark.parametrize(("fewer", "codes"), [(6, set()), (7, {"more-steps-weaker"})])
def test_more_steps_must_not_be_weaker(fewer, codes):
    attacks = {"pgd20": PGD20, "pgd40": PGD40}
    made = report(attacks, [standing((0, 300)), standing((fewer, 300))])
    assert set(found(made)) == codes
    assert found(report(attacks, [standing((0, 300)), standing((0, 350))])) == {}
    other = {"pgd20": PGD20, "pgd40": PGD(epsilon=0.1, step_size=0.02, steps=40)}
    assert found(report(other, [standing((0, 300)), standing((50, 300))])) == {}


def test_unique_kills_are_counted():
    attacks = {"pgd20": PGD20, "apgd-ce": CE}
    flags = [standing((0, 300)), standing((100, 320))]
    (note,) = [f for f in sanity.after(report(attacks, flags)) if f.code == "unique-kills"]
    assert (note.severity, "pgd20 100, apgd-ce 20." in note.message) == ("info", True)
    flags = [standing((0, 300)), standing((0, 310))]
    made = report(attacks, flags, cascade=True)
    (note,) = [f for f in sanity.after(made) if f.code == "unique-kills"]
    assert "pgd20 300, apgd-ce 10." in note.message


def test_reports_that_say_little_have_no_findings():
    flags = {"clean": np.ones(1, bool)}
    assert sanity.after(Report(flags=flags)) == ()
    assert sanity.after(Report(flags={**flags, "a": ~flags["clean"], "b": flags["clean"]})) != ()
    assert sanity.after(Report(flags={**flags, "square": flags["clean"]}, settings={"attacks": 3})) == ()


def test_refreshing_replaces_only_its_own():
    attacks = {"apgd-ce": CE, "square": SQUARE}
    own, stale = Finding("few", "info", "Few."), Finding("pgd-gap", "warning", "Old.")
    made = report(attacks, [standing((0, 300)), standing((0, 320))], findings=(own, stale))
    codes = [f.code for f in sanity.refreshed(made).findings]
    assert codes == ["few", "square-stronger", "unique-kills"]
    assert sanity.refreshed(sanity.refreshed(made)).findings == sanity.refreshed(made).findings
