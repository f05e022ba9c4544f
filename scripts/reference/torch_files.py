"""Files as torch.save writes them, in tests/golden/torch_files (run with PyTorch 1.13 of Debian 12: python3 torch_files.py OUT STATE LORA).

  plain.pt       a zip file, pickle protocol 2: the tensors of `tensors()`
  protocol4.pt   the same, protocol 4
  legacy.pt      the same, in the format before PyTorch 1.6
  deflated.pt    plain.pt packed again by Python's zipfile, deflated
  expected.safetensors   the same tensors, contiguous
  object.pt      a dict with a class that is no tensor's
  sparse.pt, quantized.pt, expanded.pt   tensors of other kinds

and, from STATE (golden/phatgoose_t5/phatgoose_state.safetensors: what the authors' code computed with), in the form that their
scripts/concatenate.py saves, the base's table of embeddings included, twice under one storage:

  phatgoose.pt   the experts and gates

and, from LORA (golden/lora_variants/regex_targets, an adapter of PEFT), as PEFT saved adapters until 2023:

  lora/adapter_model.bin, adapter_config.json
"""
import json, os, shutil, struct, sys, zipfile
from collections import OrderedDict
import torch

OUT, STATE, LORA = sys.argv[1:]
DTYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
          torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"}


def tensors():
    torch.manual_seed(0)
    shared = torch.randn(6, 4)
    module = torch.nn.Linear(3, 2)
    state = OrderedDict((f"module.{name}", value) for name, value in module.state_dict(keep_vars=True).items())
    state._metadata = OrderedDict(version=1)  # as state_dict() leaves it
    for dtype in DTYPES:
        state[f"dtype.{DTYPES[dtype]}"] = (torch.randn(3, 5) * 4).to(dtype)
    state["whole"], state["rows"], state["columns"] = shared, shared[2:5], shared[:, 1:3]
    state["transposed"], state["steps"] = shared.t(), shared[::2, ::3]
    state["permuted"] = torch.randn(2, 3, 4).permute(2, 0, 1)
    state["half.transposed"] = torch.randn(5, 7).half().t()
    state["scalar"], state["empty"], state["one"] = torch.tensor(2.5), torch.zeros(0, 4), torch.randn(1, 1, 3)
    state["expanded.once"] = torch.arange(6).expand(1, 6)
    return state


def write_safetensors(path, state):
    header, blobs, at = {}, [], 0
    for name, tensor in state.items():
        tensor = tensor.detach().contiguous()
        blob = bytes(tensor.reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b""
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    length = struct.unpack("<Q", data[:8])[0]
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            assert entry["dtype"] == "F32"
            yield name, torch.frombuffer(bytearray(data[begin:end]), dtype=torch.float32).reshape(entry["shape"])


class Custom:
    pass


def main():
    at = lambda name: os.path.join(OUT, name)
    state = tensors()
    torch.save(state, at("plain.pt"))
    torch.save(state, at("protocol4.pt"), pickle_protocol=4)
    torch.save(state, at("legacy.pt"), _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(at("plain.pt")) as old, zipfile.ZipFile(at("deflated.pt"), "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(zipfile.ZipInfo(info.filename), old.read(info.filename), zipfile.ZIP_DEFLATED)
    write_safetensors(at("expected.safetensors"), state)
    torch.save({"a": torch.ones(2), "optimizer": Custom()}, at("object.pt"))
    torch.save({"a": torch.ones(2, 2).to_sparse()}, at("sparse.pt"))
    torch.save({"a": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, at("quantized.pt"))
    torch.save({"a": torch.ones(1).expand(1000, 1000)}, at("expanded.pt"))
    experts = OrderedDict()
    experts["encoder.embed_tokens.weight"] = torch.zeros(8, 4)
    experts["decoder.embed_tokens.weight"] = experts["encoder.embed_tokens.weight"]
    experts.update(read_safetensors(STATE))
    torch.save(experts, at("phatgoose.pt"))
    os.makedirs(at("lora"), exist_ok=True)
    torch.save(dict(read_safetensors(os.path.join(LORA, "adapter_model.safetensors"))), at("lora/adapter_model.bin"))
    shutil.copy(os.path.join(LORA, "adapter_config.json"), at("lora/adapter_config.json"))


main()
