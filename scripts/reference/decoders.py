"""Golden logits of decoder-only architectures: runs the model files of transformers (4.57.6) unmodified.

    pip install --no-deps --target SITE_PACKAGES transformers==4.57.6
    python3 scripts/reference/decoders.py SITE_PACKAGES tests/golden/decoders [CASE ...]

Only models/*/modeling_*.py, configuration_*.py and modeling_rope_utils.py are transformers' own; the classes around them
(loading, caching, generation) are stand-ins without arithmetic, so that any PyTorch since 1.13 will do. The attention mask
is built here from its definition: a query sees keys of its own slot or before, that are real, and within the window.
Each case writes config.json, model.safetensors (bfloat16, the values computed with) and golden.safetensors: row 0 full,
row 1 padded right, row 2 left, row 3 both; `logits`, float32, compared where attention_mask is 1; `logits_first12` of row 0's
first 12 tokens alone. All but WITHOUT_LORA also get what lora.py writes.
"""
import importlib, json, logging as pylogging, math, os, struct, sys, types
import torch
from torch import nn
from lora import write_lora

site, out = sys.argv[1], sys.argv[2]
NONE = float(torch.finfo(torch.float32).min)


class Loose(types.ModuleType):
    """A module whose every name is a harmless decorator or class."""
    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return passthrough if name[0].islower() else type(name, (), {"__class_getitem__": classmethod(lambda c, k: c)})


def passthrough(*args, **kwargs):
    return args[0] if len(args) == 1 and callable(args[0]) and not kwargs else (lambda f: f)


class Config:
    def __init__(self, **kwargs):
        for key, value in kwargs.items():
            setattr(self, key, value)
        self._attn_implementation = "eager"
        self.output_attentions = self.output_hidden_states = False
    def get_text_config(self, **kwargs):
        return self


class Model(nn.Module):
    def __init__(self, config, *args, **kwargs):
        super().__init__()
        self.config = config
    def post_init(self):
        pass


class Output(dict):
    def __init__(self, **kwargs):
        super().__init__(kwargs)
        self.__dict__.update(kwargs)
    def __getattr__(self, name):
        return None


def mask_of(config, input_embeds, attention_mask, window=None, **rest):
    length = input_embeds.shape[1]
    q, k = torch.arange(length)[:, None], torch.arange(length)[None, :]
    seen = (k <= q) & ((k > q - window) if window is not None else torch.ones(length, length, dtype=torch.bool))
    seen = seen[None] & (attention_mask[:, None, :].bool() if attention_mask is not None else True)
    return torch.where(seen[:, None], 0.0, NONE)


def stub(name, **names):
    module = Loose("transformers." + name)
    module.__dict__.update(names)
    sys.modules["transformers." + name] = module
    return module


root = types.ModuleType("transformers")
root.__path__ = [os.path.join(site, "transformers")]
sys.modules["transformers"] = root
log = types.SimpleNamespace(get_logger=lambda *a: types.SimpleNamespace(**{n: (lambda *a, **k: None) for n in ("info", "warning", "warning_once")}))
stub("utils", logging=log, is_torch_available=lambda: True, TransformersKwargs=dict, auto_docstring=passthrough, ModelOutput=dict)
stub("utils.generic"), stub("utils.deprecation"), stub("utils.import_utils"), stub("generation"), stub("cache_utils")
stub("integrations"), stub("integrations.hub_kernels"), stub("processing_utils", Unpack=__import__("typing").Optional)
stub("modeling_flash_attention_utils", FlashAttentionKwargs=dict), stub("modeling_outputs", BaseModelOutputWithPast=Output, CausalLMOutputWithPast=Output)
stub("modeling_utils", PreTrainedModel=Model, ALL_ATTENTION_FUNCTIONS={})
class Layer(nn.Module):
    pass
stub("modeling_layers", GradientCheckpointingLayer=Layer)
stub("configuration_utils", PretrainedConfig=Config, layer_type_validation=lambda *a, **k: None)
stub("masking_utils", create_causal_mask=lambda **k: mask_of(**k), create_sliding_window_causal_mask=lambda **k: mask_of(window=k["config"].sliding_window, **k))
stub("models").__path__ = [os.path.join(site, "transformers", "models")]
stub("models.auto"), stub("models.siglip")


def load(kind):
    package = stub("models." + kind)
    package.__path__ = [os.path.join(site, "transformers", "models", kind)]
    modeling = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
    configuration = importlib.import_module(f"transformers.models.{kind}.configuration_{kind}")
    return modeling, configuration


def safetensors(path, tensors):
    names = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}
    header, blobs, offset = {}, [], 0
    for name, tensor in tensors.items():
        tensor = tensor.detach().contiguous()
        blob = (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy().tobytes()
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    header["__metadata__"] = {"format": "pt", "made_by": "scripts/reference/decoders.py", "transformers": "4.57.6"}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))


