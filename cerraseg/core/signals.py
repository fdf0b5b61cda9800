"""SIGTERM and SIGINT as an exception, so that a long step can save its state; child processes that end with it."""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from types import FrameType

from cerraseg.core.errors import CerraSegError

SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SHUTDOWN_SECONDS = 15  # for saving; SLURM grants 30 between SIGTERM and SIGKILL
_PR_SET_PDEATHSIG = 1

_received: list[str] = []
_delayed = False


class StopSignal(BaseException):
    """A signal, named in the text, asks the process to end. No ``Exception``, so that no handler of errors takes it."""


class StepStopped(CerraSegError):
    """A signal ended the step before it had finished."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Raise :class:`StopSignal` in the block on the first SIGTERM or SIGINT; outside the main thread, do nothing.

    A process that has not left the block 15 seconds later is ended with a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # as a shell sets SIGINT for its background jobs
            signal.signal(number, _handle)
    try:
        yield
    except BaseException:
        raise_pending_signal()  # an error after a signal, as of data loader workers that got it too, follows from it
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        _received.clear()


def _handle(number: int, _: FrameType | None) -> None:
    if not _received:
        _received.append(signal.Signals(number).name)
        faulthandler.dump_traceback_later(_SHUTDOWN_SECONDS, exit=True, file=2)
        if not _delayed:
            raise_pending_signal()


@contextmanager
def delay_signals() -> Iterator[None]:
    """Raise :class:`StopSignal` only at the end of the block: torch aborts the process if interrupted in a write."""
    global _delayed
    _delayed = True
    try:
        yield
    finally:
        _delayed = False
    raise_pending_signal()


def raise_pending_signal() -> None:
    """Raise :class:`StopSignal` if a signal has come; Python drops an exception that is raised in a finaliser."""
    if _received:
        raise StopSignal(_received[0]) from None


def ignore_signals() -> None:
    """Ignore SIGTERM and SIGINT from now on, for the last, short part of a step."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def end_with_parent(_: int = 0) -> None:
    """In a child process: leave SIGINT to the parent and, on Linux, end when it ends, even by SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if (parent := parent_process()) and not parent.is_alive():  # it ended before the call
            os._exit(1)
