"""A training run as a value."""

import dataclasses
import math

from sharedkeras import data, models, objectives, training
from sharedkeras.attacks import PGD

_OPTIMIZERS = ("sgd", "adam")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run: dataset, network, objective, optimizer, schedule, seed.

    A recipe is data: `dataclasses.replace` overrides a value, `dataclasses.asdict` writes it to a file.

    Args:
        name: str.
        source: str, table, row and column of the paper, or why it departs from it.
        dataset: str, a name of `sharedkeras.data`.
        model: str, a name of `sharedkeras.models`.
        objective: str, a name of `sharedkeras.objectives`.
        epsilon: float above 0, Linf bound of the training attack, in units of an image in [0, 1].
        step_size: float above 0, step of the training attack.
        attack_steps: int, at least 1.
        random_start: "uniform", "gaussian" or None.
        alpha: float in [0, 1], share of the adversarial cross-entropy.
        beta: float above 0, final weight of the divergence.
        lam: float at least 0, weight of HSIC.
        latent: bool, whether the network has the stochastic layer.
        epochs: int, at least 1.
        batch_size: int, at least 2.
        optimizer: "sgd" (momentum 0.9) or "adam".
        learning_rate: float above 0.
        drops: tuple of ints, epochs (from 0) at whose beginning the rate is divided by 10.
        weight_decay: float at least 0, coupled L2.
        validation_size: int, images split from the end of the training set for choosing the weights.
        validation_examples: int, how many of them are attacked after each epoch.
        augment: bool, whether to crop (4 pixels of padding) and flip.
        seed: int.

    Raises:
        ValueError: if a value is unknown or out of range.
    """

    name: str
    source: str
    dataset: str
    model: str
    objective: str = "shared-information"
    epsilon: float = 0.031
    step_size: float = 0.007
    attack_steps: int = 10
    random_start: str | None = "uniform"
    alpha: float = 0.5
    beta: float = 4.0
    lam: float = 1e-3
    latent: bool = True
    epochs: int = 120
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    drops: tuple = ()
    weight_decay: float = 5e-4
    validation_size: int = 1000
    validation_examples: int = 500
    augment: bool = False
    seed: int = 0

    def __post_init__(self):
        """Check every value, so that a wrong one is seen before any data is read."""
        object.__setattr__(self, "drops", tuple(self.drops))
        models.latent_dim_of(self.model)
        self.make_objective()
        if self.optimizer not in _OPTIMIZERS:
            raise ValueError(
                f"Unknown optimizer; known are {_OPTIMIZERS}. Received: optimizer={self.optimizer!r}"
            )
        for name, least in (
            ("epochs", 1),
            ("batch_size", 2),
            ("validation_size", 0),
            ("validation_examples", 0),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"`{name}` must be an int of at least {least}. Received: {name}={value!r}"
                )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(
                f"`learning_rate` must be above 0. Received: learning_rate={self.learning_rate}"
            )
        if not self.weight_decay >= 0:
            raise ValueError(
                f"`weight_decay` must be at least 0. Received: weight_decay={self.weight_decay}"
            )

    def make_attack(self):
        """Return the training attack."""
        return PGD(
            epsilon=self.epsilon,
            step_size=self.step_size,
            steps=self.attack_steps,
            random_start=self.random_start,
        )

    def make_objective(self):
        """Return the objective, its schedule scaled to the run's length."""
        cls = objectives.get(self.objective)
        if cls is objectives.SharedInformation:
            beta = training.ExponentialRamp.paper(self.beta, self.epochs)
            return cls(attack=self.make_attack(), alpha=self.alpha, beta=beta, lam=self.lam)
        return cls(attack=self.make_attack())

    def make_network(self):
        """Return the network for the dataset, newly initialised."""
        info = data.info(self.dataset)
        return models.build(
            self.model,
            input_shape=tuple(info.input_shape),
            num_classes=info.num_classes,
            latent_dim=models.latent_dim_of(self.model) if self.latent else None,
        )

    def make_augment(self):
        """Return the augmentation, or None."""
        return data.CropAndFlip() if self.augment else None
