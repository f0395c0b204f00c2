"""A training run as a value."""

import dataclasses
import math

from sharedkeras import data, models, objectives, training
from sharedkeras.attacks import PGD, NoAttack, Square
from sharedkeras.attacks import registry as attacks
from sharedkeras.training import learning_rates

_OPTIMIZERS = ("sgd", "adam")
_PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
_VALIDATION_STEPS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training run: dataset, network, objective, optimizer, schedule, seed.

    A recipe is data: `dataclasses.replace` overrides a value, `dataclasses.asdict` writes it to a file.
    Objective, attack and learning rate are a name and the options of what it names, so that one more of
    them changes nothing here.

    Args:
        name: str.
        source: str, table, row and column of the paper, or why it departs from it.
        dataset: str, a name of `sharedkeras.data`.
        model: str, a name of `sharedkeras.models`.
        objective: str, a name of `sharedkeras.objectives`.
        objective_options: dict of the objective's fields that depart from its defaults. A field that
            the objective names in `ramped` is the final value of the paper's ramp; 0 stays 0.
        epsilon: float above 0, bound of the training attack, in its norm, and of the one that
            validates, in units of an image in [0, 1].
        attack: str, a name of `sharedkeras.attacks.registry`, or None for the objective's own attack.
        attack_options: dict of the attack's fields, `epsilon` aside; a norm other than "linf" is added.
        curriculum: tuple of `(share, options)`: fields of the attack that change when that share of the
            epochs, in (0, 1), is done.
        latent: bool, whether the network has the stochastic layer.
        latent_options: dict of arguments of `GaussianStochastic`, such as `shift`, its starting scale.
        initial_weights: str, the trained network whose weights the training begins with (a run
            directory, a file, or what else the caller of `training.fit` can find), or None for random
            ones. Its head may be another one, see `sharedkeras.models.take_weights`.
        precision: "float32", or "mixed_bfloat16" or "mixed_float16" to compute forward and backward
            passes in half precision; weights and losses stay in float32, and so does what is kept.
        epochs: int, at least 1.
        batch_size: int, at least 2.
        optimizer: "sgd" (momentum 0.9) or "adam".
        learning_rate: float above 0.
        schedule: str, a name of `sharedkeras.training.learning_rates`.
        schedule_options: dict of the schedule's options, such as `drops` or `warmup` in epochs.
        weight_decay: float at least 0, coupled L2.
        ema_decay: float in (0, 1), limit of the warmed decay of the weights' average, or None.
        awp_gamma: float at least 0, size of the adversarial weight perturbation; 0 for none.
        natural_share: float in [0, 1), the share of the epochs, the first ones, without an attack.
        validation_size: int, images split from the end of the training set for choosing the weights.
        validation_examples: int, how many of them are attacked after each epoch.
        validation_queries: int, queries of the random search (Square) that judges beside PGD: it finds
            what a network hides from gradients. 0 leaves it out.
        patience: int, epochs without a larger robust validation accuracy after which a run ends, or None
            to train all epochs.
        stop_after: int, epochs after which a run ends while its schedules are those of `epochs`
            (Table 11), or None to train all epochs.
        train_share: float in (0, 1], share of the training images that is used, drawn at random by the
            seed (Table 9).
        augment: bool, whether to crop (4 pixels of padding) and flip.
        seed: int.
        attack_steps: int, the attack's option `steps` for the whole run: stages of the curriculum lose
            theirs.
        step_size: float, the attack's option `step_size` for the whole run.

    Raises:
        ValueError: if a value is unknown or out of range.
    """

    name: str
    source: str
    dataset: str
    model: str
    objective: str = "shared-information"
    objective_options: dict = dataclasses.field(default_factory=dict)
    epsilon: float = 0.031
    attack: str | None = None
    attack_options: dict = dataclasses.field(default_factory=dict)
    curriculum: tuple = ()
    latent: bool = True
    latent_options: dict = dataclasses.field(default_factory=dict)
    initial_weights: str | None = None
    precision: str = "float32"
    epochs: int = 120
    batch_size: int = 128
    optimizer: str = "sgd"
    learning_rate: float = 0.1
    schedule: str = "step"
    schedule_options: dict = dataclasses.field(default_factory=dict)
    weight_decay: float = 5e-4
    ema_decay: float | None = None
    awp_gamma: float = 0.0
    natural_share: float = 0.0
    validation_size: int = 1000
    validation_examples: int = 500
    validation_queries: int = 0
    patience: int | None = None
    stop_after: int | None = None
    train_share: float = 1.0
    augment: bool = False
    seed: int = 0
    attack_steps: dataclasses.InitVar[int | None] = None
    step_size: dataclasses.InitVar[float | None] = None

    def __post_init__(self, attack_steps, step_size):
        """Check every value, so that a wrong one is seen before any data is read."""
        given = {"steps": attack_steps, "step_size": step_size}
        given = {name: value for name, value in given.items() if value is not None}
        if given:
            object.__setattr__(self, "attack_options", {**self.attack_options, **given})
            object.__setattr__(self, "curriculum", _without(given, self.curriculum))
        models.latent_dim_of(self.model)
        for name, least in (
            ("epochs", 1),
            ("batch_size", 2),
            ("validation_size", 0),
            ("validation_examples", 0),
            ("validation_queries", 0),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise ValueError(
                    f"`{name}` must be an int of at least {least}. Received: {name}={value!r}"
                )
        if self.optimizer not in _OPTIMIZERS:
            raise ValueError(
                f"Unknown optimizer; known are {_OPTIMIZERS}. Received: optimizer={self.optimizer!r}"
            )
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(
                f"`learning_rate` must be above 0. Received: learning_rate={self.learning_rate}"
            )
        if not self.weight_decay >= 0:
            raise ValueError(
                f"`weight_decay` must be at least 0. Received: weight_decay={self.weight_decay}"
            )
        if not (math.isfinite(self.awp_gamma) and self.awp_gamma >= 0):
            raise ValueError(f"`awp_gamma` must be at least 0. Received: awp_gamma={self.awp_gamma}")
        if not 0 <= self.natural_share < 1:
            raise ValueError(
                f"`natural_share` must be in [0, 1). Received: natural_share={self.natural_share}"
            )
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"`ema_decay` must be in (0, 1). Received: ema_decay={self.ema_decay}")
        if self.patience is not None and not (isinstance(self.patience, int) and self.patience >= 1):
            raise ValueError(f"`patience` must be at least 1. Received: patience={self.patience!r}")
        if self.patience is not None and not (self.validation_size and self.validation_examples):
            raise ValueError(
                "`patience` waits for a robust validation accuracy, which this recipe does not measure. "
                f"Received: patience={self.patience}, validation_size={self.validation_size}, "
                f"validation_examples={self.validation_examples}"
            )
        if self.stop_after is not None and not (
            isinstance(self.stop_after, int) and 1 <= self.stop_after <= self.epochs
        ):
            raise ValueError(
                f"`stop_after` must be an int from 1 to `epochs`, {self.epochs}. "
                f"Received: stop_after={self.stop_after!r}"
            )
        if not 0 < self.train_share <= 1:
            raise ValueError(
                f"`train_share` must be in (0, 1]. Received: train_share={self.train_share}"
            )
        if self.precision not in _PRECISIONS:
            raise ValueError(
                f"Unknown precision; known are {_PRECISIONS}. Received: precision={self.precision!r}"
            )
        if self.initial_weights is not None and not (
            isinstance(self.initial_weights, str) and self.initial_weights
        ):
            raise ValueError(
                "`initial_weights` must be the name or path of a network, or None. "
                f"Received: initial_weights={self.initial_weights!r}"
            )
        if self.latent_options and not self.latent:
            raise ValueError(
                "`latent_options` are of the stochastic layer, which this recipe's network lacks. "
                f"Received: latent=False, latent_options={self.latent_options}"
            )
        self.make_objective()
        self.make_curriculum()
        self.make_learning_rate(steps_per_epoch=1)
        if self.norm != "linf":  # Said, so that whoever reads the values need not know the attack.
            object.__setattr__(self, "attack_options", {**self.attack_options, "norm": self.norm})

    @property
    def trained_epochs(self):
        """The epochs that are trained: `stop_after` where it is given, else all."""
        return self.epochs if self.stop_after is None else self.stop_after

    @property
    def norm(self):
        """The norm of the training attack's ball, in which a run is validated."""
        return self.make_attack().norm

    def make_attack(self):
        """Return the training attack of the first epoch that has one."""
        own = objectives.get(self.objective)().attack
        attack = own if self.attack is None else attacks.get(self.attack)()
        return _with("attack_options", attack, {**self.attack_options, "epsilon": self.epsilon})

    def make_curriculum(self):
        """Return the training attacks by epoch, one where nothing changes."""
        attack = self.make_attack()
        natural = round(self.natural_share * self.epochs)
        stages = [(0, NoAttack(norm=attack.norm, epsilon=attack.epsilon)), (natural, attack)]
        for share, options in self.curriculum:
            if not 0 < share < 1:
                raise ValueError(
                    f"A stage's share must be in (0, 1). Received: curriculum share {share}"
                )
            if share < self.natural_share:
                raise ValueError(
                    "A stage must not begin before the epochs without an attack are over. "
                    f"Received: curriculum share {share}, natural_share={self.natural_share}"
                )
            stages.append((round(share * self.epochs), _with("curriculum", attack, options)))
        # In a short run stages may begin with the same epoch: the last one counts.
        return training.Curriculum(tuple(sorted(dict(stages).items(), key=lambda stage: stage[0])))

    def make_validation_attacks(self):
        """Return a dict of the attacks that judge a run while it trains, the same for all objectives."""
        # Together the steps go 2.5 times as far as the ball's edge, as in Madry et al.
        ball = {"norm": self.norm, "epsilon": self.epsilon}
        size = 2.5 * self.epsilon / _VALIDATION_STEPS
        chosen = {"pgd": PGD(**ball, step_size=size, steps=_VALIDATION_STEPS)}
        if self.validation_queries:
            chosen["square"] = Square(**ball, queries=self.validation_queries)
        return chosen

    def make_objective(self):
        """Return the objective, its schedules scaled to the run's length."""
        objective = objectives.get(self.objective)(attack=self.make_attack())
        objective = _with("objective_options", objective, self.objective_options)
        ramps = {
            name: training.ExponentialRamp.paper(getattr(objective, name), self.epochs)
            for name in objective.ramped
            if getattr(objective, name) != 0
        }
        return dataclasses.replace(objective, **ramps)

    def make_learning_rate(self, *, steps_per_epoch):
        """Return the learning rate as a Keras schedule of the update."""
        schedule = learning_rates.get(self.schedule)
        try:
            return schedule(self.learning_rate, self.epochs, steps_per_epoch, **self.schedule_options)
        except TypeError as error:
            raise ValueError(
                f"The schedule {self.schedule!r} does not take these options: {error}. "
                f"Received: schedule_options={self.schedule_options}"
            ) from error

    def make_network(self):
        """Return the network for the dataset, newly initialised."""
        info = data.info(self.dataset)
        latent = {}
        if self.latent:
            latent = {"latent_dim": models.latent_dim_of(self.model)}
        if self.latent_options:
            latent["latent_options"] = self.latent_options
        # A policy of one's own, such as keras.json's, stays where the recipe names none.
        own = self.precision == "float32"
        with models.computing_in(None if own else self.precision):
            return models.build(
                self.model,
                input_shape=tuple(info.input_shape),
                num_classes=info.num_classes,
                **latent,
            )

    def make_augment(self):
        """Return the augmentation, or None."""
        return data.CropAndFlip() if self.augment else None

    def in_epochs(self, epochs):
        """Return this recipe for another number of epochs.

        What happens at a certain epoch (a drop of the rate, an early end, a ramp) happens at the same
        share of the run; a warm-up keeps its length, up to a tenth of the run. In a shorter run the
        final value of a ramped weight, beta of the shared-information objective, is smaller in
        proportion: the paper's beta of 4 squeezed into a few epochs leaves a representation that tells
        little of the image.

        Compared on ResNet-18 of width 16, 8,000 images of CIFAR-10, 3 epochs, two seeds
        (`benchmarks/results/stability.md`): beta 0.02, 0.1 (in proportion), 0.5, 1, 4; with and
        without ramp and warm-up; lambda 0, 0.001, 0.1; alpha 0.5, 0.75, 1; starting scales 0.1 and 0.69.

        Args:
            epochs: int, at least 1.

        Returns:
            `Recipe`.

        Raises:
            ValueError: if `epochs` is out of range.
        """
        if not isinstance(epochs, int) or epochs < 1:
            raise ValueError(f"`epochs` must be an int of at least 1. Received: epochs={epochs!r}")
        if epochs == self.epochs:
            return self
        share = epochs / self.epochs
        objective = _with("objective_options", objectives.get(self.objective)(), self.objective_options)
        final = {name: getattr(objective, name) * share for name in objective.ramped if share < 1}
        stop = self.stop_after
        return dataclasses.replace(
            self,
            epochs=epochs,
            objective_options={**self.objective_options, **final},
            schedule_options=learning_rates.stretched(self.schedule_options, self.epochs, epochs),
            stop_after=None if stop is None else max(1, round(stop * share)),
        )

    def with_attack_options(self, options):
        """Return this recipe with options of its attack that hold for the whole run.

        Args:
            options: dict of the attack's fields; stages of the curriculum lose theirs of these names.

        Returns:
            `Recipe`.

        Raises:
            ValueError: if the attack lacks one of the fields, or a value is out of range.
        """
        return dataclasses.replace(
            self,
            attack_options={**self.attack_options, **options},
            curriculum=_without(options, self.curriculum),
        )

    def with_objective(self, objective):
        """Return this recipe for another objective, with that one's own options and attack.

        Options of the attack, in the curriculum too, stay where the two objectives' own attacks agree,
        and the stochastic layer where it is read.

        Args:
            objective: str, a name of `sharedkeras.objectives`.
        """
        if objective == self.objective:
            return self
        other = objectives.get(objective)()
        one, two = (dataclasses.asdict(o.attack) for o in (objectives.get(self.objective)(), other))
        shared = {k for k in one if k in two and one[k] == two[k]}
        own = {name for _, options in self.curriculum for name in options} - shared
        return dataclasses.replace(
            self,
            objective=objective,
            objective_options={},
            attack=None,
            attack_options={k: v for k, v in self.attack_options.items() if k in shared},
            curriculum=_without(own, self.curriculum),
            latent=bool(other.taps),
            latent_options=self.latent_options if other.taps else {},
        )


def _without(names, curriculum):
    """Leave options of these names out of a curriculum, and stages that have no others."""
    stages = [(s, {k: v for k, v in options.items() if k not in names}) for s, options in curriculum]
    return tuple(stage for stage in stages if stage[1])


def _fields(value):
    return {field.name for field in dataclasses.fields(value)}


def _with(name, value, options):
    """Replace fields of a value; refuses those that it does not have."""
    unknown = sorted(set(options) - _fields(value))
    if unknown:
        raise ValueError(
            f"{type(value).__name__} has no {unknown}; it has {sorted(_fields(value))}. "
            f"Received: {name}={options}"
        )
    return dataclasses.replace(value, **options)
