"""The candidates for a worst case on a randomised network, judged by many draws."""

import time

import numpy as np
from keras import ops

from sharedkeras.attacks.batching.padding import pad
from sharedkeras.attacks.batching.sizes import bucket
from sharedkeras.attacks.verdict import inside, is_wrong
from sharedkeras.math import norms, random


class Sampler:
    """A randomised network whose draws follow from a seed and what they are for.

    Args:
        classifier: `FrozenClassifier`, whose state is set anew for each use.
        samples: int, draws for each verdict.
        batch_size: int, the most examples at once.
        seed: int.
        index: `(n,)` ints, the examples' numbers.
    """

    def __init__(self, classifier, samples, batch_size, seed, index):
        self.classifier, self.samples, self.batch_size = classifier, samples, batch_size
        self.seed, self.index = seed, index

    def sample(self, name, x, y):
        """Return the mean logits `(n, K)` and the share of correct draws `(n,)`."""
        parts = []
        for rows in self._batches(np.arange(len(x))):
            state = self._state("sample", name, rows)
            padded = [ops.convert_to_tensor(self._padded(v[rows])) for v in (x, y)]
            if not parts:
                classes = self.classifier.predict(padded[0]).shape[-1]
            size = len(padded[0])
            carry = (ops.zeros((size, classes), dtype=x.dtype), ops.zeros((size,), dtype="int32"), state)
            total, right, _ = self.classifier.iterate("draws", _draw, carry, padded, 0, self.samples)
            arrays = (ops.convert_to_numpy(t)[: len(rows)] / self.samples for t in (total, right))
            parts.append(tuple(arrays))
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))

    def attack(self, name, attack, x, y, standing):
        """Craft images for the examples that stand; the others stay as they are."""
        adv = x.copy()
        for rows in self._batches(np.flatnonzero(standing)):
            self.classifier.state = self._state("attack", name, rows)
            arguments = {"seed": self.seed, "index": self._padded(self.index[rows]).astype("int32")}
            result = attack.run(
                self.classifier, self._padded(x[rows]), self._padded(y[rows]), **arguments
            )
            adv[rows] = ops.convert_to_numpy(result.adversarial)[: len(rows)]
        return adv

    def _batches(self, rows):
        return [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]

    def _padded(self, values):
        return pad(values, bucket(len(values), self.batch_size))

    def _state(self, purpose, name, rows):
        """Return the network's state, its generators set by seed, purpose and first example."""
        key = random.key(self.seed, "stochastic", purpose, name, int(self.index[rows[0]]))
        state = []
        variables = self.classifier.unfolded.non_trainable_variables
        for number, (variable, value) in enumerate(zip(variables, self.classifier.state, strict=True)):
            if "seed_generator" in variable.path:
                words = ops.convert_to_numpy(random.key(key, number))
                value = ops.convert_to_tensor(words.astype(np.dtype(variable.dtype)))
            state.append(value)
        return state


def _draw(view, _, carry, constants):
    total, right, state = carry
    x, y = constants
    logits, state = view(x, state)
    correct = ops.logical_not(is_wrong(y, logits))
    return total + logits, right + ops.cast(correct, "int32"), state


class Candidates:
    """What each candidate does to each example, and which of them is kept.

    Args:
        x: `(n, H, W, C)` clean images, the first candidate.
        y: `(n,)` labels.
        sampler: `Sampler`.

    Raises:
        ValueError: if the network's output is not what it must be.
    """

    def __init__(self, x, y, sampler):
        self.x, self.y, self.sampler = x, y, sampler
        self.flags, self.seconds, self.distance, self._shares = {}, {}, {}, {}
        started = time.perf_counter()
        logits, share = sampler.sample("clean", x, y)
        if logits.ndim != 2 or not np.isfinite(logits).all() or y.max() >= logits.shape[1]:
            raise ValueError(
                "The network must return finite logits, one for each class. Received: output of shape "
                f"{logits.shape}, finite: {bool(np.isfinite(logits).all())}, largest label {y.max()}"
            )
        self._clean = logits.argmax(axis=1)
        self.flags["clean"], self._shares["clean"] = self._clean == y, share
        self.seconds["clean"] = time.perf_counter() - started
        self._kept, self._share = x.copy(), share.copy()
        self._broken, self._predicted = ~self.flags["clean"], self._clean.copy()
        self._begun = time.perf_counter()

    def add(self, name, adv, *, norm, epsilon):
        """Judge a candidate for each example; outside of the ball it does not count."""
        epsilon = np.inf if epsilon is None else epsilon
        images = map(ops.convert_to_tensor, (self.x, adv))
        found, size = map(ops.convert_to_numpy, inside(norms.get(norm), *images, epsilon))
        valid = self.flags["clean"] & found
        adv = np.where(valid[:, None, None, None], adv, self.x)
        logits, share = self.sampler.sample(name, adv, self.y)
        predicted = logits.argmax(axis=1)
        broken = valid & (predicted != self.y) & np.isfinite(logits).all(axis=1)
        self.flags[name] = self.flags["clean"] & ~broken
        self._shares[name] = np.where(valid, share, self._shares["clean"])
        self.distance[name] = np.where(broken, size, np.inf)
        # A candidate that breaks the mean logits first, then the one with fewer correct draws.
        worse = valid & ((broken > self._broken) | ((broken == self._broken) & (share < self._share)))
        self._kept[worse], self._share[worse] = adv[worse], share[worse]
        self._predicted[worse], self._broken = predicted[worse], self._broken | broken
        self.seconds[name] = time.perf_counter() - self._begun
        self._begun = time.perf_counter()

    def sampled_accuracy(self):
        """Return the share of correct draws by candidate, and of the kept ones on draws of their own."""
        _, share = self.sampler.sample("worst", self._kept, self.y)
        return {**{k: float(v.mean()) for k, v in self._shares.items()}, "worst": float(share.mean())}

    def adversarial(self):
        """Return the kept candidates where they broke an example, else the clean images."""
        fallen = self.flags["clean"] & self._broken
        return np.where(fallen[:, None, None, None], self._kept, self.x)

    def predictions(self):
        """Return the classes of the mean logits."""
        fallen = self.flags["clean"] & self._broken
        return {"clean": self._clean, "adversarial": np.where(fallen, self._predicted, self._clean)}
