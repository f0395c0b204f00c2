"""Variations of the paper's Tables 7 and 9 to 14, on CIFAR-10, each one thing other than its base."""

import dataclasses

from sharedkeras.recipes import baselines, cifar10
from sharedkeras.recipes.recipe import Recipe

_BASE = {r.name: r for r in (*cifar10.RECIPES, *baselines.RECIPES)}


def _like(base, **changes):
    """Return the fields of a base recipe with some replaced, for a recipe of another name."""
    fields = {f.name: getattr(_BASE[base], f.name) for f in dataclasses.fields(Recipe)}
    del fields["name"], fields["source"]
    options = {**fields["objective_options"], **changes.pop("objective_options", {})}
    return {**fields, **changes, "objective_options": options}


_OURS = "cifar10-resnet18-shared"  # The base: alpha 0.5, beta 4, lambda 0.001, HSIC, p(z|x).

_WIDE = "cifar10-wrn-34-10-shared"

# Section 4.4: trained against the attack on the last layer before the logits, a ball of 10 levels.
_REPRESENTATION = {
    "attack": "representation",
    "attack_options": {"steps": 20},
    "epsilon": 10 / 255,
}

RECIPES = (
    # Table 7: another training attack.
    Recipe(
        name="cifar10-resnet18-standard-representation",
        source="Table 7, row Standard; attack in training of section 4.4",
        **_like("cifar10-resnet18-standard", **_REPRESENTATION),
    ),
    Recipe(
        name="cifar10-resnet18-trades-representation",
        source="Table 7, row TRADES; attack in training of section 4.4",
        **_like("cifar10-resnet18-trades", **_REPRESENTATION),
    ),
    Recipe(
        name="cifar10-resnet18-mart-representation",
        source="Table 7, row MART; attack in training of section 4.4",
        **_like("cifar10-resnet18-mart", **_REPRESENTATION),
    ),
    Recipe(
        name="cifar10-resnet18-shared-representation",
        source="Table 7, row Ours; attack in training of section 4.4",
        **_like(_OURS, **_REPRESENTATION),
    ),
    # Table 9: a share of the training images, drawn by the seed.
    Recipe(
        name="cifar10-resnet18-standard-share-40",
        source="Table 9, row Standard, column 40%",
        **_like("cifar10-resnet18-standard", train_share=0.4),
    ),
    Recipe(
        name="cifar10-resnet18-standard-share-60",
        source="Table 9, row Standard, column 60%",
        **_like("cifar10-resnet18-standard", train_share=0.6),
    ),
    Recipe(
        name="cifar10-resnet18-standard-share-80",
        source="Table 9, row Standard, column 80%",
        **_like("cifar10-resnet18-standard", train_share=0.8),
    ),
    Recipe(
        name="cifar10-resnet18-trades-share-40",
        source="Table 9, row TRADES, column 40%",
        **_like("cifar10-resnet18-trades", train_share=0.4),
    ),
    Recipe(
        name="cifar10-resnet18-trades-share-60",
        source="Table 9, row TRADES, column 60%",
        **_like("cifar10-resnet18-trades", train_share=0.6),
    ),
    Recipe(
        name="cifar10-resnet18-trades-share-80",
        source="Table 9, row TRADES, column 80%",
        **_like("cifar10-resnet18-trades", train_share=0.8),
    ),
    Recipe(
        name="cifar10-resnet18-mart-share-40",
        source="Table 9, row MART, column 40%",
        **_like("cifar10-resnet18-mart", train_share=0.4),
    ),
    Recipe(
        name="cifar10-resnet18-mart-share-60",
        source="Table 9, row MART, column 60%",
        **_like("cifar10-resnet18-mart", train_share=0.6),
    ),
    Recipe(
        name="cifar10-resnet18-mart-share-80",
        source="Table 9, row MART, column 80%",
        **_like("cifar10-resnet18-mart", train_share=0.8),
    ),
    Recipe(
        name="cifar10-resnet18-shared-share-40",
        source="Table 9, row Ours, column 40%",
        **_like(_OURS, train_share=0.4),
    ),
    Recipe(
        name="cifar10-resnet18-shared-share-60",
        source="Table 9, row Ours, column 60%",
        **_like(_OURS, train_share=0.6),
    ),
    Recipe(
        name="cifar10-resnet18-shared-share-80",
        source="Table 9, row Ours, column 80%",
        **_like(_OURS, train_share=0.8),
    ),
    # Table 10: terms left out. Its first two rows are the ends of alpha in Table 12.
    Recipe(
        name="cifar10-resnet18-shared-without-ce-adv",
        source="Table 10, row 1 and Table 12, row 1: alpha 0",
        **_like(_OURS, objective_options={"alpha": 0.0}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-without-ce-clean",
        source="Table 10, row 2 and Table 12, row 7: alpha 1",
        **_like(_OURS, objective_options={"alpha": 1.0}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-without-skl",
        source="Table 10, row 3: beta 0",
        **_like(_OURS, objective_options={"beta": 0.0}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-without-both",
        source="Table 10, row 4: beta 0, lambda 0",
        **_like(_OURS, objective_options={"beta": 0.0, "lam": 0.0}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-without-hsic",
        source="Table 10, row 5: lambda 0",
        **_like(_OURS, objective_options={"lam": 0.0}),
    ),
    # Table 11: stopped at a fixed epoch of 120.
    Recipe(
        name="cifar10-resnet18-standard-stopped",
        source="Table 11, row Standard: epoch 76, which is not in the paper and TRADES' own",
        **_like("cifar10-resnet18-standard", stop_after=76),
    ),
    Recipe(
        name="cifar10-resnet18-trades-stopped",
        source="Table 11, row TRADES: epoch 76; section A.1",
        **_like("cifar10-resnet18-trades", stop_after=76),
    ),
    Recipe(
        name="cifar10-resnet18-mma-stopped",
        source="Table 11, row MMA: epoch 76; section A.1",
        **_like("cifar10-resnet18-mma", stop_after=76),
    ),
    Recipe(
        name="cifar10-resnet18-mart-stopped",
        source="Table 11, row MART: epoch 91; section A.1",
        **_like("cifar10-resnet18-mart", stop_after=91),
    ),
    Recipe(
        name="cifar10-resnet18-shared-stopped",
        source="Table 11, row Ours: epoch 101; section A.1",
        **_like(_OURS, stop_after=101),
    ),
    # Table 12: alpha in hundredths, then lambda.
    Recipe(
        name="cifar10-resnet18-shared-alpha-10",
        source="Table 12, row 2: alpha 0.1",
        **_like(_OURS, objective_options={"alpha": 0.1}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-alpha-30",
        source="Table 12, row 3: alpha 0.3",
        **_like(_OURS, objective_options={"alpha": 0.3}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-alpha-70",
        source="Table 12, row 5: alpha 0.7",
        **_like(_OURS, objective_options={"alpha": 0.7}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-alpha-90",
        source="Table 12, row 6: alpha 0.9",
        **_like(_OURS, objective_options={"alpha": 0.9}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-lam-3e-3",
        source="Table 12, row 8: lambda 0.003",
        **_like(_OURS, objective_options={"lam": 0.003}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-lam-5e-3",
        source="Table 12, row 9: lambda 0.005",
        **_like(_OURS, objective_options={"lam": 0.005}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-lam-7e-3",
        source="Table 12, row 10: lambda 0.007",
        **_like(_OURS, objective_options={"lam": 0.007}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-lam-1e-2",
        source="Table 12, row 11: lambda 0.01",
        **_like(_OURS, objective_options={"lam": 0.01}),
    ),
    # Table 13: other estimators. Their numbers beside lambda are not in the paper.
    Recipe(
        name="cifar10-resnet18-shared-mine",
        source="Table 13, row 1: MINE, lambda 0.01",
        **_like(_OURS, objective_options={"estimator": "mine", "lam": 0.01}),
    ),
    Recipe(
        name="cifar10-resnet18-shared-mige",
        source="Table 13, row 2: MIGE, lambda 0.01",
        **_like(_OURS, objective_options={"estimator": "mige", "lam": 0.01}),
    ),
    # Table 14: probabilities in place of latents, on a network without the stochastic layer, which
    # the paper leaves open.
    Recipe(
        name="cifar10-resnet18-shared-softmax-lam-1e-1",
        source="Table 14, row 1: p(y|x), lambda 0.1",
        **_like(_OURS, objective_options={"location": "softmax", "lam": 0.1}, latent=False),
    ),
    Recipe(
        name="cifar10-resnet18-shared-softmax-lam-1e-2",
        source="Table 14, row 2: p(y|x), lambda 0.01",
        **_like(_OURS, objective_options={"location": "softmax", "lam": 0.01}, latent=False),
    ),
    Recipe(
        name="cifar10-resnet18-shared-softmax-lam-1e-3",
        source="Table 14, row 3: p(y|x), lambda 0.001",
        **_like(_OURS, objective_options={"location": "softmax", "lam": 0.001}, latent=False),
    ),
    Recipe(
        name="cifar10-wrn-34-10-shared-softmax",
        source="Table 14, row 5: p(y|x), lambda 0.001",
        **_like(_WIDE, objective_options={"location": "softmax"}, latent=False),
    ),
)
