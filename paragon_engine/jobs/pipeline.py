"""Loading, working and saving at the same time, with a bounded number of items in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from paragon_arch.errors import CancelledError

DEPTH = 2
"""Items that may wait on each side of the work. More would cost memory and gain nothing."""

_Item = TypeVar("_Item")
_Loaded = TypeVar("_Loaded")
_Result = TypeVar("_Result")


def run_pipeline(
    items: Iterable[_Item],
    *,
    load: Callable[[_Item], _Loaded],
    work: Callable[[_Item, _Loaded], _Result],
    save: Callable[[_Item, _Result], None],
    done: Callable[[_Item, Exception | None], None],
) -> None:
    """Load in one thread, work in the caller's, save in another; each in the order of the items.

    An item whose load, work or save raises does not stop the others.

    Args:
        items: taken as they are needed.
        load: makes what the work needs.
        work: the expensive part.
        save: takes the result.
        done: told in the caller's thread what became of each item: None, or what was raised.

    Raises:
        CancelledError: the work was cancelled; what was worked on is saved and reported nevertheless.
    """
    loading: deque[tuple[_Item, Future[_Loaded]]] = deque()
    saving: deque[tuple[_Item, Future[None]]] = deque()
    remaining = iter(items)
    with ThreadPoolExecutor(1, "load") as loader, ThreadPoolExecutor(1, "save") as saver:
        try:
            while True:
                while len(loading) < DEPTH and (item := next(remaining, None)) is not None:
                    loading.append((item, loader.submit(load, item)))
                if not loading:
                    break
                _step(*loading.popleft(), work, save, saver, saving, done)
                while len(saving) > DEPTH:
                    _settle(*saving.popleft(), done)
        finally:
            loader.shutdown(wait=False, cancel_futures=True)
            while saving:
                _settle(*saving.popleft(), done)


def _step(
    item: _Item,
    loaded: Future[_Loaded],
    work: Callable[[_Item, _Loaded], _Result],
    save: Callable[[_Item, _Result], None],
    saver: ThreadPoolExecutor,
    saving: deque[tuple[_Item, Future[None]]],
    done: Callable[[_Item, Exception | None], None],
) -> None:
    try:
        result = work(item, loaded.result())
    except CancelledError:
        raise
    except Exception as error:  # whatever is wrong with one item, the others are still to be done
        done(item, error)
    else:
        saving.append((item, saver.submit(save, item, result)))


def _settle(item: _Item, saved: Future[None], done: Callable[[_Item, Exception | None], None]) -> None:
    try:
        saved.result()
    except Exception as error:  # as above
        done(item, error)
    else:
        done(item, None)


def prefetched(items: Iterator[_Item], depth: int = DEPTH) -> Generator[_Item, None, None]:
    """The items of an iterator that runs ahead in a thread of its own, by so many."""
    ended = object()
    with ThreadPoolExecutor(1, "load") as loader:
        coming = deque(loader.submit(next, items, ended) for _ in range(depth))
        try:
            while (item := coming.popleft().result()) is not ended:
                coming.append(loader.submit(next, items, ended))
                yield item  # pyright: ignore[reportReturnType]  (it is not the sentinel)
        finally:
            loader.shutdown(wait=True, cancel_futures=True)
