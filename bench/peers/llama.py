"""The peer of Skein's bench: the same Llama work in plain PyTorch, without transformers.

A random Llama (RMSNorm, rotary positions, SwiGLU, untied head; semantics of Hugging Face's modeling_llama.py) is timed on:
a forward pass and a LoRA training step (rank 16 on every projection, AdamW) of 8 x 128 tokens, and greedy decoding with a
key-value cache at batch 1 and 8.

Prints one JSON object; times are medians in milliseconds, of decoding per step. `blasGflops` tells a reader how fast this
PyTorch multiplies matrices: a few GFLOP/s per core mean the slow reference BLAS; install libopenblas0-pthread.

    python3 bench/peers/llama.py [--threads 2] [--repeats 5]
"""

import argparse
import json
import time

import torch
import torch.nn.functional as F
from torch import nn

from t5 import Linear, RmsNorm, add_lora, blas_gflops, median_ms, precision

PROMPT, NEW_TOKENS = 32, 64


def rotated(x, positions):
    """x: [batch, heads, sequence, size], turned by positions: [sequence]."""
    half = x.shape[-1] // 2
    angles = positions[:, None].float() * 10000.0 ** (-torch.arange(half).float() / half)
    left, right = x[..., :half], x[..., half:]
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)


class Block(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.heads = heads
        self.norm, self.last_norm = RmsNorm(width), RmsNorm(width)
        self.q, self.k, self.v, self.o = (Linear(width, width) for _ in range(4))
        self.gate, self.up, self.down = Linear(width, inner), Linear(width, inner), Linear(inner, width)

    def forward(self, x, positions, mask, past):
        def split(t):
            return t.view(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2)

        h = self.norm(x)
        q, k, v = rotated(split(self.q(h)), positions), rotated(split(self.k(h)), positions), split(self.v(h))
        if past is not None:  # preallocated, written in place
            keys, values = past
            start, end = int(positions[0]), int(positions[-1]) + 1
            keys[:, :, start:end], values[:, :, start:end] = k, v
            k, v = keys[:, :, :end], values[:, :, :end]
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        weights = (scores if mask is None else scores + mask).softmax(-1)
        x = x + self.o((weights @ v).transpose(1, 2).flatten(2))
        h = self.last_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, width, layers, heads, inner, vocabulary):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Block(width, heads, inner) for _ in range(layers))
        self.norm, self.lm_head = RmsNorm(width), Linear(width, vocabulary)

    def projections(self):
        return [m for name, m in self.named_modules() if isinstance(m, Linear) and name != "lm_head"]

    def forward(self, ids, start=0, cache=None, last=False):
        n = ids.shape[1]
        positions = torch.arange(start, start + n)
        mask = torch.triu(torch.full((n, n), torch.finfo(torch.float32).min), 1) if n > 1 else None
        x = self.embedding(ids)
        for i, layer in enumerate(self.layers):
            x = layer(x, positions, mask, None if cache is None else cache[i])
        return self.lm_head(self.norm(x[:, -1:] if last else x))


def decode_ms(model, batch, repeats, options):
    """Milliseconds of one greedy step, the prompt apart."""
    ids = torch.randint(3, options.vocabulary, (batch, PROMPT))
    size = (batch, options.heads, PROMPT + NEW_TOKENS, options.width // options.heads)
    times = []
    with torch.no_grad(), precision(options.bfloat16):
        for _ in range(repeats + 1):
            cache = [(torch.zeros(size), torch.zeros(size)) for _ in model.layers]
            token = model(ids, 0, cache, True).argmax(-1)
            start = time.perf_counter()
            for i in range(NEW_TOKENS):
                token = model(token, PROMPT + i, cache, True).argmax(-1)
            times.append((time.perf_counter() - start) * 1e3 / NEW_TOKENS)
    return round(sorted(times[1:])[repeats // 2], 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"width": 512, "layers": 8, "heads": 8, "inner": 1376, "vocabulary": 8192, "batch": 8, "inputs": 128}
    for name, value in {**sizes, "threads": 2, "repeats": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--bfloat16", action="store_true", help="compute products in bfloat16 (autocast)")
    parser.add_argument("--least-gflops", type=float, default=0, help="stop after the speed of a matrix product if it is lower")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = Llama(options.width, options.layers, options.heads, options.inner, options.vocabulary)
    ids = torch.randint(3, options.vocabulary, (options.batch, options.inputs))
    labels = torch.randint(3, options.vocabulary, (options.batch, options.inputs))

    def forward():
        with torch.no_grad(), precision(options.bfloat16):
            model(ids)

    result = {"torch": torch.__version__, "threads": options.threads, "blasGflops": blas_gflops()}
    if result["blasGflops"] < options.least_gflops:
        print(json.dumps(result))
        return
    result["forwardMs"] = median_ms(forward, options.repeats)
    result["decodeMs"] = decode_ms(model, 1, options.repeats, options)
    result["decode8Ms"] = decode_ms(model, 8, options.repeats, options)
    learning = add_lora(model)
    optimizer = torch.optim.AdamW(learning, lr=5e-3, weight_decay=0.0)

    def step():
        with precision(options.bfloat16):
            logits = model(ids)
        loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()

    result["loraStepMs"] = median_ms(step, options.repeats)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
