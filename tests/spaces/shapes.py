"""A Space with endpoints of every shape: what they take, and what they give. Needs gradio 6.

An endpoint that takes a picture answers with the prompt and the picture's width, such as
``"what? 256"``. So a test sees what has reached the app.
"""

import time
from pathlib import Path

import gradio as gr
from PIL import Image

WORDS = ["one", "one two", "one two three"]
THOUGHT = gr.ChatMessage(role="assistant", content="hm", metadata={"title": "Thinking"})


# What endpoints take


def width(picture):
    """Return the width of a picture in a file, or of each in a list."""
    if isinstance(picture, (list, tuple)):
        return ",".join(width(each) for each in picture) or "no picture"
    return str(Image.open(picture).width) if picture else "no picture"


def describe(picture, prompt):
    return f"{prompt} {width(picture)}"


def describe_two(first, second, prompt):
    return f"{prompt} {width(first)} {width(second)}"


def describe_swapped(prompt, picture):
    return describe(picture, prompt)


def describe_after(first, picture, prompt):
    return f"{first} {describe(picture, prompt)}"


def describe_more(picture, prompt, state, temperature):
    return f"{describe(picture, prompt)} {state} {temperature}"


def describe_edited(editor, prompt):
    parts = ["background", "composite", "layers"]
    return " ".join([prompt, *(width(editor and editor[part]) for part in parts)])


def describe_gallery(gallery, prompt):
    return describe([picture for picture, _ in gallery or []], prompt)


def describe_message(message, number=None):
    text = describe(message["files"], message["text"])
    return text if number is None else f"{text} {number}"


def describe_message_after(first, message):
    return f"{first} {describe_message(message)}"


def answer_chat(message, history):
    return describe_message(message)


def answer_chat_with(message, history, system, number):
    return f"{system} {number} {describe_message(message)}"


def take_anything(*values):
    return "anything"


# What endpoints give


def words_for(prompt):
    """Yield the words step by step. Wait before the last step if the prompt is a path.

    The wait ends when the test makes the file.
    """
    yield from WORDS[:2]
    end = time.monotonic() + 10
    while Path(prompt).parent.is_absolute() and not Path(prompt).exists():
        time.sleep(0.01)
        if time.monotonic() > end:
            return
    yield WORDS[2]


def in_steps(wrap):
    """Return a function that gives the words step by step, each wrapped."""
    def function(image, prompt):
        yield from map(wrap, words_for(prompt))

    return function


def then(last):
    """Return a function that gives the words step by step, and then something else."""
    def function(image, prompt):
        yield from words_for(prompt)
        yield last

    return function


def user(prompt):
    return {"role": "user", "content": prompt}


def assistant(text):
    return {"role": "assistant", "content": text}


def picture_and_words(image, prompt):
    """Each step changes one of two outputs."""
    yield image, gr.skip()
    for words in words_for(prompt):
        yield gr.skip(), words
    yield image, gr.skip()


def with_emptied_box(image, prompt):
    yield "", [user(prompt)]
    for words in words_for(prompt):
        yield "", [user(prompt), assistant(words)]


def chat_in_steps(image, prompt):
    earlier = [user("before"), assistant("the answer before")]
    yield [*earlier, user(prompt)]
    yield [*earlier, user(prompt), THOUGHT]
    for words in words_for(prompt):
        yield [*earlier, user(prompt), THOUGHT, assistant(words)]


def chat_with_picture(image, prompt):
    return [user(prompt), assistant("the text"), assistant({"path": image})]


def add_chat(name, answer, **options):
    """Add a multimodal ChatInterface. ``answer`` takes what its function takes."""
    with gr.Tab(name):
        gr.ChatInterface(answer, multimodal=True, api_name=name, **options)


def thought_then_words(message, history):
    yield THOUGHT
    for words in words_for(message["text"]):
        yield [THOUGHT, assistant(words)]


