"""A run that diverges stops, says at which update, and keeps what was good."""

import contextlib
import dataclasses
import shutil
from contextlib import nullcontext as nothing

import keras
import numpy as np
import pytest
from damage.groups.checkpoint import make_trainer
from support.failing_disk import Killed, disk
from support.power import cut

from sharedkeras import models, recipes, training
from sharedkeras.files import litter
from sharedkeras.training import callbacks, checkpoint
from sharedkeras.training.divergence import StopWhenDiverged

TINY = dataclasses.replace(
    recipes.get("mnist-cnn-standard"),
    dataset="mnist-mini",
    epochs=3,
    attack_options={"steps": 1},
    batch_size=50,
    validation_size=9900,
    validation_examples=10,
)  # 100 images: 2 updates an epoch
ALONE = {"validation_size": 9900, "validation_examples": 0}


def content(run):
    kept = [
        run / "best.keras",
        run / "last.keras",
        run / "metrics.csv",
        *(run / "checkpoints").iterdir(),
    ]
    return {path: path.read_bytes() for path in kept}


@pytest.mark.parametrize("changes", [{}, ALONE], ids=["validated", "alone"])
def test_a_rate_of_a_million(tmp_path, changes):
    recipe = dataclasses.replace(TINY, learning_rate=1e6, **changes)
    with pytest.raises(training.DivergedError, match=r" is (nan|-?inf) at update [2-6]\b"):
        training.fit(recipe, tmp_path / "run", verbose=0)
    for path in (tmp_path / "run").glob("*.keras"):
        models.load_network(path)  # Refuses what is not finite.


@pytest.mark.parametrize("what", ["weight", "momentum"])
def test_what_the_epoch_before_left_is_kept(tmp_path, monkeypatch, what):
    run, before = tmp_path / "run", {}

    class Poison(callbacks.EpochState):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                before.update(content(run))
                if what == "weight":
                    bad = self.model.trainable_variables[0]
                else:
                    bad = self.model.optimizer.variables[-1]
                bad.assign(np.full(bad.shape, np.inf))

    monkeypatch.setattr(callbacks, "EpochState", Poison)
    with pytest.raises(training.DivergedError, match=r"is inf at update 4\b"):
        training.fit(dataclasses.replace(TINY, **ALONE), run, verbose=0)
    assert len(before) == 4
    assert content(run) == before


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_the_update_is_named_once_the_next_one_runs_or_the_epoch_ends(loss):
    for end in ("update", "epoch"):
        stop = StopWhenDiverged()
        stop.set_model(make_trainer())
        stop.model.update.assign(10)
        stop.on_train_begin()
        for epoch in range(2):
            stop.on_epoch_begin(epoch)
            for batch in range(3):
                stop.on_train_batch_end(batch, {"loss": loss if (epoch, batch) == (1, 2) else 1.0})
            with pytest.raises(training.DivergedError, match=r"update 16\b") if epoch else nothing():
                if end == "update" and epoch:
                    stop.on_train_batch_end(3, {"loss": 1.0})
                stop.on_epoch_end(epoch)


def test_a_good_run_goes_on():
    trainer = make_trainer()
    x = np.random.default_rng(0).random((8, 4, 4, 1), "float32")
    trainer.fit(x, np.arange(8) % 3, batch_size=2, epochs=2, verbose=0, callbacks=[StopWhenDiverged()])
    assert int(trainer.update.value) == 8


def ends(monkeypatch, way, root, last=-1):
    """Stop after so many operations of the disk: by a kill, or by a power cut that loses what it may."""
    if way != "kill":
        return cut(monkeypatch, root, last, names_are_lost=way == "names")
    return disk(monkeypatch, last)


