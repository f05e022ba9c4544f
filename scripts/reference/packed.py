"""Tiny Llamas whose weights are packed in four bits, and the same weights dequantized by plain loops of numpy.

    python3 scripts/reference/packed.py tests/golden/packed

Layouts as AutoGPTQ (qlinear_cuda_old.py), GPTQModel (gptq_v2) and AutoAWQ (gemm.py, packing_utils.py) write and read them. Every form has
asymmetric zeros, 0 and 15 among them. `dequantized/<form>.safetensors` holds the float32 weights [out, in]. Needs numpy only.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

CONFIG = {
    "model_type": "llama", "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": False, "eos_token_id": 2,
}
FORMS = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 32, "desc_act": False, "sym": False},
    "gptq_v2": {"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": False, "sym": False, "checkpoint_format": "gptq_v2"},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 32, "zero_point": True, "version": "gemm"},
}
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]
NAMES = {"float32": "F32", "float16": "F16", "int32": "I32"}


def save(path, tensors):
    header, parts, at = {}, [], 0
    for name, array in tensors.items():
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": NAMES[str(array.dtype)], "shape": list(array.shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def words(numbers):
    """[..., 8] of 4 bits -> int32 [...], the first in the lowest bits."""
    total = np.zeros(numbers.shape[:-1], dtype=np.int64)
    for i in range(8):
        total |= numbers[..., i].astype(np.int64) << (4 * i)
    return np.where(total >= 2**31, total - 2**32, total).astype(np.int32)


def packed(q, zero, form):
    """q: [in, out], zero: [groups, out], both in 0..15 -> qweight, qzeros."""
    if form == "awq":
        order = lambda x: words(x.reshape(len(x), -1, 8)[:, :, AWQ_ORDER])
        return order(q), order(zero)
    stored = (zero - 1) % 16 if form == "gptq" else zero
    return words(q.reshape(-1, 8, q.shape[1]).transpose(0, 2, 1)), words(stored.reshape(len(zero), -1, 8))


def main():
    out = Path(sys.argv[1])
    (out / "dequantized").mkdir(parents=True, exist_ok=True)
    width, inner, keys = 64, 96, 32
    layer = "model.layers.0."
    sizes = {f"{layer}self_attn.{p}_proj": (width, o) for p, o in (("q", width), ("k", keys), ("v", keys), ("o", width))}
    sizes |= {f"{layer}mlp.gate_proj": (width, inner), f"{layer}mlp.up_proj": (width, inner), f"{layer}mlp.down_proj": (inner, width)}
    for seed, (form, settings) in enumerate(FORMS.items()):
        random = np.random.default_rng(seed)
        tensors = {
            "model.embed_tokens.weight": random.normal(size=(96, width)).astype(np.float16),
            "lm_head.weight": random.normal(scale=0.2, size=(96, width)).astype(np.float16),
            "model.norm.weight": np.ones(width, np.float16),
            f"{layer}input_layernorm.weight": np.ones(width, np.float16),
            f"{layer}post_attention_layernorm.weight": np.ones(width, np.float16),
        }
        floats = {}
        for module, (inputs, outputs) in sizes.items():
            group = settings["group_size"]
            q = random.integers(0, 16, size=(inputs, outputs))
            zero = random.integers(0, 16, size=(inputs // group, outputs))
            scales = random.uniform(0.01, 0.03, size=(inputs // group, outputs)).astype(np.float16)
            qweight, qzeros = packed(q, zero, form)
            tensors |= {f"{module}.qweight": qweight, f"{module}.qzeros": qzeros, f"{module}.scales": scales}
            if form != "awq":
                tensors[f"{module}.g_idx"] = (np.arange(inputs) // group).astype(np.int32)
            weight = np.zeros((outputs, inputs), np.float32)
            for o in range(outputs):
                for i in range(inputs):
                    weight[o, i] = np.float32(scales[i // group, o]) * np.float32(q[i, o] - zero[i // group, o])
            floats[f"{module}.weight"] = weight
        folder = out / form
        folder.mkdir(exist_ok=True)
        save(folder / "model.safetensors", tensors)
        (folder / "config.json").write_text(json.dumps({**CONFIG, "quantization_config": settings}, indent=2) + "\n")
        save(out / "dequantized" / f"{form}.safetensors", floats)


main()
