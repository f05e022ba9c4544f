"""Golden numbers of LoRA on a decoder of scripts/reference/decoders.py, which calls this: what PEFT computes, written out.

    y = W x + (b) + (alpha / r) B A x     on every projection but the head; r = 2, alpha = 4, B not zero

Writes adapter/ (PEFT's files) and lora.safetensors: `labels` as of Hugging Face (each its own token's); with the adapter on
`logits`; `losses` before each of five AdamW steps (lr 5e-3, no decay, no clipping) and after the last; grad.* and after.*
of every A and B; without it `gen_*`: greedy tokens of two prompts, padded on the left, by full forwards.
"""
import json, os
import torch
from torch import nn

RANK, ALPHA, LR, STEPS, NEW_TOKENS = 2, 4, 5e-3, 5, 10


def woven(model):
    """Wraps the forward of each projection; returns peft name -> parameter."""
    parameters = {}
    for path, linear in model.named_modules():
        if not isinstance(linear, nn.Linear) or path == "lm_head":
            continue
        a = nn.Parameter(torch.randn(RANK, linear.in_features) / linear.in_features ** 0.5)
        b = nn.Parameter(0.3 * torch.randn(linear.out_features, RANK))
        parameters[f"base_model.model.{path}.lora_A.weight"], parameters[f"base_model.model.{path}.lora_B.weight"] = a, b
        linear.forward = lambda x, inner=linear.forward, a=a, b=b: inner(x) + ALPHA / RANK * (x @ a.T @ b.T)
    return parameters


def positions_of(mask):
    return (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)


def greedy(model, vocabulary):
    ids = torch.randint(3, vocabulary, (2, 13))
    mask = torch.ones(2, 13, dtype=torch.int64)
    mask[1, :5] = 0
    ids, start = ids * mask, ids * mask
    given = mask
    for _ in range(NEW_TOKENS):
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=False).logits[:, -1]
        ids = torch.cat((ids, logits.argmax(-1, keepdim=True)), -1)
        mask = torch.cat((mask, torch.ones(2, 1, dtype=torch.int64)), -1)
    return {"gen_input_ids": start, "gen_attention_mask": given, "gen_new_tokens": ids[:, 13:]}


def write_lora(model, ids, mask, folder, save):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        found = greedy(model, model.config.vocab_size)
    parameters = woven(model)
    os.makedirs(os.path.join(folder, "adapter"), exist_ok=True)
    with open(os.path.join(folder, "adapter", "adapter_config.json"), "w") as file:
        modules = sorted({name.split(".")[-3] for name in parameters})
        json.dump({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA, "target_modules": modules}, file, indent=1)
        file.write("\n")
    save(os.path.join(folder, "adapter", "adapter_model.safetensors"), parameters)
    labels = ids.masked_fill(mask == 0, -100)
    labels[0, :5] = -100
    labels[2, :12] = -100
    found["labels"] = labels
    optimizer = torch.optim.AdamW(parameters.values(), lr=LR, weight_decay=0.0)
    losses = []
    for step in range(STEPS + 1):
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions_of(mask), use_cache=False).logits
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            found["logits"] = logits.detach()
            found.update({"grad." + name: p.grad.clone() for name, p in parameters.items()})
        if step < STEPS:
            optimizer.step()
    found["losses"] = torch.tensor(losses)
    found.update({"after." + name: p.detach() for name, p in parameters.items()})
    save(os.path.join(folder, "lora.safetensors"), found)
