"""The one who looks at the picture: RapidOCR, whose models come in its wheel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import onnxruntime  # noqa: F401  (RapidOCR would import it in the worker, while this thread imports gradio)
from rapidocr import RapidOCR
from rapidocr.utils.process_img import get_rotate_crop_image

from .child import SAMPLE


class Reader:
    """Finds and reads lines of text. Usable from any thread; loading starts at once, in the background."""

    def __init__(self) -> None:
        # RapidOCR keeps the options of a call on itself, so that only one thread may use it.
        self._worker = ThreadPoolExecutor(1, "reader")
        self._engine = self._worker.submit(_load)

    def find(self, picture: str) -> list[Any]:
        """The places of the picture file that look like lines of text, cut out, from top to bottom.

        Raises:
            OSError: it is no picture, or a broken one.
        """
        image = self._engine.result().load_img(picture)
        boxes = self._run(image, use_det=True, use_cls=False, use_rec=False).boxes
        return [] if boxes is None else [get_rotate_crop_image(image, box) for box in boxes]

    def read(self, place: Any) -> tuple[str, float]:
        """The text of one place, and the reader's own estimate, 0 to 1, that it is right."""
        result = self._run(place, use_det=False, use_cls=True, use_rec=True)
        return (result.txts[0].strip(), float(result.scores[0])) if result.txts else ("", 0.0)

    def _run(self, image: Any, **steps: bool) -> Any:
        return self._worker.submit(self._engine.result(), image, **steps).result()


def _load() -> RapidOCR:
    # By default RapidOCR enlarges a small picture, up to a hundredfold, which takes seconds and finds no more.
    engine = RapidOCR(params={"Global.log_level": "critical", "Det.limit_type": "max", "Det.limit_side_len": 1600})
    engine(str(SAMPLE))  # it loads each of its models at the first need
    return engine
