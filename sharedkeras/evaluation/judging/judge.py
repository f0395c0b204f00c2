"""The loop that every evaluation runs: attack, verify afresh, keep the worst case."""

import time

import numpy as np

from sharedkeras.attacks import attack as attack_base
from sharedkeras.attacks.batching.sizes import bucket
from sharedkeras.data import check_labels
from sharedkeras.evaluation.checks import gradients
from sharedkeras.evaluation.checks.after import refreshed
from sharedkeras.evaluation.checks.before import before
from sharedkeras.evaluation.checks.probabilities import in_logits
from sharedkeras.evaluation.judging import inputs
from sharedkeras.evaluation.judging.attack_batch import attack_batch
from sharedkeras.evaluation.judging.batches import logits_of
from sharedkeras.evaluation.judging.devices import DevicePool
from sharedkeras.evaluation.judging.journal import Journal, hold
from sharedkeras.evaluation.judging.kept import attack_key, keep, kept
from sharedkeras.evaluation.judging.progress import Progress
from sharedkeras.evaluation.judging.provenance import fingerprint, versions, weights_digest
from sharedkeras.evaluation.judging.tally import Tally
from sharedkeras.evaluation.report.report import Report
from sharedkeras.models import as_classifier

_PROBE_TOLERANCE = 2.0**-5
"""Of the largest logit. A Keras model is known by its weights and layers, so that its logits need only
show code that has changed around them; passes in bfloat16 differ by several times 2**-8."""
_CALLABLE_TOLERANCE = 1e-3
"""Of a callable the logits are all there is; passes in single precision differ by some 1e-6, in TF32 by
some 1e-4."""


def judge(network, x, y, attacks, options, schedule=None):
    """Run attacks on a network and report who survives.

    The original images are always the start. Every claimed success is verified on a fresh forward pass:
    misclassified, in the ball to 1e-6, in [0, 1], finite. Points that are misclassified without an
    attack count as not robust and are not attacked.

    Args:
        network: `keras.Model`, `FrozenClassifier`, or (for black-box attacks) a callable on arrays.
        x: `(n, H, W, C)` float images in [0, 1].
        y: `(n,)` integer labels.
        attacks: dict from name to attack, in the order in which they run.
        options: `Options`.
        schedule: function of attacks and `Tally` that yields, again and again, the name of an attack,
            the rows to run it on next, and a dict from the attacks after it to how many examples each
            is likely to see; None runs each attack once, in order.

    Returns:
        `Report`.

    Raises:
        FileExistsError: if another process works in the directory of finished examples.
        ValueError: if the images, the labels or the network's output are not what they must be.
    """
    with hold(options.resume_from):
        return _judge(network, x, y, attacks, options, schedule or _in_order)


def _judge(network, x, y, attacks, options, schedule):
    """Judge while the directory of finished examples is held; `judge` says what that gives."""
    classifier = as_classifier(network, options.select)
    attack_base.check_attacks(attacks, classifier)
    examples = inputs.checked_examples(classifier, x, y, options.index)
    batch_size = min(options.batch_size, len(examples.x))
    journal = Journal(
        options.resume_from,
        lambda: fingerprint(classifier, examples, options.seed),
        lambda: inputs.probe_logits(classifier, examples.x, batch_size),
        _PROBE_TOLERANCE if classifier.white_box else _CALLABLE_TOLERANCE,
        known=classifier.white_box,
    )
    tally = _clean_pass(classifier, examples, batch_size, options.cascade)
    classifier, in_words = in_logits(classifier, examples.x)
    findings = [*options.findings, *in_words]
    if options.checks:
        findings += before(classifier, examples.x, examples.y, attacks=attacks, batch_size=batch_size)
    # Where gradients are known to lead nowhere, the end of an attack by gradients tells nothing new.
    probe_gradients = options.checks and not any(f.code in gradients.CODES for f in findings)
    _ = classifier.folded  # Made once, before the weights are copied to the devices.

    def cost(name):
        attack, classes = attacks[name], classifier.num_classes
        return 0.0 if classes is None else attack.query_cost * attack.most_queries(classes)

    with Progress(options.verbose, cost, options.cascade) as progress, DevicePool(classifier) as pool:
        for name, rows, later in schedule(attacks, tally):
            probe = probe_gradients and not tally.has_begun(name)
            run = _Run(name, attacks[name], classifier, examples, batch_size, options, probe)
            run(rows, later, tally, journal, pool, progress)
    checkpoints, ends = tally.gradient_counts
    findings = gradients.softened(findings, tally.flags["clean"], tally.standing)
    findings += gradients.judge_checkpoints(checkpoints)
    findings += gradients.judge_end(ends)
    report = Report(
        flags=tally.flags,
        cascade=options.cascade,
        seconds=tally.seconds,
        settings=_settings(classifier, attacks, options),
        seed=options.seed,
        versions=versions(),
        findings=tuple(findings),
        adversarial=tally.adversarial,
        images=examples.x,
        indices=examples.index,
        labels=examples.y,
        predictions=tally.predictions,
        distance=tally.distance,
        margins=tally.margins if options.keep_margins else None,
        passes=tally.passes if options.keep_margins else None,
        label_names=options.label_names,
    )
    return refreshed(report) if options.checks else report


