"""What servers say that speak OpenAI's chat completions, each in a dialect of its own."""

from __future__ import annotations

import json
import re
from typing import Any

_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Fields of a delta that hold a thought. vLLM and OpenRouter say ``reasoning``, and llama.cpp,
SGLang and DeepSeek ``reasoning_content``. Some send both, with the same words."""
_ENDS = {
    "stop": "stop", "eos": "stop", "eos_token": "stop", "stop_sequence": "stop",
    "end_turn": "stop", "length": "length", "max_tokens": "length"}
"""Reasons for the end of an answer, as Together AI, TGI, Anthropic and Google have them too."""
_TOO_LONG = re.compile(r"""
    context[ _](?:length|size|window) | maximum\ (?:model|prompt)\ length | prompt\ is\ too\ long
    | max_(?:new_|completion_)?tokens\W+(?:is\ too\ large|(?:must|should)\ be|\d+\ >)
    | `inputs`\ must\ have\ less | range\ of\ input\ length""", re.X | re.I)
_CODES = ("context_length_exceeded", "exceed_context_size_error")


def read_chunk(chunk: object) -> tuple[str, str, str]:
    """Return what a chunk adds: a thought, a text, and the reason if the answer ends with it.

    Each may be "". This takes anything, and finds nothing in what it does not know.
    A chunk need not have a choice, nor a choice a delta: Azure sends the results of its filters so
    (https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-streaming).
    """
    choices = getattr(chunk, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    delta = getattr(choice, "delta", None)
    content = getattr(delta, "content", None)
    thoughts = [getattr(delta, name, None) for name in _THOUGHTS]
    thought = next(filter(None, map(_text_of, thoughts)), "") or _text_of(content, True)
    text = _text_of(content) or _text_of(getattr(delta, "refusal", None))
    reason = getattr(choice, "finish_reason", None)
    reason = reason if isinstance(reason, str) else ""
    return thought, text, _ENDS.get(reason.lower(), reason)


def _text_of(content: Any, of_thoughts: bool = False) -> str:
    """Return the text in a string or in a list of parts. A part is either a text or a thought.

    Mistral sends parts. Cloudflare sends numbers and truth values that are text
    (https://github.com/cloudflare/ai/issues/651).
    """
    if isinstance(content, list):
        return "".join(_text_of(part, of_thoughts) for part in content)
    if isinstance(content, dict):
        is_thought = content.get("type") in ("thinking", "reasoning")
        inner = content.get("thinking") or content.get("summary") or content.get("text")
        return _text_of(inner) if is_thought == of_thoughts else ""
    if of_thoughts:
        return ""
    if isinstance(content, (int, float)):
        return json.dumps(content)
    return content if isinstance(content, str) else ""


def refusal_of_length(body: object, words: str) -> str:
    """Return the words of a server whose model's context is too short, with its numbers, or "".

    Args:
        body: the error as the server sent it. llama.cpp has its numbers only there.
        words: the error in words.
    """
    fields = body if isinstance(body, dict) else {}
    is_refusal = fields.get("code") in _CODES or fields.get("type") in _CODES or (
        _TOO_LONG.search(words) and re.search(r"\d|exceed|greater", words))
    if not is_refusal:
        return ""
    numbers = [f"{name} {fields[name]}" for name in ("n_prompt_tokens", "n_ctx")
               if isinstance(fields.get(name), int)]
    return f"{words} ({', '.join(numbers)})" if numbers else words
