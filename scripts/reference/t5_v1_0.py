"""A tiny T5 of the original form (v1.0), its logits and its greedy tokens.

    python3 scripts/reference/t5_v1_0.py tests/golden/t5_v1_0

Written out from the paper (arXiv:1910.10683) and the facts of transformers' modeling_t5.py: ReLU feed-forward, one embedding for encoder,
decoder and head, the head's input multiplied by d_model^-0.5, no scaling of the scores, one table of relative position biases a stack
(its last bucket holds every distance from relative_attention_max_distance on), RMSNorm before each sub-layer, no biases.
"""
import json, math, os, struct, sys
import torch

out = sys.argv[1]
torch.manual_seed(10)
D, KV, HEADS, FF, LAYERS, VOCAB, BUCKETS, FAR = 32, 8, 3, 48, 2, 64, 8, 12
NONE = torch.finfo(torch.float32).min


def write(path, tensors):
    kinds, header, blobs, offset = {torch.float32: "F32", torch.int64: "I64"}, {"__metadata__": {"format": "pt"}}, [], 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].dtype == torch.float32, item[0])):
        blob = tensor.contiguous().numpy().tobytes()
        header[name] = {"dtype": kinds[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def attention_weights(path):
    inner = HEADS * KV
    sizes = {"q": (inner, D), "k": (inner, D), "v": (inner, D), "o": (D, inner)}
    return {f"{path}.{name}.weight": torch.randn(size) * 0.3 for name, size in sizes.items()}


w = {"shared.weight": torch.randn(VOCAB, D)}
for stack in ("encoder", "decoder"):
    for i in range(LAYERS):
        block = f"{stack}.block.{i}.layer"
        w |= attention_weights(f"{block}.0.SelfAttention")
        if stack == "decoder":
            w |= attention_weights(f"{block}.1.EncDecAttention")
        last = 2 if stack == "decoder" else 1
        w[f"{block}.{last}.DenseReluDense.wi.weight"] = torch.randn(FF, D) * 0.3
        w[f"{block}.{last}.DenseReluDense.wo.weight"] = torch.randn(D, FF) * 0.3
        for layer in range(last + 1):
            w[f"{block}.{layer}.layer_norm.weight"] = 1 + 0.1 * torch.randn(D)
    w[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = torch.randn(BUCKETS, HEADS)
    w[f"{stack}.final_layer_norm.weight"] = 1 + 0.1 * torch.randn(D)


def norm(x, path):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * w[path + ".weight"]


def bucket(distance, both_sides):  # distance: key position - query position
    buckets, offset = BUCKETS, 0
    if both_sides:
        buckets //= 2
        offset = buckets if distance > 0 else 0
        distance = abs(distance)
    else:
        distance = -min(distance, 0)
    exact = buckets // 2
    if distance < exact:
        return offset + distance
    far = exact + int(math.log(distance / exact) / math.log(FAR / exact) * (buckets - exact))
    return offset + min(far, buckets - 1)


def bias(stack, queries, keys):  # [heads, queries, keys]
    table = w[f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    index = torch.tensor([[bucket(k - q, stack == "encoder") for k in range(keys)] for q in range(queries)])
    return table[index].permute(2, 0, 1)


def attend(x, memory, path, added):
    heads = lambda t: t.reshape(*t.shape[:2], HEADS, KV).transpose(1, 2)
    q, k, v = (heads(t @ w[f"{path}.{name}.weight"].T) for name, t in (("q", x), ("k", memory), ("v", memory)))
    mixed = (q @ k.transpose(2, 3) + added).softmax(-1) @ v
    return mixed.transpose(1, 2).reshape(*x.shape[:2], HEADS * KV) @ w[f"{path}.o.weight"].T


def run(stack, ids, mask, encoded=None):
    x, length = w["shared.weight"][ids], ids.shape[1]
    seen = mask[:, None, None].bool() if encoded is None else torch.ones(length, length).tril().bool()[None, None]
    added = bias(stack, length, length)[None] + torch.where(seen, 0.0, NONE)
    for i in range(LAYERS):
        block = f"{stack}.block.{i}.layer"
        h = norm(x, f"{block}.0.layer_norm")
        x = x + attend(h, h, f"{block}.0.SelfAttention", added)
        if encoded is not None:
            h = norm(x, f"{block}.1.layer_norm")
            x = x + attend(h, encoded, f"{block}.1.EncDecAttention", torch.where(mask[:, None, None].bool(), 0.0, NONE))
        last = 1 if encoded is None else 2
        h = norm(x, f"{block}.{last}.layer_norm")
        x = x + (h @ w[f"{block}.{last}.DenseReluDense.wi.weight"].T).relu() @ w[f"{block}.{last}.DenseReluDense.wo.weight"].T
    return norm(x, f"{stack}.final_layer_norm")


def logits(ids, mask, decoder_ids):
    return run("decoder", decoder_ids, mask, run("encoder", ids, mask)) * D**-0.5 @ w["shared.weight"].T


ids, decoder_ids = torch.randint(2, VOCAB, (3, 20)), torch.randint(2, VOCAB, (3, 15))
decoder_ids[:, 0] = 0
mask = torch.ones(3, 20, dtype=torch.int64)
mask[1, 13:], mask[2, :6] = 0, 0  # padding at the end, and at the beginning
greedy = torch.zeros(3, 1, dtype=torch.int64)
for _ in range(20):
    greedy = torch.cat((greedy, logits(ids, mask, greedy)[:, -1].argmax(-1, keepdim=True)), 1)

os.makedirs(f"{out}/model", exist_ok=True)
config = {
    "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "vocab_size": VOCAB, "d_model": D, "d_kv": KV, "d_ff": FF,
    "num_layers": LAYERS, "num_heads": HEADS, "relative_attention_num_buckets": BUCKETS, "relative_attention_max_distance": FAR,
    "dropout_rate": 0.1, "layer_norm_epsilon": 1e-6, "feed_forward_proj": "relu", "is_encoder_decoder": True,
    "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1,
}
json.dump(config, open(f"{out}/model/config.json", "w"), indent=2)
write(f"{out}/model/model.safetensors", w)
write(f"{out}/golden.safetensors", {
    "input_ids": ids, "attention_mask": mask, "decoder_input_ids": decoder_ids, "logits": logits(ids, mask, decoder_ids),
    "gen_input_ids": ids, "gen_attention_mask": mask, "gen_new_tokens": greedy[:, 1:],
})
