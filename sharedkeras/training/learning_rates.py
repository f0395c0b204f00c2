"""Learning rates as functions of the update, and by name."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="sharedkeras")
class StepDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Multiplies the learning rate by a factor at the beginning of given epochs.

    Args:
        initial: float, the learning rate before the first drop.
        drops: sequence of numbers, epochs counted from 0 at whose beginning the rate drops; 2.5 is the
            middle of the third.
        factor: float in (0, 1), or a sequence of them, one for each drop.
        steps_per_epoch: int, updates an epoch.
        warmup: int, updates over which the rate rises linearly from zero; 0 for none.

    Raises:
        ValueError: if there are factors, and not one for each drop.
    """

    def __init__(self, initial, drops, *, factor=0.1, steps_per_epoch, warmup=0):
        super().__init__()
        self.initial = initial
        self.drops = tuple(drops)
        self.factor = list(factor) if isinstance(factor, list | tuple) else factor
        if isinstance(self.factor, list) and len(self.factor) != len(self.drops):
            raise ValueError(
                "`factor` must be a number, or one for each drop. "
                f"Received: factor={self.factor}, drops={self.drops}"
            )
        self.steps_per_epoch = steps_per_epoch
        self.warmup = warmup

    def __call__(self, step):
        """Return the learning rate of an update (scalar tensor)."""
        step = ops.cast(step, keras.config.floatx())
        rate = ops.convert_to_tensor(self.initial, dtype=keras.config.floatx())
        factors = self.factor if isinstance(self.factor, list) else [self.factor] * len(self.drops)
        for drop, factor in zip(self.drops, factors, strict=True):
            passed = step >= float(drop * self.steps_per_epoch)
            rate = ops.where(passed, rate * factor, rate)
        if self.warmup:
            rate = rate * ops.minimum(1.0, (step + 1.0) / self.warmup)
        return rate

    def get_config(self):
        """Return the arguments that make an equal schedule."""
        return {
            "initial": self.initial,
            "drops": list(self.drops),
            "factor": self.factor,
            "steps_per_epoch": self.steps_per_epoch,
            "warmup": self.warmup,
        }


@keras.saving.register_keras_serializable(package="sharedkeras")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Raises the learning rate linearly from zero to its peak, then lowers it linearly to zero.

    A short run wants a large rate and a rate near zero at its end; the rise keeps the first updates
    small.

    Args:
        peak: float above 0, the largest rate.
        updates: int, updates of the whole run.
        rise: float in (0, 1), share of the run until the peak.

    Raises:
        ValueError: if a value is out of range.

    Reference: L. Smith, N. Topin, "Super-convergence: very fast training of neural networks using large
        learning rates", 2019.
    """

    def __init__(self, peak, *, updates, rise=0.4):
        super().__init__()
        if not 0 < rise < 1:
            raise ValueError(f"`rise` must be in (0, 1). Received: rise={rise}")
        self.peak = peak
        self.updates = updates
        self.rise = rise

    def __call__(self, step):
        """Return the learning rate of an update (scalar tensor)."""
        done = (ops.cast(step, keras.config.floatx()) + 1.0) / (self.updates + 1.0)
        share = ops.minimum(done / self.rise, (1.0 - done) / (1.0 - self.rise))
        return self.peak * ops.maximum(share, 0.0)

    def get_config(self):
        """Return the arguments that make an equal schedule."""
        return {"peak": self.peak, "updates": self.updates, "rise": self.rise}


def _step(rate, epochs, steps_per_epoch, *, drops=(), factor=0.1, warmup=0.0):
    warmup = round(warmup * steps_per_epoch)
    return StepDecay(rate, drops, factor=factor, steps_per_epoch=steps_per_epoch, warmup=warmup)


def _cosine(rate, epochs, steps_per_epoch, *, warmup=0.0):
    updates, warmup = epochs * steps_per_epoch, round(warmup * steps_per_epoch)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(rate, updates)
    first = rate / warmup  # The rate of the first update; from zero it would change nothing.
    return keras.optimizers.schedules.CosineDecay(
        first, updates - warmup, warmup_target=rate, warmup_steps=warmup
    )


def _one_cycle(rate, epochs, steps_per_epoch, *, rise=0.4):
    return OneCycle(rate, updates=epochs * steps_per_epoch, rise=rise)


_MOST_WARMUP = 0.1  # Of a run; 12 updates of 187, a fifteenth, were enough to keep the loss down.


def stretched(options, before, after):
    """Return a schedule's options for a run of another length.

    What happens at an epoch happens at the same share of the run. A warm-up keeps its length, since it
    is the first updates that need it, but is at most a tenth of the run.

    Args:
        options: dict, options of any schedule.
        before: int, epochs of the run that they are for.
        after: int, epochs of the other run.

    Returns:
        Dict.
    """
    changed = dict(options)
    if "drops" in changed:
        changed["drops"] = tuple(drop * after / before for drop in changed["drops"])
    if "warmup" in changed:
        changed["warmup"] = min(changed["warmup"], _MOST_WARMUP * after)
    return changed


_SCHEDULES = {"cosine": _cosine, "one-cycle": _one_cycle, "step": _step}


def names():
    """List the names that `get` knows."""
    return sorted(_SCHEDULES)


def get(name):
    """Find a schedule of the learning rate by its name.

    - "step": divided by 10 (or multiplied by `factor`, which may be one for each drop) at the beginning
      of the epochs `drops`, after `warmup` epochs of linear rise.
    - "cosine": half a cosine from the rate to zero, after `warmup` epochs of linear rise.
    - "one-cycle": linearly up over the share `rise` of the run, then linearly down to zero.

    Args:
        name: one of `names()`.

    Returns:
        Function `(rate, epochs, steps_per_epoch, **options)` that returns a Keras schedule.

    Raises:
        ValueError: if there is no such schedule.
    """
    if name not in _SCHEDULES:
        raise ValueError(f"Unknown schedule; known are {names()}. Received: schedule={name!r}")
    return _SCHEDULES[name]
