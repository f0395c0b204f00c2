"""Judging a network that draws random numbers at inference."""

import keras
import numpy as np

from sharedkeras.arguments import need_count, need_positive
from sharedkeras.attacks import attack as attack_base
from sharedkeras.data import check_images, check_labels
from sharedkeras.evaluation.autoattack import autoattack
from sharedkeras.evaluation.checks.after import refreshed
from sharedkeras.evaluation.judging.candidates import Candidates, Sampler
from sharedkeras.evaluation.judging.inputs import arrays
from sharedkeras.evaluation.judging.progress import Progress
from sharedkeras.evaluation.judging.provenance import versions, weights_digest
from sharedkeras.evaluation.report.finding import Finding
from sharedkeras.evaluation.report.report import Report
from sharedkeras.evaluation.suites.ensemble import ensemble
from sharedkeras.models import FrozenClassifier

_LEAST_SAMPLES = 32
_TRANSFER = "transfer-mean"


def stochastic(
    network,
    x,
    y=None,
    *,
    norm="linf",
    epsilon=8 / 255,
    version="rand",
    attacks=None,
    mean_network=None,
    mean_version="standard",
    mean_attacks=None,
    samples=32,
    batch_size=128,
    seed=0,
    select=None,
    index=None,
    settings=None,
    label_names=None,
    verbose=None,
):
    """Judge a network that is random at inference, by many draws, beside its deterministic mean.

    One draw is no verdict: an attack that tries often is lucky once, a gradient of one draw leads
    astray. So the attacks see the mean of many draws (expectation over transformations), and the verdict
    on each image is the class of the mean logits over `samples` fresh draws. The candidates for each
    example are the clean image, what each attack found, and what AutoAttack found on the same network
    without its noise ("transfer-mean"), an attack that randomness cannot mislead. Attacks run to their
    end, since their own draws do not decide.

    The second figure, of the deterministic mean under the standard attacks, is the one to compare with
    other networks: noise that helps only because gradients drown in it makes the two differ.

    The draws follow from the seed, but a layer draws for a whole batch: unlike elsewhere, verdicts of
    points near the boundary depend on the batch size.

    Args:
        network: `keras.Model` (or `FrozenClassifier`) with random layers that are active at inference,
            such as `GaussianStochastic(..., sample_at_inference=True)`.
        x: `(n, H, W, C)` float32 images in [0, 1]; or a `tf.data.Dataset`, a `PyDataset` or
            other batches `(x, y)`, as `data.from_dataset` reads them.
        y: `(n,)` integer labels; None with batches.
        norm: "linf", "l2" or "l1".
        epsilon: float above 0.
        version: "rand" (APGD-CE and APGD-DLR on the mean of 20 draws), any other version of
            `ensemble`, or "custom".
        attacks: dict from name to attack, for `version="custom"`.
        mean_network: the same network without its noise; by default a copy with
            `sample_at_inference=False`.
        mean_version: version of AutoAttack for the deterministic mean.
        mean_attacks: dict from name to attack, for `mean_version="custom"`.
        samples: int, at least 32, draws for each verdict.
        batch_size: int, the most examples at once.
        seed: int.
        select: str or int, which output to judge, where the network has several.
        index: `(n,)` ints, the examples' numbers; 0, 1, ... if None.
        settings: dict of further entries for the report.
        label_names: names of the classes.
        verbose: bool, whether to show progress; None shows it on a terminal.

    Returns:
        `Report`: each flag is the verdict of the mean logits under one candidate alone, `adversarial`
        is of those that broke an example the one with the lowest share of correct draws.
        `settings["sampled_accuracy"]` is the accuracy of a single draw by candidate, and as "worst" that
        of the candidate with the lowest share, measured on draws that did not choose it.
        `settings["deterministic_mean"]` holds `clean`, `robust`, `accuracy`, `verdict` and `attacks` of
        the deterministic mean.

    Raises:
        ValueError: if a value is out of range, or no layer samples at inference and no `mean_network`
            is given.

    Reference: A. Athalye et al., "Obfuscated gradients give a false sense of security", 2018; F. Croce
        et al., "Evaluating the adversarial robustness of adaptive test-time defenses", 2022.
    """
    x, y = arrays(x, y)
    need_count(_LEAST_SAMPLES, samples=samples)
    need_count(batch_size=batch_size)
    need_positive(epsilon=epsilon)
    attacks = _attacks("attacks", version, attacks, norm, epsilon)
    x = check_images(x)
    y = check_labels(y, size=len(x))
    index = np.arange(len(x)) if index is None else np.asarray(index)
    if isinstance(network, FrozenClassifier):
        network, select = network.network, network.select
    classifier = FrozenClassifier(network, select)
    if mean_network is None:
        mean_network = _without_noise(network)
    arguments = {"norm": norm, "epsilon": epsilon, "batch_size": batch_size, "seed": seed}
    arguments |= {"select": select, "index": index, "verbose": verbose}
    mean = autoattack(mean_network, x, y, version=mean_version, attacks=mean_attacks, **arguments)

    sampler = Sampler(classifier, samples, min(batch_size, len(x)), seed, index)
    outcome = Candidates(x, y, sampler)
    with Progress(verbose) as progress:
        for name, attack in attacks.items():
            progress.start(name, int(outcome.flags["clean"].sum()))
            adv = sampler.attack(name, attack, x, y, outcome.flags["clean"])
            outcome.add(name, adv, norm=attack.norm, epsilon=attack.epsilon)
            progress.finish(name, float(outcome.flags[name].mean()), outcome.seconds[name])
    outcome.add(_TRANSFER, mean.adversarial, norm=norm, epsilon=epsilon)
    report = Report(
        flags=outcome.flags,
        seconds=outcome.seconds,
        settings={
            "network": network.name,
            "weights_sha256": weights_digest(network),
            "norm": norm,
            "epsilon": epsilon,
            "version": version,
            "attacks": {
                **{name: attack_base.settings(attack) for name, attack in attacks.items()},
                _TRANSFER: {
                    "attack": "AutoAttack on the mean",
                    "role": "transfer",
                    "norm": norm,
                    "epsilon": epsilon,
                },
            },
            "samples": samples,
            "batch_size": batch_size,
            "sampled_accuracy": outcome.sampled_accuracy(),
            "deterministic_mean": {
                "clean": mean.clean,
                "robust": mean.robust,
                "accuracy": mean.accuracy,
                "verdict": mean.verdict,
                "findings": [list(finding) for finding in mean.findings],
                "version": mean_version,
                "attacks": mean.settings["attacks"],
            },
            **(settings or {}),
        },
        seed=seed,
        versions=versions(),
        findings=[_two_figures(outcome, mean, samples)],
        adversarial=outcome.adversarial(),
        images=x,
        indices=index,
        labels=y,
        predictions=outcome.predictions(),
        distance=outcome.distance,
        label_names=label_names,
    )
    return refreshed(report)


