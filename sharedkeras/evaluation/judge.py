"""The loop that every evaluation runs: attack, verify afresh, keep the worst case."""

import hashlib
import math
import platform
import time

import keras
import numpy as np
from keras import ops

from sharedkeras import backend
from sharedkeras.attacks import attack as attack_base
from sharedkeras.data import check_images, check_labels
from sharedkeras.evaluation import checks_gradients
from sharedkeras.evaluation.checks_after import refreshed
from sharedkeras.evaluation.checks_before import before
from sharedkeras.evaluation.journal import Journal
from sharedkeras.evaluation.progress import Progress
from sharedkeras.evaluation.report import Report
from sharedkeras.math import norms
from sharedkeras.models import FrozenClassifier, as_classifier
from sharedkeras.version import __version__

_SMALLEST_BUCKET = 8


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
    """Runs attacks on a network and reports who survives.

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
    x, y, index, batch_size = _checked(x, y, index, batch_size)
    classifier = as_classifier(network, select)
    _check_attacks(attacks, classifier)
    journal = Journal(resume_from, lambda: _fingerprint(classifier, x, y, index, attacks, seed, cascade))
    started = time.perf_counter()
    clean_labels = _clean_pass(classifier, x, y, batch_size)
    flags = {"clean": clean_labels == y}
    seconds = {"clean": time.perf_counter() - started}
    findings, ends = [*findings], {}
    if checks:
        findings += before(classifier, x, y, attacks=attacks, batch_size=batch_size)
    # Where gradients are known to lead nowhere, the end of an attack by gradients tells nothing new.
    look = checks and not any(f.code in checks_gradients.CODES for f in findings)
    adversarial, predicted = x.copy(), clean_labels.copy()
    distances = {}
    standing = flags["clean"].copy()
    with Progress(verbose) as progress:
        for number, (name, attack) in enumerate(attacks.items()):
            started = time.perf_counter()
            todo = np.flatnonzero(standing if cascade else flags["clean"])
            alone = flags["clean"].copy()
            distance = np.full(len(x), math.inf, "float32")
            spent = 0.0
            progress.start(name, len(todo))
            for batch, chosen in enumerate(_batches(todo, batch_size)):
                key = f"{number:02d}-{name}-{batch:05d}"
                done = journal.read(key, index[chosen])
                if done is None:
                    done = _attack_batch(
                        classifier,
                        attack,
                        x[chosen],
                        y[chosen],
                        index[chosen],
                        seed,
                        batch_size,
                        look=look and batch == 0,
                    )
                    journal.write(key, index[chosen], done)
                else:
                    spent += float(done["seconds"])
                if "end" in done:
                    ends[name] = tuple(int(count) for count in done["end"])
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
    findings = checks_gradients.softened(findings, flags["clean"], standing)
    findings += checks_gradients.judge_end(ends)
    report = Report(
        flags=flags,
        cascade=cascade,
        seconds=seconds,
        settings={
            "network": _name(network),
            "weights_sha256": _weights_digest(classifier),
            "attacks": {name: attack_base.settings(attack) for name, attack in attacks.items()},
            "batch_size": batch_size,
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


def versions():
    """Returns the versions of whatever can change a number."""
    return {
        "sharedkeras": __version__,
        "keras": keras.__version__,
        "backend": backend.version(),
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def bucket(count, batch_size):
    """Returns the padded size of a batch: few sizes, so that few graphs are compiled.

    Args:
        count: int, examples in the batch, at most `batch_size`.
        batch_size: int.

    Returns:
        The smallest of `batch_size`, its half, quarter, ... (not below 8) that holds `count`.
    """
    size = batch_size
    while size % 2 == 0 and size // 2 >= max(count, _SMALLEST_BUCKET):
        size //= 2
    return size


def pad(values, size):
    """Pads the first axis to a size by repeating the first entry."""
    missing = size - len(values)
    return np.concatenate([values, np.repeat(values[:1], missing, axis=0)]) if missing else values


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


def _check_attacks(attacks, classifier):
    if not attacks:
        raise ValueError("There must be at least one attack. Received: attacks={}")
    for name, attack in attacks.items():
        if name == "clean" or not callable(getattr(attack, "run", None)):
            raise ValueError(
                "`attacks` must map names other than 'clean' to attacks of sharedkeras.attacks. "
                f"Received: {name!r}: {attack!r}"
            )
        black_box = getattr(attack, "black_box", False)
        if not black_box and not isinstance(classifier, FrozenClassifier):
            raise ValueError(
                f"The attack {name!r} needs gradients, and a plain callable has none; use black-box "
                f"attacks such as Square. Received: {attack!r}"
            )


def _batches(todo, batch_size):
    return [todo[i : i + batch_size] for i in range(0, len(todo), batch_size)]


def logits_of(classifier, x, batch_size):
    """Computes the logits of many images in padded batches.

    Args:
        classifier: `FrozenClassifier` or `CallableClassifier`.
        x: `(n, H, W, C)` array.
        batch_size: int.

    Returns:
        `(n, K)` array.
    """
    parts = []
    for start in range(0, len(x), batch_size):
        part = x[start : start + batch_size]
        padded = pad(part, bucket(len(part), batch_size))
        parts.append(ops.convert_to_numpy(classifier.predict(padded))[: len(part)])
    return np.concatenate(parts)


def _clean_pass(classifier, x, y, batch_size):
    logits = logits_of(classifier, x, batch_size)
    if logits.ndim != 2 or len(logits) != len(x):
        raise ValueError(
            f"The network must return logits of shape ({len(x)}, classes). "
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


def _attack_batch(classifier, attack, x, y, index, seed, batch_size, look=False):
    started = time.perf_counter()
    size = bucket(len(x), batch_size)
    padded = [pad(values, size) for values in (x, y, index)]
    arguments = {"seed": seed, "index": padded[2], "early_stop": True}
    result = attack.run(classifier, padded[0], padded[1], **arguments)
    adv = ops.convert_to_numpy(result.adversarial).astype(x.dtype, copy=False)
    logits = ops.convert_to_numpy(classifier.predict(adv))
    count = len(x)
    adv, logits = adv[:count], logits[:count]
    claimed = ops.convert_to_numpy(result.success)[:count]
    verified, distance = _verify(attack, x, y, adv, logits)
    success = claimed & verified
    done = {
        "success": success,
        "adversarial": adv[success],
        "distance": distance[success],
        "predicted": np.argmax(logits, axis=1)[success].astype("int32"),
        "seconds": np.float64(time.perf_counter() - started),
    }
    if look:
        standing = ~success & (np.argmax(logits, axis=1) == y)
        end = checks_gradients.count_end(classifier, attack, adv[standing], y[standing], batch_size)
        done |= {} if end is None else {"end": np.array(end)}
    return done


def _verify(attack, x, y, adv, logits):
    size = ops.convert_to_numpy(norms.get(attack.norm).size(ops.convert_to_tensor(adv - x)))
    limit = math.inf if attack.epsilon is None else attack.epsilon + attack_base.TOLERANCE
    finite = np.isfinite(adv).all(axis=(1, 2, 3)) & np.isfinite(logits).all(axis=1)
    inside = (adv.min(axis=(1, 2, 3)) >= 0) & (adv.max(axis=(1, 2, 3)) <= 1) & (size <= limit)
    return (np.argmax(logits, axis=1) != y) & inside & finite, size


def _name(network):
    name = getattr(network, "name", None)
    if name is None:
        name = getattr(getattr(network, "network", None), "name", None)
    return name or getattr(network, "__name__", type(network).__name__)


def weights_digest(network):
    """Computes the SHA-256 of a network's weights, by which a report says what it judged.

    Args:
        network: `keras.Model`; the state of its random generators does not count.

    Returns:
        Hexadecimal str.
    """
    digest = hashlib.sha256()
    for value in network.weights:
        digest.update(np.ascontiguousarray(ops.convert_to_numpy(value)).tobytes())
    return digest.hexdigest()


def _weights_digest(classifier):
    return weights_digest(classifier.network) if isinstance(classifier, FrozenClassifier) else None


def _fingerprint(classifier, x, y, index, attacks, seed, cascade):
    digest = hashlib.sha256()
    for array in (x, y, index):
        digest.update(np.ascontiguousarray(array).tobytes())
    text = repr((_weights_digest(classifier), list(attacks.items()), seed, cascade, x.shape))
    digest.update(text.encode())
    return digest.hexdigest()
