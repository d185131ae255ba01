"""Requests, one after the other."""

import gc
import os

from . import headroom
from .archive import map_standard_library
from .generators import Generators
from .prefault import fault_in_libraries
from .preload import preload, set_up_site


class Runtime:
    """Answers requests. ``numbers`` has their names, as the extension module does;
    ``filling`` is what fills gaps in the heap until it is put in order."""

    def __init__(self, channel, numbers, filling=None):
        # Late, so that what every run touches lies side by side in memory.
        from .program import Runner

        self._channel = channel
        self._runner = Runner(channel)
        self._generators = Generators()
        self._headroom = filling
        self._answers = {numbers.RUN: self._run, numbers.SETTLE: self._settle}

    def serve(self):
        """Never returns. The first request comes after the snapshot, as far as we can tell."""
        request = self._channel.ready()
        while True:
            exit_code = self._answers[request]()
            request = self._channel.done(exit_code)

    def _run(self):
        taken = self._channel.take_seed()
        if taken is None:
            return self._runner.run(self._channel.payload())
        seed, rehearsal = taken
        self._renew(self._generators.reseed, seed)
        exit_code = self._runner.run(self._channel.payload())
        if rehearsal:
            self._renew(self._generators.forget)
        return exit_code

    def _renew(self, renew, *arguments):
        try:
            renew(*arguments)
        except BaseException as error:
            # No program may run with random state that other forks have, too.
            self._runner.give_up(error)

    def _settle(self):
        """Gets the heap into the state that every fork starts with."""
        self._runner.reporter.forget()
        self._headroom = None
        # Also empties the free lists, which hold blocks from here and there.
        gc.collect()
        self._headroom = headroom.make()
        gc.collect()
        # What lives now will live in every fork; a collection must not even look at it, because
        # looking writes to it.
        gc.freeze()
        return 0


def main(extension):
    """Runs the runtime over the device that PID 1 has opened."""
    descriptor = int(os.environ.pop("ZB_CHANNEL_FD"))
    channel = extension.Channel(descriptor)
    os.close(descriptor)
    channel.started()
    archive = map_standard_library()
    set_up_site()
    preload()
    if archive:
        archive.forget_beginning()
    fault_in_libraries()
    filling = headroom.fill()
    runtime = Runtime(channel, extension, filling)
    extension.capture_output()
    runtime.serve()
