"""Text recognition with RapidOCR, whose wheel contains the models."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

# RapidOCR needs it too. Imported here, because two threads must not import it at the same time.
import onnxruntime  # type: ignore[import-untyped]  # noqa: F401
from rapidocr import RapidOCR
from rapidocr.utils.process_img import get_rotate_crop_image

from .child import SAMPLE


class Reader:
    """Finds and reads lines of text. Loads its models in the background; any thread may use it."""

    def __init__(self) -> None:
        # RapidOCR stores a call's options in its own attributes, so only one thread may use it.
        self._worker = ThreadPoolExecutor(1)
        self._engine = self._worker.submit(_load)

    def find_lines(self, picture: str) -> list[Any]:
        """Return an image (a numpy array) of each line of text in a file, from top to bottom.

        Raises:
            OSError: the file is not a picture, or the picture is damaged.
        """
        image = self._engine.result().load_img(picture)
        boxes = self._run(image, use_det=True, use_cls=False, use_rec=False).boxes
        return [] if boxes is None else [get_rotate_crop_image(image, box) for box in boxes]

    def read_line(self, line_image: Any) -> tuple[str, float]:
        """Return the text of a line, perhaps empty, and RapidOCR's score for it, from 0 to 1."""
        result = self._run(line_image, use_det=False, use_cls=True, use_rec=True)
        return (result.txts[0].strip(), float(result.scores[0])) if result.txts else ("", 0.0)

    def _run(self, image: Any, **steps: bool) -> Any:
        return self._worker.submit(self._engine.result(), image, **steps).result()


def _load() -> RapidOCR:
    # By default RapidOCR enlarges small pictures first. That takes seconds and finds no more text.
    options = {"Global.log_level": "critical", "Det.limit_type": "max", "Det.limit_side_len": 1280}
    engine = RapidOCR(params=options)
    engine(str(SAMPLE))  # a first run loads the models
    return engine
