"""The one who looks at the picture: RapidOCR, whose models come in its wheel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import onnxruntime  # type: ignore[import-untyped]  # noqa: F401  here, lest two threads import at once
from rapidocr import RapidOCR
from rapidocr.utils.process_img import get_rotate_crop_image

from .child import SAMPLE


class Reader:
    """Finds and reads lines of text; usable from any thread. Loading starts at once, in the background."""

    def __init__(self) -> None:
        # RapidOCR keeps a call's options on itself, so that only one thread may use it.
        self._worker = ThreadPoolExecutor(1)
        self._engine = self._worker.submit(_load)

    def find(self, picture: str) -> list[Any]:
        """What looks like a line of text in a picture file, cut out, from top to bottom.

        Raises:
            OSError: it is no picture, or a broken one.
        """
        image = self._engine.result().load_img(picture)
        boxes = self._run(image, use_det=True, use_cls=False, use_rec=False).boxes
        return [] if boxes is None else [get_rotate_crop_image(image, box) for box in boxes]

    def read(self, cutting: Any) -> tuple[str, float]:
        """The text of one line, perhaps empty, and the reader's own estimate, 0 to 1, that it is right."""
        result = self._run(cutting, use_det=False, use_cls=True, use_rec=True)
        return (result.txts[0].strip(), float(result.scores[0])) if result.txts else ("", 0.0)

    def _run(self, image: Any, **steps: bool) -> Any:
        return self._worker.submit(self._engine.result(), image, **steps).result()


def _load() -> RapidOCR:
    # By default it enlarges small pictures first, which takes seconds and finds no more.
    options = {"Global.log_level": "critical", "Det.limit_type": "max", "Det.limit_side_len": 1280}
    engine = RapidOCR(params=options)
    engine(str(SAMPLE))  # loads each model, which it does at the first need
    return engine
