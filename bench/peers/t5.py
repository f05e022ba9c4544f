"""The peer of Skein's bench: the same T5 work in plain PyTorch, without transformers.

A random T5 v1.1 (gated GELU, RMSNorm, relative position buckets, untied head; semantics of Hugging Face's
modeling_t5.py) is timed on: a forward pass, a LoRA training step (rank 16 on q k v o wi_0 wi_1 wo, AdamW), and with
--routed N a forward pass routed over N experts as the PHATGOOSE authors' code does it (src/models/addons/moe.py of
r-three/phatgoose: scores of all experts, softmax, top-2, renormalize, sort the tokens by expert, two products per expert).

Prints one JSON object; times are medians in milliseconds. Debian's torch may come with the slow reference BLAS: `blas`
says how fast a matrix product is, so that a reader can tell (a few GFLOP/s per core means reference BLAS; install
libopenblas0-pthread).

    python3 bench/peers/t5.py [--routed 166] [--threads 2] [--repeats 5]
"""

import argparse
import json
import math
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn

NEVER = torch.finfo(torch.float32).min
RANK = 16


def buckets(queries, keys, both_ways, count=32, furthest=128):
    """T5's relative position buckets, [queries, keys]."""
    distance = torch.arange(queries)[:, None] - torch.arange(keys)[None]
    result = torch.zeros_like(distance)
    if both_ways:
        count //= 2
        result += (distance < 0).long() * count
        distance = distance.abs()
    else:
        distance = distance.clamp(min=0)
    exact = count // 2
    far = exact + (torch.log(distance.clamp(min=1).float() / exact) / math.log(furthest / exact) * (count - exact)).long()
    return result + torch.where(distance < exact, distance, far.clamp(max=count - 1))


class Linear(nn.Linear):
    """A projection without bias, to which `delta(x)` is added where set."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs, bias=False)
        self.delta = None
        nn.init.normal_(self.weight, std=inputs**-0.5)

    def forward(self, x):
        y = F.linear(x, self.weight)
        return y if self.delta is None else y + self.delta(x)


class RmsNorm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (Linear(width, width) for _ in range(4))

    def forward(self, x, memory, bias):
        def split(t):
            return t.view(t.shape[0], t.shape[1], self.heads, -1).transpose(1, 2)

        q, k, v = split(self.q(x)), split(self.k(memory)), split(self.v(memory))
        weights = (q @ k.transpose(-1, -2) + bias).softmax(-1)  # T5 does not divide by sqrt(head size)
        return self.o((weights @ v).transpose(1, 2).flatten(2))


class GatedGelu(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.wi_0, self.wi_1, self.wo = Linear(width, inner), Linear(width, inner), Linear(inner, width)

    def forward(self, x):
        h = self.wi_0(x)
        gelu = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)))  # gelu_new
        return self.wo(gelu * self.wi_1(x))


class Block(nn.Module):
    def __init__(self, width, heads, inner, decoder):
        super().__init__()
        self.attention, self.norm = Attention(width, heads), RmsNorm(width)
        self.cross, self.cross_norm = (Attention(width, heads), RmsNorm(width)) if decoder else (None, None)
        self.feed_forward, self.last_norm = GatedGelu(width, inner), RmsNorm(width)

    def forward(self, x, bias, memory=None, memory_bias=None):
        h = self.norm(x)
        x = x + self.attention(h, h, bias)
        if self.cross is not None:
            x = x + self.cross(self.cross_norm(x), memory, memory_bias)
        return x + self.feed_forward(self.last_norm(x))


class T5(nn.Module):
    def __init__(self, width, layers, heads, inner, vocabulary):
        super().__init__()
        self.shared = nn.Embedding(vocabulary, width)
        self.encoder = nn.ModuleList(Block(width, heads, inner, False) for _ in range(layers))
        self.decoder = nn.ModuleList(Block(width, heads, inner, True) for _ in range(layers))
        self.encoder_bias, self.decoder_bias = nn.Embedding(32, heads), nn.Embedding(32, heads)
        self.encoder_norm, self.decoder_norm = RmsNorm(width), RmsNorm(width)
        self.lm_head = Linear(width, vocabulary)

    def projections(self):
        return [m for name, m in self.named_modules() if isinstance(m, Linear) and name != "lm_head"]

    def forward(self, ids, mask, decoder_ids):
        pad = (1.0 - mask)[:, None, None, :] * NEVER
        n, m = ids.shape[1], decoder_ids.shape[1]
        x = self.shared(ids)
        bias = self.encoder_bias(buckets(n, n, True)).permute(2, 0, 1)[None] + pad
        for block in self.encoder:
            x = block(x, bias)
        x = self.encoder_norm(x)
        y = self.shared(decoder_ids)
        bias = self.decoder_bias(buckets(m, m, False)).permute(2, 0, 1)[None] + torch.triu(torch.full((m, m), NEVER), 1)
        for block in self.decoder:
            y = block(y, bias, x, pad)
        return self.lm_head(self.decoder_norm(y))


def add_lora(model):
    """Rank 16, scale 1/16, A ~ 0.01 N(0, 1), B = 0; everything else frozen. Returns what learns."""
    model.requires_grad_(False)
    learning = []
    for linear in model.projections():
        a = nn.Parameter(torch.randn(RANK, linear.in_features) * 0.01)
        b = nn.Parameter(torch.zeros(linear.out_features, RANK))
        linear.delta = lambda x, a=a, b=b: F.linear(F.linear(x, a), b) / RANK
        learning += [a, b]
    return learning


def add_experts(model, experts):
    """PHATGOOSE routing as the authors' MoE layer computes it, with top-2 of `experts`."""
    for linear in model.projections():
        n, m = linear.in_features, linear.out_features
        layer1, layer2 = torch.randn(experts, n, RANK) * 0.01, torch.randn(experts, RANK, m) * 0.01
        gates = torch.randn(experts, n) * 0.1

        def delta(x, n=n, layer1=layer1, layer2=layer2, gates=gates):
            scores = F.layer_norm(x, (n,)) @ F.layer_norm(gates, (n,)).T * math.sqrt(1 / n)
            weights, chosen = scores.softmax(-1).topk(2, dim=-1)
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-6)
            tokens, chosen, weights = x.reshape(-1, n), chosen.flatten(), weights.flatten()
            order = chosen.argsort()  # (token, choice) pairs, expert by expert
            rows = order // 2
            pieces = tokens[rows].split(chosen.bincount(minlength=experts).tolist())
            outputs = torch.cat([piece @ layer1[e] @ layer2[e] for e, piece in enumerate(pieces)])
            result = torch.zeros(len(tokens), layer2.shape[2])
            result.index_add_(0, rows, (outputs * weights[order, None]).float() / RANK)
            return result.view(*x.shape[:-1], -1)

        linear.delta = delta


