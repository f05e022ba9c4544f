"""Conversations as Python's Jinja renders them, in the environment transformers sets up (utils/chat_template_utils.py).

    pip install jinja2==3.1.6
    python make.py FOLDER_OF_TOKENIZERS > renderings.json     one folder per model, with tokenizer_config.json or chat_template.jinja
"""

import json
import pathlib
import sys

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

TOOL = {"type": "function", "function": {"name": "weather", "description": "The weather <now> in a place & \"day\".", "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "é": {"type": "integer", "default": 1}}, "required": ["city"]}}}
USER, HELLO, BYE = {"role": "user", "content": " Hi there "}, {"role": "assistant", "content": "Hello!"}, {"role": "user", "content": "Good\nbye"}
CASES = [
    {"messages": [USER], "add_generation_prompt": True},
    {"messages": [USER, HELLO, BYE], "add_generation_prompt": True},
    {"messages": [USER, HELLO, BYE, {"role": "assistant", "content": "See you."}]},
    {"messages": [{"role": "system", "content": "Be brief."}, USER, HELLO]},
    {"messages": [USER], "tools": [TOOL], "add_generation_prompt": True},
    {"messages": [HELLO, USER]},
    {"messages": [{"role": "goose", "content": "honk"}]},
]


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def renderings(template, special):
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    compiled = environment.from_string(template)
    for case in CASES:
        try:
            yield {"text": compiled.render(**{"add_generation_prompt": False, **special, **case})}
        except jinja2.exceptions.TemplateError as error:
            yield {"error": str(error)}


golden = {"library": f"jinja2 {jinja2.__version__}", "cases": CASES, "models": {}}
for folder in [pathlib.Path(__file__).parent, *sorted(pathlib.Path(sys.argv[1]).iterdir())]:
    config_file = folder / "tokenizer_config.json"
    config = json.loads(config_file.read_text()) if config_file.exists() else {}
    template = config.get("chat_template")
    for file in folder.glob("*.jinja"):
        template = file.read_text()
    if template:
        special = {name: config[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token") if config.get(name)}
        golden["models"][folder.name] = {"special": special, "renderings": list(renderings(template, special))}
print(json.dumps(golden, ensure_ascii=False, separators=(",", ":")))
