"""What a journal kept of an attack, believed only as far as the network bears it out."""

import numpy as np

from sharedkeras.evaluation.judging import identity
from sharedkeras.evaluation.judging.attack_batch import verify
from sharedkeras.evaluation.judging.batches import logits_of


def attack_key(attack):
    """Return the key under which an attack with its settings is kept, or None if it cannot be told."""
    try:
        return identity.digest(identity.describe(attack))[:16]
    except identity.UnknownIdentity:
        return None


def keep(journal, key, index, done):
    """Keep a finished batch in the journal, under a name of its own."""
    if key is not None:
        journal.write(f"{key}-{identity.digest_of_array(index)[:16]}", index, done)


def kept(journal, key, classifier, attack, examples, batch_size):
    """Return what the journal kept of the examples, every claimed success verified afresh.

    A success that the network does not bear out is left out, and so is attacked again. That an
    example withstood the attack cannot be verified without the attack; the seal alone vouches for it.

    Args:
        journal: `Journal`.
        key: what `attack_key` gives.
        classifier: `Classifier`.
        attack: the attack.
        examples: `Examples` that the attack is to be run on.
        batch_size: int.

    Returns:
        `(rows, done)`: rows of `examples`, and what `attack_batch` returns of them. `done` has the
        entry `probed` where gradients were looked at. None if nothing is kept.
    """
    if not len(examples.index):
        return None
    own = [] if key is None else journal.read(key, examples.index) or []
    composed, looked = _composed(journal, attack, examples)
    found = composed | _implied(journal, attack, examples) | _by_example(own, examples)
    if not found:
        return None
    rows = np.array(sorted(found))
    images, margins, passes, seconds = zip(*(found[row] for row in rows), strict=True)
    success = np.array([image is not None for image in images])
    adv = np.array([image for image in images if image is not None], examples.x.dtype)
    adv = adv.reshape(-1, *examples.x.shape[1:])
    claimed = examples.take(rows[success])
    sound, distance, predicted = _verified(classifier, attack, claimed, adv, batch_size)
    stays = ~success
    stays[success] = sound
    done = {
        "success": success[stays],
        "margin": np.array(margins, "float32")[stays],
        "passes": np.array(passes, "float32")[stays],
        "adversarial": adv[sound],
        "distance": distance[sound],
        "predicted": predicted[sound],
        "seconds": np.float64(sum(seconds)),
    }
    for entry in (*looked, *own):
        done |= {name: entry[name] for name in ("probed", "end", "checkpoints") if name in entry}
    return rows[stays], done


def _verified(classifier, attack, examples, adv, batch_size):
    if not len(adv):
        return np.zeros(0, bool), np.zeros(0, "float32"), np.zeros(0, "int32")
    logits = logits_of(classifier, adv, batch_size)
    sound, distance = verify(attack, examples.x, examples.y, adv, logits)
    return sound, distance, np.argmax(logits, axis=1).astype("int32")


def _implied(journal, attack, examples):
    """Return the successes of attacks whose successes are this one's too, as `_by_example` does."""
    found = {}
    for other in attack.implied_by():
        kept_of_it = _by_example(journal.read(attack_key(other), examples.index) or [], examples)
        found |= {row: kept for row, kept in kept_of_it.items() if kept[0] is not None}
    return found


def _composed(journal, attack, examples):
    """Return who withstood attacks that together are this one, and what was seen of its gradients.

    Returns:
        `(found, entries)`: what `_by_example` returns, and the entries of the first of these attacks.
    """
    found, looked = {}, []
    for parts in attack.divisions():
        entries = [journal.read(attack_key(part), examples.index) or [] for part in parts]
        kept_of_each = [_by_example(of_part, examples) for of_part in entries]
        both = set.intersection(*map(set, kept_of_each))
        for row in both:
            images, margins, passes, seconds = zip(*(k[row] for k in kept_of_each), strict=True)
            if all(image is None for image in images):
                found[row] = (None, min(margins), sum(passes), sum(seconds))
        looked += entries[0] if both else []
    return found, looked


def _by_example(entries, examples):
    """Return a dict from row to (adversarial image or None, margin, passes, seconds)."""
    row_of = {int(number): row for row, number in enumerate(examples.index)}
    found = {}
    for entry in entries:
        if not _is_sound(entry, examples.x):
            continue
        images = iter(entry["adversarial"])
        seconds = float(entry["seconds"]) / len(entry["index"])
        columns = (entry[name] for name in ("index", "success", "margin", "passes"))
        for number, success, margin, passes in zip(*columns, strict=True):
            image = next(images) if success else None
            if int(number) in row_of:
                # The latest entry counts.
                found[row_of[int(number)]] = (image, margin, passes, seconds)
    return found


def _is_sound(entry, x):
    success, adv = entry.get("success"), entry.get("adversarial")
    columns = [entry.get(name) for name in ("margin", "passes")]
    if success is None or adv is None or "seconds" not in entry or any(c is None for c in columns):
        return False
    return (
        all(column.shape == entry["index"].shape for column in columns)
        and success.dtype == bool
        and success.shape == entry["index"].shape
        and adv.dtype == x.dtype
        and adv.shape == (success.sum(), *x.shape[1:])
    )