def _attacks(name, version, attacks, norm, epsilon):
    if (version == "custom") != (attacks is not None):
        raise ValueError(
            f"`{name}` goes with version 'custom', and only with it. "
            f"Received: version={version!r}, {name}={attacks!r}"
        )
    if attacks is None:
        return ensemble(version, norm=norm, epsilon=epsilon)
    attack_base.check_attacks(attacks, reserved=("clean", "worst", _TRANSFER))
    return attacks


def _without_noise(network):
    """Copy a network, its random layers switched to their means."""
    changed = []

    def clone(layer):
        config = layer.get_config()
        if config.get("sample_at_inference"):
            config["sample_at_inference"] = False
            changed.append(layer.name)
        return type(layer).from_config(config)

    twin = keras.models.clone_model(network, clone_function=clone, recursive=True)
    if not changed:
        raise ValueError(
            "The network has no layer with `sample_at_inference=True`. Judge a deterministic network "
            "with `autoattack`; for one with other random layers give the same network without its "
            f"noise as `mean_network`. Received: network={network.name!r}"
        )
    twin.set_weights(network.get_weights())
    return twin


def _two_figures(outcome, mean, samples):
    robust = float(np.logical_and.reduce(list(outcome.flags.values())).mean())
    return Finding(
        "stochastic",
        "info",
        f"The network is random. By the mean logits of {samples} draws its robust accuracy is "
        f"{100 * robust:.1f} %; without its noise, under attacks that no noise misleads, it is "
        f"{100 * mean.robust:.1f} %. Compare other networks with the second figure.",
    )