def build(only=()):
    """Return the app, with all endpoints or some of them."""

    def add(name, function, inputs, outputs, **options):
        if not only or name in only:
            gr.Button().click(function, inputs, outputs, api_name=name, **options)

    with gr.Blocks() as app:
        image, other_image = gr.Image(type="filepath"), gr.Image(type="filepath")
        prompt, answer, state = gr.Textbox(), gr.Markdown(), gr.State("state")
        both, message, chatbot = [image, prompt], gr.MultimodalTextbox(), gr.Chatbot()

        add("plain", describe, both, answer)
        add("prompt_first", describe_swapped, [prompt, image], answer)
        add("more", describe_more, [*both, state, gr.Slider(0, 2, value=0.5)], answer)
        add("system", describe_after, [gr.Textbox("be brief"), image, prompt], answer)
        add("two_texts", describe_after, [gr.Textbox(), image, prompt], answer)
        add("key", describe_after, [gr.Textbox("no key", type="password"), image, prompt], answer)
        add("hidden", describe_after, [gr.Textbox("hid", visible=False), image, prompt], answer)
        add("choice", describe_after, [gr.Dropdown(["a", "b"], value="a"), image, prompt], answer)
        add("code", describe, [image, gr.Code()], answer)
        add("file", describe, [gr.File(), prompt], answer)
        add("files", describe, [gr.File(file_count="multiple"), prompt], answer)
        add("upload", describe, [gr.UploadButton(), prompt], answer)
        add("uploads", describe, [gr.UploadButton(file_count="multiple"), prompt], answer)
        add("gallery", describe_gallery, [gr.Gallery(type="filepath"), prompt], answer)
        add("imageeditor", describe_edited, [gr.ImageEditor(type="filepath"), prompt], answer)
        add("message", describe_message, [message], answer)
        add("message_more", describe_message, [message, gr.Number(7)], answer)
        add("system_message", describe_message_after, [gr.Textbox("be brief"), message], answer)
        add("image_alone", width, [image], answer)
        add("prompt_alone", lambda prompt: prompt, [prompt], answer)
        add("two_images_and_text", describe_two, [image, other_image, prompt], answer)
        add("slider", take_anything, [gr.Slider(value=1), gr.Number(1)], answer)
        add("history", take_anything, [chatbot, prompt], answer)
        for component in [gr.Audio, gr.JSON]:
            add(component.__name__.lower(), take_anything, [component(), prompt], answer)

        for component in [gr.Textbox, gr.HTML]:
            add(f"to_{component.__name__.lower()}", in_steps(str), both, component())
        add("updates", in_steps(lambda words: gr.update(value=words)), both, answer)
        add("then_skip", then(gr.skip()), both, answer)
        add("then_nothing", then(None), both, answer)
        add("nothing", lambda *both: None, both, answer)
        add("only_skip", lambda *both: gr.skip(), both, answer)
        add("second", picture_and_words, both, [other_image, answer])
        add("last", lambda *both: (1, {"a": 1}, "text", 3), both, [
            gr.Number(), gr.Label(), answer, state])
        add("by_value", lambda *both: (None, "the second"), both, [answer, gr.Textbox()])
        add("emptied_box", with_emptied_box, both, [prompt, chatbot])
        add("messages", chat_in_steps, both, chatbot)
        add("messages_picture", chat_with_picture, both, chatbot)
        add("only_thought", lambda *both: [THOUGHT], both, chatbot)
        add("unanswered", lambda image, prompt: [user(prompt)], both, chatbot)
        for component in [gr.Number, gr.Image, gr.JSON, gr.State]:
            add(f"to_{component.__name__.lower()}", take_anything, both, component())
        add("to_nothing", take_anything, both, None)

        if not only:
            add_chat("chat", answer_chat)
            add_chat("chat_message", lambda message, history: gr.ChatMessage(
                role="assistant", content=describe_message(message)))
            add_chat("chat_text", lambda message, history: {
                "text": describe_message(message), "files": []})
            add_chat("chat_list", lambda message, history: [THOUGHT, "the last"])
            add_chat("chat_words", thought_then_words)
            add_chat("chat_inputs", answer_chat_with, additional_inputs=[
                gr.Textbox("be brief"), gr.Slider(value=1)])
            # What is found where no endpoint is named: the first one of these functions
            gr.Button().click(describe, both, answer)
            prompt.submit(describe, both, answer)
            app.load(take_anything, both, answer, api_name="load")
        gr.Button().click(describe, both, answer, api_name=False)
    return app
