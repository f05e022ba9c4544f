"""Golden logits of Qwen (2023) past its trained length, from the weights of tests/golden/qwen with seq_length 10.

    python3 scripts/reference/qwen.py tests/golden/qwen tests/golden/qwen_beyond

Written out from the facts of modeling_qwen.py: rotary positions count array slots; each row's base grows by
alpha = max(2^ceil(log2(real tokens / seq_length) + 1) - 1, 1) once the array is longer than seq_length; queries at slot p
(from 0) are multiplied by log_seq_length(p + 1) where that is above 1.
"""
import json, math, os, struct, sys
import torch

source, out = sys.argv[1], sys.argv[2]
SEQ = 10


def read(path):
    blob = open(path, "rb").read()
    size = struct.unpack("<Q", blob[:8])[0]
    kinds = {"F32": torch.float32, "I64": torch.int64}
    header = json.loads(blob[8:8 + size])
    return {n: torch.frombuffer(bytearray(blob[8 + size + i["data_offsets"][0]:8 + size + i["data_offsets"][1]]), dtype=kinds[i["dtype"]]).reshape(i["shape"])
            for n, i in header.items() if n != "__metadata__"}


def write(path, tensors):
    kinds, header, blobs, offset = {torch.float32: "F32", torch.int64: "I64"}, {"__metadata__": {"made_by": "scripts/reference/qwen.py"}}, [], 0
    for name, tensor in tensors.items():
        blob = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


c = json.load(open(f"{source}/model/config.json"))
w = read(f"{source}/model/model.safetensors")
heads, width = c["num_attention_heads"], c["hidden_size"]
size = width // heads


def rms(x, name):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + c["layer_norm_epsilon"]) * w[name + ".weight"]


def rotate(x, angle):  # x: [slots, heads, size]
    angle = torch.cat((angle, angle), -1)[:, None]
    a, b = x.chunk(2, -1)
    return x * angle.cos() + torch.cat((-b, a), -1) * angle.sin()


def row_logits(ids, mask):
    slots = len(ids)
    real = int(mask.sum())
    alpha = max(2 ** math.ceil(math.log(real / SEQ, 2) + 1) - 1, 1) if slots > SEQ else 1
    base = c["rotary_emb_base"] * alpha ** (size / (size - 2))
    angle = torch.outer(torch.arange(slots).float(), 1.0 / base ** (torch.arange(0, size, 2).float() / size))
    logn = torch.tensor([math.log(p, SEQ) if p > SEQ else 1 for p in range(1, slots + 1)])
    seen = torch.ones(slots, slots).tril().bool() & mask[None].bool()
    x = w["transformer.wte.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        p = f"transformer.h.{i}."
        fused = rms(x, p + "ln_1") @ w[p + "attn.c_attn.weight"].T + w[p + "attn.c_attn.bias"]
        q, k, v = (t.reshape(slots, heads, size) for t in fused.split(width, -1))
        q, k = rotate(q, angle) * logn[:, None, None], rotate(k, angle)
        scores = torch.einsum("qhd,khd->hqk", q, k) / size ** 0.5
        weights = scores.masked_fill(~seen, torch.finfo(torch.float32).min).softmax(-1)
        x = x + torch.einsum("hqk,khd->qhd", weights, v).reshape(slots, width) @ w[p + "attn.c_proj.weight"].T
        h = rms(x, p + "ln_2")
        inner = (h @ w[p + "mlp.w1.weight"].T) * torch.nn.functional.silu(h @ w[p + "mlp.w2.weight"].T)
        x = x + inner @ w[p + "mlp.c_proj.weight"].T
    return rms(x, "transformer.ln_f") @ w["lm_head.weight"].T


given = read(f"{source}/golden.safetensors")
ids, mask = given["input_ids"], given["attention_mask"]
os.makedirs(out, exist_ok=True)
logits = torch.stack([row_logits(i, m) for i, m in zip(ids, mask)])
write(f"{out}/golden.safetensors", {"input_ids": ids, "attention_mask": mask, "logits": logits})

SEQ = c["seq_length"]
check = torch.stack([row_logits(i, m) for i, m in zip(ids, mask)])
print("within the trained length, from the official golden:", float((check - given["logits"])[mask == 1].abs().max()))
