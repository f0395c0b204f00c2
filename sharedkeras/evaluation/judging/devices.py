"""Batches distributed over the devices of one machine."""

import collections
import concurrent.futures
import queue

from sharedkeras import backend


class DevicePool:
    """Runs the same work on many batches, one at a time on each device, and keeps their order.

    Each device has a copy of the weights and graphs of its own, and takes the next batch when it is
    free. With one device, or for a plain callable, everything runs in the caller's thread. What the work
    returns must not depend on the device; nothing that the evaluation draws does.

    Args:
        classifier: `Classifier`; one without gradients knows no devices.
    """

    def __init__(self, classifier):
        devices = backend.devices() if classifier.white_box else [None]
        alone = len(devices) < 2
        self._views = [(d, classifier if alone else classifier.replica(d)) for d in devices]
        self._pool = None if alone else concurrent.futures.ThreadPoolExecutor(len(devices))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    @property
    def width(self):
        """The number of batches that are at work at the same time."""
        return len(self._views)

    def map(self, work, jobs):
        """Call `work(classifier, *job)` for each job.

        Args:
            work: function of a classifier and a job's entries; called in several threads.
            jobs: sequence of tuples.

        Yields:
            What `work` returns, in the order of the jobs.
        """
        if self._pool is None:
            yield from (work(self._views[0][1], *job) for job in jobs)
            return
        free = queue.SimpleQueue()
        for view in self._views:
            free.put(view)

        def call(job):
            device, classifier = free.get()
            try:
                with backend.on(device):
                    return work(classifier, *job)
            finally:
                free.put((device, classifier))

        # Few are handed out in advance, so that memory is bounded by the devices and not by the data.
        jobs, pending = iter(jobs), collections.deque()
        while True:
            while len(pending) < 2 * self.width and (job := next(jobs, None)) is not None:
                pending.append(self._pool.submit(call, job))
            if not pending:
                return
            yield pending.popleft().result()
