"""Stops a long run between two chunks, so that its state can be saved."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def terminations_interrupt() -> Iterator[None]:
    """Within the block SIGTERM raises ``KeyboardInterrupt``, as SIGINT does, so that finished work is kept.

    >>> try:
    ...     with terminations_interrupt():
    ...         signal.raise_signal(signal.SIGTERM)
    ... except KeyboardInterrupt:
    ...     print("interrupted")
    interrupted
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:
        yield
        return

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Within the block, SIGINT and SIGTERM are noted, not obeyed; a second one interrupts at once.

    A signal that was ignored before stays ignored.

    Yields a function that returns whether a signal has arrived. Outside the main thread, which alone can receive
    signals, it never does.

    >>> with stop_requests() as stop_requested:
    ...     signal.raise_signal(signal.SIGTERM)
    ...     stop_requested()
    True
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    came: list[int] = []

    def note(number: int, _frame: object) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)
        print("\nstopping after this chunk of steps; once more to stop at once", file=sys.stderr, flush=True)

    # A signal that is ignored, as SIGINT is for what a shell starts in the background, stays so.
    noted = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, note) for number in noted}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
