"""Asks a model on a server that speaks OpenAI's chat completions, such as vLLM or llama.cpp."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import openai
from anyio import CapacityLimiter, to_thread

from ..bridge.waits import retry_after_of
from ..errors import MediaError, RateLimitError, ResponseError, SpaceUnavailableError
from .answer import Answer
from .dialects import read_chunk, refusal_of_length
from .picture import data_uri
from .repetition import Repetition
from .secret import Secret

READ_TIMEOUT = 600.0
"""Seconds of silence after which a server is given up. A question may wait in its queue."""
_HINT = " Check --base-url, which usually ends in /v1, and --model."
_TOO_LONG = (
    "The question, its picture and the answer share the model's context, and the answer may take "
    "max_tokens ({}). Make that smaller (the Space's option is --max-tokens), or the question or "
    "the picture (--max-pixels).")
_QUESTIONS_FAULT = (0, 400, 413, 422, 500)
"""Statuses that come with a refusal of a long question. 0 stands for an error in mid-answer."""
_GARBAGE = (ValueError, TypeError, AttributeError, LookupError, RecursionError)


class Upstream:
    """A model and the server that runs it.

    Args:
        base_url: where the server's API begins: ``http://127.0.0.1:8000/v1``.
        model: the model's name on that server.
        api_key: the server's key, or "" if it needs none.
        system: the system message. "" sends none.
        max_tokens: the length at which an answer is cut off.
        temperature: None leaves it to the server.
        max_pixels: a larger picture is made smaller.
        stop_repetition: end an answer that repeats itself word for word.
        show_thinking: show the model's thoughts too, in quotes.

    Raises:
        ValueError: a proxy in the environment cannot be used.
    """

    def __init__(
        self, base_url: str, model: str, *, api_key: str = "", system: str = "",
        max_tokens: int = 8192, temperature: float | None = None, max_pixels: int = 1_003_520,
        stop_repetition: bool = False, show_thinking: bool = False,
    ) -> None:
        self.model, self.system = model, system
        self.max_tokens, self.temperature = max_tokens, temperature
        self._max_pixels = max_pixels
        self._stop_repetition, self._show_thinking = stop_repetition, show_thinking
        self._secret = Secret(api_key)
        self._decoding = CapacityLimiter(2)  # a large picture needs half a gigabyte
        # Reads the environment's proxies. A question is never asked twice. On a busy machine,
        # connecting has taken more than 10 s.
        self._client = openai.AsyncOpenAI(
            base_url=base_url, api_key=api_key or "none", max_retries=0,
            timeout=openai.Timeout(READ_TIMEOUT, connect=30))

    async def answer(
        self, image: str | None, prompt: str, temperature: float | None = None,
        max_tokens: int | None = None, system: str | None = None,
    ) -> AsyncIterator[str]:
        """Yield the answer so far, again and again. Closing the generator stops the model.

        Args:
            image: the path of a picture, or None.
            temperature, max_tokens, system: instead of those of this object. None is not given.

        Raises:
            ResponseError: the picture cannot be read, or the server fails.
        """
        limit = max_tokens or self.max_tokens
        messages = await self._messages(image, prompt, system)
        heat = self.temperature if temperature is None else temperature
        answer, shown, reason = Answer(self._show_thinking), "", ""
        repetition = Repetition()
        try:
            async with await self._client.chat.completions.create(
                messages=messages, model=self.model, max_tokens=limit, stream=True,
                temperature=openai.omit if heat is None else heat,
            ) as stream:
                async for chunk in stream:
                    thought, text, ends = read_chunk(chunk)
                    reason = ends or reason
                    answer.add(thought, text)
                    before = shown
                    shown = self._secret.out_of_answer(answer.text, is_whole=False)
                    if shown != before:
                        yield shown
                    if self._stop_repetition and repetition.found_in(answer.heard):
                        reason = "repetition"
                        break
        except openai.APIError as error:
            raise self._failure(error, limit, bool(answer.heard)) from None
        except _GARBAGE as error:
            raise ResponseError(
                "The model's server sent something that is no chat completion "
                f"({type(error).__name__}).") from None
        if not reason:
            raise ResponseError(
                "The connection to the model's server broke off in mid-answer." if answer.heard else
                f"The model's server sent no answer.{_HINT}")
        text = self._secret.out_of_answer(answer.end(), is_whole=True)
        note = answer.note(self._secret.out_of_error(reason), limit)
        if note or text != shown:
            yield f"{text}\n\n*{note}*".strip() if note else text

    async def _messages(self, image: str | None, prompt: str, system: str | None) -> Any:
        content: Any = prompt
        if image is not None:
            try:
                url = await to_thread.run_sync(
                    data_uri, image, self._max_pixels, limiter=self._decoding)
            except MediaError as error:
                raise ResponseError(str(error)) from None
            content = [{"type": "image_url", "image_url": {"url": url}}]
            content += [{"type": "text", "text": prompt}] if prompt else []
        elif not prompt:
            raise ResponseError("There is neither a question nor a picture.")
        system = self.system if system is None else system
        first = [{"role": "system", "content": system}] if system else []
        return [*first, {"role": "user", "content": content}]

    def _failure(self, error: openai.APIError, limit: int, begun: bool) -> ResponseError:
        """Return an error with the server's words and without the key."""
        if isinstance(error, openai.APIConnectionError):
            cause = error.__cause__ or error
            kind = type(cause).__name__
            detail = self._secret.out_of_error(f"{kind}: {cause}").rstrip(": ")
            if kind == "ReadTimeout":
                return ResponseError(f"The model's server was silent for {READ_TIMEOUT:g} s.")
            if begun:
                return ResponseError(f"The connection to the model's server broke off ({detail}).")
            return SpaceUnavailableError(
                "The connection to the model's server failed; it may still be starting "
                f"({detail}).", retryable=True)
        body = error.body
        said = body.get("message") or body.get("detail") if isinstance(body, dict) else body
        words = self._secret.out_of_error(str(said or error.message))
        code, wait = 0, None
        if isinstance(error, openai.APIStatusError):
            code, wait = error.status_code, retry_after_of(error.response.headers)
        status = f" (HTTP {code})" if code else ""
        if code in _QUESTIONS_FAULT and (refusal := refusal_of_length(body, words)):
            return ResponseError(
                f"The model's server says: {refusal}{status} {_TOO_LONG.format(limit)}")
        message = f"The model's server says: {words}{status}"
        if code == 429:
            return RateLimitError(message, retryable=True, retry_after=wait)
        if code >= 500:
            return SpaceUnavailableError(message, retryable=True, retry_after=wait)
        if code in (401, 403, 404):  # for the owner of this Space to mend
            return SpaceUnavailableError(message + _HINT * (code == 404))
        return ResponseError(message)
