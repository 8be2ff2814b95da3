"""Uses every public name as a user would. It is never run: mypy --strict and pyright check it."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

import ssl
from pathlib import Path
from typing import Any

import numpy
from matplotlib.figure import Figure
from PIL import Image

from qvq_wrapper import (
    AnswerStream, AsyncGeneratorProvider, AsyncResult, AuthenticationError, EndpointInfo, ImageType,
    MediaError, MediaListType, Messages, ModelNotSupportedError, ParameterInfo, ProviderModelMixin,
    Qwen_QVQ_72B, RateLimitError, ResponseError, ResponseTimeoutError, SpaceConnectionError,
    SpaceUnavailableError, Status, ask, endpoints,
)


async def documented(messages: Messages) -> str:
    async_generator = await Qwen_QVQ_72B.create_async_generator(
        model="qwen-qvq-72b-preview", messages=Messages([{"role": "user", "content": "Hello"}]))
    async for chunk in async_generator:
        print(chunk.upper())
    return await Qwen_QVQ_72B.create_async("qvq-72b", messages)


async def short_form(picture: ImageType) -> AnswerStream:
    async with ask("What is the area?", picture, timeout=60, on_status=on_status) as stream:
        async for chunk in stream:
            print(chunk, end="", flush=True)
    text: str = stream.text
    print(text, await ask("What is this?").read(), stream.status.stage == "finished")
    answer: AsyncResult = ask("What is this?", Path("photo.jpg"), model="qvq-72b", api_key="hf_x")
    await answer.aclose()
    return answer


def on_status(status: Status) -> None:
    if status.position is not None and status.eta is not None:
        print(status.stage, status.position, status.queue_size, f"{status.eta:.0f} s")
        print(status.progress, status.log)


def synchronous(messages: Messages, stream: AnswerStream) -> list[str]:
    chunks = Qwen_QVQ_72B.create_completion("qvq-72b", messages, max_retries=0)
    for chunk in chunks:
        print(chunk.upper())
    chunks.close()
    stream.cancel()
    return [chunk.upper() for chunk in stream] + list(stream.iterate())


async def errors() -> None:
    try:
        await ask("What is this?", "photo.jpg").read()
    except (
        AuthenticationError, RateLimitError, SpaceConnectionError, SpaceUnavailableError
    ) as error:
        seconds: float = error.retry_after or 0.0
        print(seconds, error.status_code, error.retryable, error.text.upper())
    except ResponseTimeoutError as error:
        as_builtin: TimeoutError = error
        print(as_builtin)
    except ResponseError as error:
        print(error.message.upper())
    except (MediaError, ModelNotSupportedError) as error:
        mistake: ValueError = error
        print(mistake)


def pictures(figure: Figure, array: numpy.ndarray[Any, Any]) -> MediaListType:
    with open("photo.jpg", "rb") as file:
        return [
            b"...", bytearray(), "photo.jpg", Path("photo.jpg"), file, figure, figure.gca(), array,
            Image.open("photo.jpg"), (b"...", "x.png"), (file, None)]


def options(figure: Any) -> AnswerStream:
    return ask(
        "What is this?", figure, url="owner/name", api_name="/describe",
        parameters={"temperature": 0.2}, timeout=None, read_timeout=None, max_retries=0,
        max_chars=1000, on_status=print, headers={"X": "y"}, verify=ssl.create_default_context(),
        auth=("user", "password"))


def offers(headers: dict[str, str]) -> list[str]:
    found: list[EndpointInfo] = endpoints("owner/name", api_key="hf_x", headers=headers)
    parameters: list[ParameterInfo] = [each for offer in found for each in offer.parameters]
    names = [offer.prompt or offer.problem.upper() for offer in found if not offer.fits]
    return names + [each.name + each.type for each in parameters if not each.required]


def misuse() -> None:
    """Each line is a mistake. A checker that accepts one complains of the comment."""
    ask("What is this?", timeot=5)  # type: ignore[call-arg]
    ask("What is this?", timeout="5")  # type: ignore[arg-type]
    ask("What is this?", on_status=3)  # type: ignore[arg-type]
    ask("What is this?", parameters=[("temperature", 0.2)])  # type: ignore[arg-type]
    ask(b"...", "What is this?")  # type: ignore[arg-type]
    ask("What is this?", ["a.png", "b.png"])  # type: ignore[arg-type]
    Qwen_QVQ_72B.create_async_generator("", [], "a.png")  # type: ignore[arg-type]
    endpoints("owner/name", "hf_x")  # type: ignore[call-arg]


class MySpace(Qwen_QVQ_72B):
    url = "http://127.0.0.1:7860"
    api_endpoint = "/gradio_api/call/describe"
    models = ["mine"]
    timeout = 300
    api_key = "hf_x"


def classes() -> list[type[AsyncGeneratorProvider]]:
    print(MySpace.ask("What is this?"), MySpace.get_models(), MySpace.get_model("mine"))
    names: type[ProviderModelMixin] = MySpace
    print(names.default_model, MySpace.get_dict()["url"])
    return [Qwen_QVQ_72B, MySpace]
