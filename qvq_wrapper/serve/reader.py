"""The text reader: text recognition with RapidOCR, whose wheel contains the models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

# RapidOCR needs it too. Imported here, because two threads must not import it at the same time.
import onnxruntime  # type: ignore[import-untyped]  # noqa: F401
from rapidocr import RapidOCR
from rapidocr.utils.process_img import get_rotate_crop_image

from .child import SAMPLE
from .picture import open_picture

TITLE = "A text reader in place of QVQ"
ABOUT = f"""# {TITLE}
This is not QVQ. It is a small program that reads the text in a picture. It understands neither the
picture nor the question. Pictures stay on its machine, and are deleted after about an hour."""
INTRO = "*A text reader in place of QVQ: it reads the text in a picture and answers no questions.*"
NO_PICTURE = "There is no picture. Send one with the question."
NO_TEXT = "I found no readable text. I can miss text that is small, blurred or handwritten."
ESTIMATE = "The percentages are my own estimates. I leave out lines that I cannot read."
MIN_SCORE = 0.5  # of a line that is shown, from 0 to 1


class Reader:
    """Finds and reads lines of text. Loads its models in the background; any thread may use it."""

    def __init__(self) -> None:
        # RapidOCR stores a call's options in its own attributes, so only one thread may use it.
        self._worker = ThreadPoolExecutor(1)
        self._engine = self._worker.submit(_load)

    def answer(self, picture: str | None) -> Iterator[str]:
        """Yield growing Markdown with the text in a picture file, from top to bottom.

        Raises:
            MediaError: the file cannot be read, or the picture is too large.
        """
        yield INTRO
        if picture is None:
            yield f"{INTRO}\n\n{NO_PICTURE}"
            return
        engine = self._engine.result()
        with open_picture(picture):
            image = engine.load_img(picture)
        boxes = self._run(image, use_det=True, use_cls=False, use_rec=False).boxes
        text = f"{INTRO}\n"
        for box in () if boxes is None else boxes:
            line_image = get_rotate_crop_image(image, box)
            found = self._run(line_image, use_det=False, use_cls=True, use_rec=True)
            line = found.txts[0].strip() if found.txts else ""
            if line and found.scores[0] >= MIN_SCORE:
                text += f"\n- {_code_span(line)} ({min(99, int(found.scores[0] * 100))}% sure)"
                yield text
        yield f"{text}\n\n{ESTIMATE}" if "\n-" in text else f"{text}\n{NO_TEXT}"

    def _run(self, image: Any, **steps: bool) -> Any:
        return self._worker.submit(self._engine.result(), image, **steps).result()


def _load() -> RapidOCR:
    # By default RapidOCR enlarges small pictures first. That takes seconds and finds no more text.
    options = {"Global.log_level": "critical", "Det.limit_type": "max", "Det.limit_side_len": 1280}
    engine = RapidOCR(params=options)
    engine(str(SAMPLE))  # a first run loads the models
    return engine


def _code_span(line: str) -> str:
    """Return ``line`` as a code span (https://spec.commonmark.org/0.31.2/#code-spans)."""
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    return f"{fence} {line} {fence}" if "`" in line else f"`{line}`"