def precision(bfloat16):
    """Products in bfloat16 where asked for."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16)


def median_ms(work, repeats):
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return round(statistics.median(times), 1)


def blas_gflops():
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    return round(2 * 512**3 / (median_ms(lambda: a @ b, 5) * 1e6), 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sizes = {"width": 512, "layers": 6, "heads": 8, "inner": 1024, "vocabulary": 8192, "batch": 8, "inputs": 128, "targets": 32}
    for name, value in {**sizes, "routed": 0, "threads": 2, "repeats": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--bfloat16", action="store_true", help="compute products in bfloat16 (autocast)")
    parser.add_argument("--least-gflops", type=float, default=0, help="stop after the speed of a matrix product if it is lower")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = T5(options.width, options.layers, options.heads, options.inner, options.vocabulary)
    ids = torch.randint(3, options.vocabulary, (options.batch, options.inputs))
    labels = torch.randint(3, options.vocabulary, (options.batch, options.targets))
    decoder_ids = F.pad(labels[:, :-1], (1, 0))
    mask = torch.ones(options.batch, options.inputs)

    def forward():
        with torch.no_grad(), precision(options.bfloat16):
            model(ids, mask, decoder_ids)

    result = {"torch": torch.__version__, "threads": options.threads, "blasGflops": blas_gflops()}
    if result["blasGflops"] < options.least_gflops:
        print(json.dumps(result))
        return
    result["forwardMs"] = median_ms(forward, options.repeats)
    learning = add_lora(model)
    optimizer = torch.optim.AdamW(learning, lr=5e-3, weight_decay=0.0)

    def step():
        with precision(options.bfloat16):
            logits = model(ids, mask, decoder_ids)
        loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()

    result["loraStepMs"] = median_ms(step, options.repeats)
    if options.routed:
        add_experts(model, options.routed)
        result["routed"] = options.routed
        result["routedForwardMs"] = median_ms(forward, options.repeats)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
