"""The forms in which people give a Space's address."""

import pytest
from cases import each

from qvq_wrapper.question.address import space_url


def test_an_address():
    for case, (given, url) in each([
        ("Qwen/QVQ-72B_preview.2", "https://qwen-qvq-72b-preview-2.hf.space/"),
        (" a/b/\n", "https://a-b.hf.space/"),
        ("https://huggingface.co/spaces/a/b/tree/main", "https://a-b.hf.space/"),
        ("https://huggingface.co/spaces/a/b?view=api#x", "https://a-b.hf.space/"),
        ("https://www.HuggingFace.co/spaces/a/b.c/", "https://a-b-c.hf.space/"),
        ("hf.co/spaces/a/b", "https://a-b.hf.space/"),
        ("http://h", "http://h/"),
        ("https://h:1/a/b/?x=1#y", "https://h:1/a/b/"),
        ("https://h/calls/x", "https://h/calls/x/"),
        ("https://hf.co.example.com/spaces/a/b", "https://hf.co.example.com/spaces/a/b/"),
    ]):
        with case:
            assert space_url(given) == url


def test_what_to_write_instead():
    for case, (given, message) in each([
        ("https://huggingface.co/a/b", "not a Space's page"),
        ("https://hf.co./api/spaces", "not a Space's page"),
        ("a-b.hf.space", "write https://a-b.hf.space"),
        ("localhost:7860/x", "write http://localhost:7860/x"),
        ("[::1]:7860", r"write http://\[::1\]:7860"),
        ("http://h/gradio_api/call/generate", "without /gradio_api/call/generate. .*api_name"),
        ("http://h/x/run/predict", "without /run/predict"),
        ("http://h/queue/join?x", "without /queue/join"), ("http://h/config", "without /config"),
        ("https://user@huggingface.co/spaces/a/b", "without user and password"),
        ("ftp://h", "must be an http"), ("http://", "must be an http"), ("", "must be an http"),
        ("http://a b", "must be an http"), ("http://h:port", "must be an http"),
    ]):
        with case, pytest.raises(ValueError, match=message):
            space_url(given)
