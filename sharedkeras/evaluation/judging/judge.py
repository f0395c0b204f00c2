"""The loop that every evaluation runs: attack, verify afresh, keep the worst case."""

import math
import time

import numpy as np

from sharedkeras.attacks import attack as attack_base
from sharedkeras.attacks.batching.sizes import bucket
from sharedkeras.data import check_images, check_labels, with_channels
from sharedkeras.evaluation.checks import gradients
from sharedkeras.evaluation.checks.after import refreshed
from sharedkeras.evaluation.checks.before import before
from sharedkeras.evaluation.checks.probabilities import in_logits
from sharedkeras.evaluation.checks.radius import check_radius
from sharedkeras.evaluation.judging.attack_batch import attack_batch
from sharedkeras.evaluation.judging.batches import logits_of
from sharedkeras.evaluation.judging.devices import DevicePool
from sharedkeras.evaluation.judging.journal import Journal
from sharedkeras.evaluation.judging.progress import Progress
from sharedkeras.evaluation.judging.provenance import fingerprint, versions, weights_digest
from sharedkeras.evaluation.report.report import Report
from sharedkeras.models import as_classifier


def judge(
    network,
    x,
    y,
    attacks,
    *,
    cascade,
    batch_size,
    seed=0,
    select=None,
    index=None,
    settings=None,
    findings=(),
    checks=True,
    resume_from=None,
    label_names=None,
    verbose=None,
):
    """Run attacks on a network and reports who survives.

    The original images are always the start. Every claimed success is verified on a fresh forward pass:
    misclassified, in the ball to 1e-6, in [0, 1], finite. Points that are misclassified without an
    attack count as not robust and are not attacked.

    Args:
        network: `keras.Model`, `FrozenClassifier`, or (for black-box attacks) a callable on arrays.
        x: `(n, H, W, C)` float images in [0, 1].
        y: `(n,)` integer labels.
        attacks: dict from name to attack, in the order in which they run.
        cascade: bool, whether each attack sees only what the ones before it left standing.
        batch_size: int, the most examples attacked at once.
        seed: int.
        select: str or int, which output to attack, where the network has several.
        index: `(n,)` ints, the examples' numbers, which decide their random draws; 0, 1, ... if None.
        settings: dict of further entries for the report.
        findings: `Finding`s to start with.
        checks: bool, whether to check the network and the outcome, and to add what is found.
        resume_from: path of the directory that keeps finished batches, or None.
        label_names: names of the classes.
        verbose: bool, whether to show progress; None shows it on a terminal.

    Returns:
        `Report`.

    Raises:
        ValueError: if the images, the labels or the network's output are not what they must be.
    """
    asked = batch_size
    classifier = as_classifier(network, select)
    x, y, index, batch_size = _checked(with_channels(x, classifier.input_shape), y, index, batch_size)
    _check_shape(classifier, x)
    attack_base.check_attacks(attacks, classifier)
    check_radius(attacks)
    journal = Journal(resume_from, lambda: fingerprint(classifier, x, y, index, attacks, seed, cascade))
    started = time.perf_counter()
    clean_labels = _clean_pass(classifier, x, y, batch_size)
    flags = {"clean": clean_labels == y}
    seconds = {"clean": time.perf_counter() - started}
    classifier, in_words = in_logits(classifier, x)
    findings, ends, checkpoints = [*findings, *in_words], {}, {}
    if checks:
        findings += before(classifier, x, y, attacks=attacks, batch_size=batch_size)
    # Where gradients are known to lead nowhere, the end of an attack by gradients tells nothing new.
    probe_gradients = checks and not any(f.code in gradients.CODES for f in findings)
    adversarial, predicted = x.copy(), clean_labels.copy()
    distances = {}
    standing = flags["clean"].copy()
    _ = classifier.folded  # Made once, before the weights are copied to the devices.
    with Progress(verbose) as progress, DevicePool(classifier) as pool:
        for number, (name, attack) in enumerate(attacks.items()):
            started = time.perf_counter()
            todo = np.flatnonzero(standing if cascade else flags["clean"])
            alone = flags["clean"].copy()
            distance = np.full(len(x), math.inf, "float32")
            spent = 0.0
            progress.start(name, len(todo))

            def work(view, batch, chosen, name=name, attack=attack, number=number):
                key = f"{number:02d}-{name}-{batch:05d}"
                done = journal.read(key, index[chosen])
                if done is not None:
                    return done, True
                part = (x[chosen], y[chosen], index[chosen])
                first = probe_gradients and batch == 0
                done = attack_batch(view, attack, *part, seed, batch_size, asked, probe_gradients=first)
                journal.write(key, index[chosen], done)
                return done, False

            batches = _batches(todo, batch_size, pool.width)
            results = pool.map(work, list(enumerate(batches)))
            for chosen, (done, resumed) in zip(batches, results, strict=True):
                spent += float(done["seconds"]) if resumed else 0.0
                if "end" in done:
                    ends[name] = tuple(int(count) for count in done["end"])
                if "checkpoints" in done:
                    checkpoints[name] = {
                        int(at): tuple(map(int, found)) for at, *found in done["checkpoints"]
                    }
                broken = chosen[done["success"]]
                alone[broken] = False
                distance[broken] = done["distance"]
                fresh = standing[broken]
                adversarial[broken[fresh]] = done["adversarial"][fresh]
                predicted[broken[fresh]] = done["predicted"][fresh]
                standing[broken] = False
                progress.advance(len(chosen), broken=len(broken))
            flags[name] = standing.copy() if cascade else alone
            distances[name] = distance
            seconds[name] = time.perf_counter() - started + spent
            progress.finish(name, float(np.mean(flags[name])), seconds[name])
    findings = gradients.softened(findings, flags["clean"], standing)
    findings += gradients.judge_checkpoints(checkpoints)
    findings += gradients.judge_end(ends)
    report = Report(
        flags=flags,
        cascade=cascade,
        seconds=seconds,
        settings={
            "network": classifier.name,
            "weights_sha256": weights_digest(classifier.network) if classifier.white_box else None,
            "attacks": {name: attack_base.settings(attack) for name, attack in attacks.items()},
            "batch_size": asked,  # Not what a small slice makes of it: slices must agree to be merged.
            **({"select": select} if select is not None else {}),
            **(settings or {}),
        },
        seed=seed,
        versions=versions(),
        findings=tuple(findings),
        adversarial=adversarial,
        images=x,
        indices=index,
        labels=y,
        predictions={"clean": clean_labels, "adversarial": predicted},
        distance=distances,
        label_names=label_names,
    )
    return refreshed(report) if checks else report