BASE = dict(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            max_position_embeddings=128, pad_token_id=0)
LONG = dict(type="longrope", short_factor=[1.0, 1.1, 1.3, 1.6], long_factor=[1.2, 1.9, 3.0, 5.5])
CASES = {
    "mistral_window": ("mistral", "Mistral", dict(sliding_window=5, head_dim=16)),
    "mistral_full": ("mistral", "Mistral", dict(sliding_window=None)),
    "llama_llama3": ("llama", "Llama", dict(rope_scaling=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16))),
    "llama_yarn": ("llama", "Llama", dict(max_position_embeddings=16, rope_scaling=dict(rope_type="yarn", factor=4.0, beta_fast=2, beta_slow=0.1))),
    "llama_yarn_original": ("llama", "Llama", dict(max_position_embeddings=64, rope_scaling=dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=16))),
    "llama_dynamic": ("llama", "Llama", dict(max_position_embeddings=16, rope_scaling=dict(rope_type="dynamic", factor=2.0), tie_word_embeddings=True)),
    "qwen2_window": ("qwen2", "Qwen2", dict(use_sliding_window=True, sliding_window=6, max_window_layers=1)),
    "qwen3": ("qwen3", "Qwen3", dict(head_dim=16, attention_bias=True, rope_theta=1e6)),
    "gemma": ("gemma", "Gemma", dict(head_dim=16, hidden_act="gelu_pytorch_tanh")),
    "gemma2": ("gemma2", "Gemma2", dict(head_dim=16, sliding_window=5, query_pre_attn_scalar=24, attn_logit_softcapping=5.0, final_logit_softcapping=6.0, num_hidden_layers=3)),
    "gemma3_text": ("gemma3", "Gemma3", dict(head_dim=16, sliding_window=5, sliding_window_pattern=3, num_hidden_layers=4, query_pre_attn_scalar=24, rope_scaling=dict(rope_type="linear", factor=8.0))),
    "phi3_window": ("phi3", "Phi3", dict(sliding_window=7, original_max_position_embeddings=128)),
    "phi3_longrope": ("phi3", "Phi3", dict(original_max_position_embeddings=16, rope_scaling=LONG)),
    "phi3_partial": ("phi3", "Phi3", dict(original_max_position_embeddings=128, partial_rotary_factor=0.5, tie_word_embeddings=True)),
}

# Their LoRAs would tell nothing that those of other cases do not.
WITHOUT_LORA = {"mistral_full", "llama_llama3", "llama_yarn", "llama_yarn_original", "qwen2_window", "phi3_partial"}


def batch(vocabulary):
    ids = torch.randint(3, vocabulary, (4, 24))
    mask = torch.ones(4, 24, dtype=torch.int64)
    mask[1, 15:] = 0
    mask[2, :9] = 0
    mask[3, :3] = 0
    mask[3, 20:] = 0
    return ids * mask, mask


for seed, (case, (kind, name, changes)) in enumerate(CASES.items()):
    if sys.argv[3:] and case not in sys.argv[3:]:
        continue
    torch.manual_seed(seed)
    modeling, configuration = load(kind)
    config_class = getattr(configuration, name + ("TextConfig" if kind == "gemma3" else "Config"))
    written = {**BASE, **changes}
    config = config_class(**json.loads(json.dumps(written)))
    # The configuration base class of this script keeps what the model's own class hands up to it.
    model = getattr(modeling, name + "ForCausalLM")(config).eval()
    if config.tie_word_embeddings:
        model.lm_head.weight = model.model.embed_tokens.weight
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            norm = "norm" in path
            parameter.normal_(1.0 if norm and "gemma" not in kind else 0.0, 0.2 if parameter.dim() == 1 else 1.5 / math.sqrt(parameter.shape[1]))
            if "embed_tokens" in path:
                parameter.normal_(0, 1)
            parameter.copy_(parameter.bfloat16().float())
    ids, mask = batch(config.vocab_size)
    positions = (mask.cumsum(-1) - 1).masked_fill(mask == 0, 1)
    with torch.no_grad():
        first = model(input_ids=ids[:1, :12], use_cache=False).logits
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
    folder = os.path.join(out, case)
    os.makedirs(folder, exist_ok=True)
    model_type = "gemma3_text" if kind == "gemma3" else kind
    tied = {} if not config.tie_word_embeddings else {"tie_word_embeddings": True}
    with open(os.path.join(folder, "config.json"), "w") as file:
        json.dump({"model_type": model_type, **written, **tied}, file, indent=1)
        file.write("\n")
    safetensors(os.path.join(folder, "model.safetensors"), {n: p.bfloat16() for n, p in model.named_parameters()})
    safetensors(os.path.join(folder, "golden.safetensors"), {"input_ids": ids, "attention_mask": mask, "logits": logits, "logits_first12": first})
    if case not in WITHOUT_LORA:
        write_lora(model, ids, mask, folder, safetensors)
    print(case, "logits std", float(logits[mask == 1].std()))
