"""The size of a network before it takes any memory."""

import math
import threading

import keras


def count_parameters(build):
    """Count the weights of a network without allocating them.

    So a file that describes a network larger than the machine is refused instead of ending the process.

    Args:
        build: function without arguments that returns a `keras.Model`.

    Returns:
        Int.

    Raises:
        Exception: whatever `build` raises.
    """
    outcome = []

    def run():
        # In a stateless scope Keras only notes a variable's shape. It would allocate all of them at the
        # scope's end, so the scope ends with its thread instead, to which Keras's state belongs.
        scope = keras.StatelessScope()
        scope.__enter__()
        try:
            outcome.append(sum(math.prod(variable.shape) for variable in build().weights))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, name="count_parameters")
    thread.start()
    thread.join()
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]