def _checked(x, y, index, batch_size):
    check_images(x)
    x = np.asarray(x)
    if len(x) == 0:
        raise ValueError(f"There must be at least one example. Received: x of shape {x.shape}")
    y = np.asarray(y)
    check_labels(y, size=len(x))
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"`batch_size` must be an int of at least 1. Received: batch_size={batch_size}")
    index = np.arange(len(x)) if index is None else np.asarray(index)
    if index.shape != (len(x),):
        raise ValueError(
            f"`index` must have one number for each of the {len(x)} examples. "
            f"Received: index of shape {index.shape}"
        )
    return x, y.astype("int32"), index.astype("int32"), min(batch_size, len(x))


def _check_shape(classifier, x):
    # Keras itself calls a network on images of another shape wherever the sums come out right.
    wanted, given = classifier.input_shape, x.shape[1:]
    if wanted is None:
        return
    fits = len(wanted) == len(given) and all(w in (None, g) for w, g in zip(wanted, given, strict=True))
    if not fits:
        raise ValueError(
            f"`x` must hold images of the network's input shape, {tuple(wanted)} (H, W, C). "
            f"Received: x of shape {x.shape}"
        )


def _batches(todo, batch_size, devices):
    # Distribute few examples as well: four half-filled devices are faster than one full one.
    size = (
        bucket(-(-len(todo) // devices), batch_size) if len(todo) < devices * batch_size else batch_size
    )
    return [todo[i : i + size] for i in range(0, len(todo), size)]


def _clean_pass(classifier, x, y, batch_size):
    logits = logits_of(classifier, x, batch_size)
    if logits.ndim != 2 or len(logits) != len(x):
        raise ValueError(
            f"The network must return logits of shape ({len(x)}, classes). "
            f"Received: output of shape {logits.shape}"
        )
    if logits.shape[1] < 2:
        raise ValueError(
            "The network must return a logit for each of at least 2 classes; one logit z of a binary "
            "network can be given as the two logits (0, z). "
            f"Received: output of shape {logits.shape}"
        )
    if not np.all(np.isfinite(logits)):
        bad = int(np.sum(~np.isfinite(logits).all(axis=1)))
        raise ValueError(
            "The network returns logits that are not finite, so that no attack on it means anything. "
            f"Received: NaN or infinity for {bad} of {len(x)} clean images"
        )
    if y.max() >= logits.shape[1]:
        raise ValueError(
            f"The labels must be below the number of classes, {logits.shape[1]}. "
            f"Received: label {y.max()}"
        )
    return np.argmax(logits, axis=1).astype("int32")