@pytest.mark.parametrize("way", ["kill", "names", "contents"])
def test_stopped_at_any_operation_of_an_epochs_end_the_run_goes_on_from_it_or_the_one_before(
    tmp_path, monkeypatch, way
):
    trainer, other = make_trainer(), make_trainer(1)
    trainer.steps_per_epoch = 1
    before = tmp_path / "before"
    before.mkdir()

    keeper = callbacks.Keeper(before, identity={"recipe": "a"})
    keeper.set_model(trainer)

    def end(run_dir, epoch):
        keeper.run_dir = run_dir
        keeper.history = {k: v[:epoch] for k, v in keeper.history.items()}
        keeper.on_epoch_begin(epoch)
        keeper.on_epoch_end(epoch, {"loss": 1.0 / (epoch + 1)})

    def stopped(last=-1):
        root = tmp_path / str(last)
        shutil.copytree(before, root)
        with contextlib.suppress(Killed), ends(monkeypatch, way, root, last) as done:
            end(root, 2)
        for name in ("best.keras", "last.keras"):
            assert keras.saving.load_model(root / name).count_params() == trainer.network.count_params()
        done_epochs, history, _ = checkpoint.restore_newest(
            root / "checkpoints", other, run={"recipe": "a"}
        )
        assert done_epochs == len(history["loss"])
        litter.remove_litter(root)
        litter.remove_litter(root / "checkpoints")
        assert not [path for path in root.rglob(".*") if path.name != ".lock"]
        return done_epochs, len(done)

    for epoch in range(2):
        end(before, epoch)
    monkeypatch.setattr(litter, "is_alive", lambda pid, since: False)
    whole, count = stopped()
    assert whole == 3 and count >= 20
    assert {stopped(last)[0] for last in range(count)} == {2, 3}


def test_checkpoint_of_another_run(tmp_path):
    trainer = make_trainer()
    path = checkpoint.save(tmp_path, trainer, epoch=1, history={}, run={"recipe": "a", "data": "b"})
    with pytest.raises(ValueError, match=r"another run: expected the same data\. .*epoch-0001"):
        checkpoint.restore(path, trainer, run={"recipe": "a", "data": "c"})


@pytest.mark.parametrize("spent", [-1.0, "1", None, True])
def test_checkpoint_of_no_time(tmp_path, spent):
    trainer = make_trainer()
    path = checkpoint.save(tmp_path, trainer, epoch=1, history={}, spent=spent)
    with pytest.raises(ValueError, match="seconds of the running epoch"):
        checkpoint.restore(path, trainer)


def test_a_run_on_other_data_is_not_resumed(tmp_path):
    from sharedkeras.training.run import identify

    x, y = np.zeros((4, 2, 2, 1), "float32"), np.arange(4)
    mine = identify(TINY, x, y)
    assert identify(TINY, x.copy(), y.copy()) == mine
    assert identify(TINY, x, y[::-1])["data"] != mine["data"]
    assert identify(TINY, x + 1, y)["data"] != mine["data"]
    assert identify(dataclasses.replace(TINY, seed=1), x, y)["recipe"] != mine["recipe"]


def test_a_run_of_a_version_with_fewer_fields_is_resumed(tmp_path, monkeypatch):
    from sharedkeras.training.run import identify, open_run

    x, y = np.zeros((4, 2, 2, 1), "float32"), np.arange(4)
    values = dataclasses.asdict(TINY)

    @dataclasses.dataclass(frozen=True)
    class Later(recipes.Recipe):
        dry_run: bool = False

    later = Later(**values)
    assert identify(later, x, y) == identify(TINY, x, y)
    assert identify(dataclasses.replace(later, dry_run=True), x, y) != identify(TINY, x, y)
    run = open_run(tmp_path / "run", TINY, resume=False)
    assert open_run(run, later, resume=True) == run
    with pytest.raises(FileExistsError, match=r"another run \(dry_run: False there, True here\)"):
        open_run(run, dataclasses.replace(later, dry_run=True), resume=True)
    # A default that changed since is told, though the digest leaves defaults out.
    config = run / "config.json"
    config.write_text(config.read_text().replace('"epsilon": 0.3', '"epsilon": 0.2'))
    with pytest.raises(FileExistsError, match=r"epsilon: 0.2 there"):
        open_run(run, later, resume=True)


def test_a_directory_at_work_is_refused(tmp_path):
    from sharedkeras.files import locked

    run = tmp_path / "run"
    training.run.open_run(run, TINY, resume=False)
    with locked(run), pytest.raises(FileExistsError, match="works in this directory"):
        training.fit(TINY, run, resume=True, verbose=0)
