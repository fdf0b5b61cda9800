"""How a long step ends before its time: SIGTERM and SIGINT become an exception, no child outlives its parent."""

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
_BOUND = 15  # seconds for putting things away; SLURM grants 30 between SIGTERM and SIGKILL
_PR_SET_PDEATHSIG = 1

_received: list[str] = []
_unbroken = False


class Stop(BaseException):
    """A signal, which the text names, asks to end. Not an ``Exception``, so that nobody takes it for an error."""


class Stopped(CerraSegError):
    """The step was told to end before it had finished."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM and SIGINT raise :class:`Stop` here, once; who then hangs is ended hard, with a traceback.

    Outside the main thread, which alone may handle signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a shell's background jobs are not meant to hear Ctrl-C
            signal.signal(number, _stop)
    try:
        yield
    except BaseException:
        check()  # whatever else broke after the signal, a data loader whose workers got it too: it was the signal
        raise
    finally:
        faulthandler.cancel_dump_traceback_later()
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)
        _received.clear()


def _stop(number: int, _: FrameType | None) -> None:
    if not _received:
        _received.append(signal.Signals(number).name)
        faulthandler.dump_traceback_later(_BOUND, exit=True, file=2)
        if not _unbroken:
            check()


@contextmanager
def delay_signals() -> Iterator[None]:
    """Let :class:`Stop` wait for the end of a short block, a file that torch writes, say: broken off, it aborts."""
    global _unbroken
    _unbroken = True
    try:
        yield
    finally:
        _unbroken = False
    check()


def check() -> None:
    """Raise :class:`Stop` if a signal has come: in a finaliser, say, Python would have dropped the first one."""
    if _received:
        raise Stop(_received[0]) from None


def ignore() -> None:
    """Hear no signal any more: what follows is quicker than an end would be."""
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def end_with_parent(_: int = 0) -> None:
    """In a child: leave Ctrl-C to the parent and, on Linux, die when it dies, even of SIGKILL."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if (parent := parent_process()) and not parent.is_alive():  # it died before that
            os._exit(1)
