"""Asks the questions of a run on the workers of a cluster of dask.distributed."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import CapacityLimiter, move_on_after, to_thread

from ..base import hide_arguments
from ..errors import ResponseError, SpaceConnectionError, SpaceUnavailableError
from ..question.media import picture_of
from ..question.options import Options
from .progress import Summary
from .rows import answer_row, check_options, picture_in

if TYPE_CHECKING:
    from typing_extensions import Unpack

LOOK = 15.0  # seconds without an answer after which we ask the scheduler how the cluster is
SILENCE = 20.0  # seconds that the scheduler then has to reply
CLEANUP = 3.0  # seconds to take leave of the scheduler
SENT = ("url", "api_name", "model", "parameters", "timeout", "read_timeout", "max_retries",
        "max_chars")


@hide_arguments
def on_dask(client: Any, *, model: str = "", **options: Unpack[Options]) -> Cluster:
    """Return an ``ask`` for ``answer_file`` and ``ask_many`` that asks on a cluster's workers.

    A worker takes a token from its environment variable ``QVQ_API_KEY``, and the Space's address
    from ``QVQ_URL`` unless ``url`` is given. Pictures of this machine are sent along.

    Args:
        client: a ``dask.distributed.Client``, asynchronous or not.
        **options: ``url``, ``api_name``, ``model``, ``parameters``, ``timeout``, ``read_timeout``,
            ``max_retries`` and ``max_chars``, as in ``qvq_wrapper.ask``. The others may hold a
            secret, and whoever reaches the scheduler can read what is sent to a worker.

    Raises:
        ValueError, TypeError: an option cannot be used.

    Example::

        async with Client("tcp://scheduler:8786", asynchronous=True) as client:
            await answer_file("questions.jsonl", "answers.jsonl", ask=on_dask(client))
    """
    given: dict[str, Any] = {"model": model, **options}
    if others := [name for name in given if name not in SENT and given[name] is not None]:
        raise ValueError(
            f"{', '.join(others)} cannot be given, because others can read what is sent to a "
            "worker. A worker takes a token from QVQ_API_KEY in its own environment, and a proxy "
            "from HTTPS_PROXY")
    check_options(given)
    return Cluster(client, {name: given[name] for name in given if name in SENT})


class Cluster:
    """An ``ask``.

    Args:
        client: the client of the cluster.
        options: those that are sent to a worker.
    """

    def __init__(self, client: Any, options: dict[str, Any]) -> None:
        self._client, self.options = client, options

    async def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        from distributed import CancelledError, KilledWorker, TimeoutError

        row = await to_thread.run_sync(_with_picture, row)
        if self._client.status != "running":
            raise self._lost()
        # pure=False: Dask answers equal questions only once otherwise.
        future = self._client.submit(_answer, row, self.options, pure=False)
        try:
            while not future.done():
                try:
                    await self._call(future.exception, timeout=LOOK)
                except TimeoutError:
                    await self._check()
            result: dict[str, Any] = await self._call(future.result, timeout=SILENCE)
            return result
        except ResponseError:  # one kind is an OSError
            raise
        except (CancelledError, OSError, TimeoutError):
            raise self._lost() from None
        except KilledWorker:
            raise SpaceConnectionError(
                "several workers died with this question", retryable=True) from None
        finally:
            future.release()  # or else Dask asks again when the worker dies that has the answer

    async def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Call a function of the client, which can block if the client is not asynchronous."""
        call = partial(function, *args, **options)
        if self._client.asynchronous:
            return await call()
        return await to_thread.run_sync(call, abandon_on_cancel=True, limiter=CapacityLimiter(1))

    async def _check(self) -> None:
        """Raise SpaceConnectionError or SpaceUnavailableError if nobody can ask."""
        with move_on_after(SILENCE):
            identity = self._client.scheduler.identity
            found = await self._call(self._client.sync, identity, n_workers=0)
            if not found["n_workers"]:
                raise SpaceUnavailableError(
                    "the cluster has no worker; if one has ended, its log says why",
                    retryable=True)
            return
        raise self._lost(is_silent=True)

    def _lost(self, is_silent: bool = False) -> SpaceConnectionError:
        """Return the error. It ends the run after 30 s, in which Dask's client connects again."""
        gone = is_silent or self._client.status not in ("running", "connecting")
        return SpaceConnectionError(
            "the connection to the cluster's scheduler is lost", retryable=True,
            retry_after=math.inf if gone else None)


async def run_on_dask(
    address: str, run: Callable[[Cluster], Awaitable[Summary]], **options: Any
) -> Summary:
    """Call a function with an ``ask`` for the cluster of this scheduler."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError('--dask needs: pip install "qvq_wrapper[dask]"') from None
    for name in ("distributed", "distributed.client"):  # it has handlers of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    client: Any = Client(address, asynchronous=True, set_as_default=False)
    try:  # `async with` would not close it where it cannot connect
        return await run(on_dask(await client, **options))
    finally:
        with move_on_after(CLEANUP, shield=True):
            await client.close()


def _with_picture(row: dict[str, Any]) -> dict[str, Any]:
    """Return what a worker needs. It may have no access to a picture of this machine."""
    image = picture_in(row)
    if image is not None and (picture := picture_of(image)).url is None:
        name, data = picture.load(None)
        image = data, name
    return {"prompt": row.get("prompt"), "messages": row.get("messages"), "image": image}


async def _answer(row: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Ask. This runs on a worker."""
    url = options.get("url") or os.environ.get("QVQ_URL") or None
    options = {**options, "url": url, "api_key": os.environ.get("QVQ_API_KEY")}
    try:
        check_options(options)
    except (ValueError, TypeError) as error:
        raise SpaceUnavailableError(f"the environment of a worker: {error}") from None
    return await answer_row(row, **options)
