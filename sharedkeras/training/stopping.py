"""Stops a run between two updates when it is asked to."""

import signal
import sys
import threading

import keras

_ASKED_BY = (signal.SIGINT, signal.SIGTERM)


class StopWhenAsked(keras.callbacks.Callback):
    """Writes a checkpoint at the next update's end after Ctrl-C or SIGTERM, and only then ends the run.

    A signal that interrupts an update loses all since the last checkpoint, and on JAX the weights, which
    the update has been given. So the signal is noted, the update ends, all state is written, and the
    signal is raised again for whoever dealt with it before. Between epochs, where the network is judged
    and kept, the run ends when that is done. A second signal counts at once.

    Comes last of the callbacks, so that at an epoch's end everything has been kept.

    Args:
        keep: function without arguments that writes a checkpoint in mid-epoch, and returns whether it
            did: after an epoch's last update the epoch's end does.
    """

    def __init__(self, keep):
        super().__init__()
        self.keep = keep
        self._before = {}
        self._asked = None

    def on_train_begin(self, logs=None):
        """Take the signals; only a process's main thread can."""
        if not self._before and threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _ASKED_BY}

    def on_train_batch_end(self, batch, logs=None):
        """Keep what is done and end, if that was asked."""
        if self._asked is not None and self.keep():
            self._end()

    def on_epoch_end(self, epoch, logs=None):
        """End, if that was asked; the epoch has been kept."""
        if self._asked is not None:
            self._end()

    def give_back(self):
        """Let those deal with the signals who did before; to be called after errors too."""
        for number, handler in self._before.items():
            # One that was not set from Python reads as None and cannot be set again.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}

    def _note(self, number, frame):
        self._asked = number
        self.give_back()
        print("\nStopping after this update. Once more: at once.", file=sys.stderr, flush=True)

    def _end(self):
        self.give_back()
        signal.raise_signal(self._asked)