class _Run:
    """One attack on the examples that it is to see, batch by batch."""

    def __init__(self, name, attack, classifier, examples, batch_size, options, probe_gradients):
        self.name, self.attack, self.key = name, attack, attack_key(attack)
        self.classifier, self.examples, self.batch_size = classifier, examples, batch_size
        self.options, self.probe_gradients = options, probe_gradients

    def __call__(self, todo, later, tally, journal, pool, progress):
        started, spent = time.perf_counter(), 0.0
        tally.begin(self.name)
        progress.start(self.name, len(todo), later)
        earlier = self._kept(journal, todo)
        if earlier is not None:
            rows, done = earlier
            spent = float(done["seconds"])
            progress.advance(len(rows), broken=tally.add(self.name, rows, done))
            todo = np.setdiff1d(todo, rows)
            self.probe_gradients &= "probed" not in done
        batches = _batches(todo, self.batch_size, pool.width)

        def work(view, number, rows):
            part = self.examples.take(rows)
            probe = self.probe_gradients and number == 0
            done = attack_batch(
                view,
                self.attack,
                *part,
                self.options.seed,
                self.batch_size,
                self.options.batch_size,
                probe_gradients=probe,
            )
            keep(journal, self.key, part.index, done)
            return done

        results = pool.map(work, list(enumerate(batches)))
        for rows, done in zip(batches, results, strict=True):
            passes = float(np.sum(done["passes"]))
            progress.advance(len(rows), broken=tally.add(self.name, rows, done), passes=passes)
        seconds = time.perf_counter() - started + spent
        progress.finish(self.name, tally.end(self.name, seconds), seconds)

    def _kept(self, journal, todo):
        """Return the rows of the images whose verdicts the journal holds, and these."""
        must_probe = self.probe_gradients and not self.attack.black_box
        # An evaluation without checks kept no look at the gradients: a first batch is to be run again.
        for asked in (todo, todo[self.batch_size :]):
            part = self.examples.take(asked)
            earlier = kept(journal, self.key, self.classifier, self.attack, part, self.batch_size)
            if earlier is None or "probed" in earlier[1] or not must_probe:
                break
        return None if earlier is None else (asked[earlier[0]], earlier[1])


def _in_order(attacks, tally):
    names = list(attacks)
    for at, name in enumerate(names):
        yield name, tally.todo, dict.fromkeys(names[at + 1 :], len(tally.todo))


def _settings(classifier, attacks, options):
    return {
        "network": classifier.name,
        "weights_sha256": weights_digest(classifier.network) if classifier.white_box else None,
        "attacks": {name: attack_base.settings(attack) for name, attack in attacks.items()},
        "batch_size": options.batch_size,  # As asked for: slices of different sizes must agree.
        **({"select": options.select} if options.select is not None else {}),
        **(options.settings or {}),
    }


def _batches(todo, batch_size, devices):
    # Distribute few examples as well: four half-filled devices are faster than one full one.
    size = (
        bucket(-(-len(todo) // devices), batch_size) if len(todo) < devices * batch_size else batch_size
    )
    return [todo[i : i + size] for i in range(0, len(todo), size)]


def _clean_pass(classifier, examples, batch_size, cascade):
    started = time.perf_counter()
    logits = logits_of(classifier, examples.x, batch_size)
    inputs.check_logits(logits, len(examples.x))
    check_labels(examples.y, logits.shape[1])
    labels = np.argmax(logits, axis=1).astype("int32")
    return Tally(examples, labels, time.perf_counter() - started, cascade=cascade)
