"""What Python makes of templates and of strftime, where JavaScript's values differ.

    pip install jinja2==3.1.6
    LC_ALL=C python python.py > python.json
"""

import datetime
import json

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

VALUES = [
    '{"id": 9007199254740993, "t": 20.0, "eps": 1e-05, "big": 1E16, "small": 0.0001, "minus": -0.0, "int": -0, "half": 0.5, "list": [1.0, 2, null, true]}',
    '{"é": "ü \\u0001 \\u007f \\"q\\" \'s\' <b>&", "nested": {"b": [], "a": {}}, "z": 12345678901234567890123}',
    '"  \\n text \\n\\n"',
    "1e-7",
    "null",
]
PLAIN = [
    "{{ x | tojson }}",
    "{{ x | tojson(indent=2) }}",
    "{{ x | tojson(ensure_ascii=true, sort_keys=true, separators=(',', ':')) }}",
    "{{ x }}",
    "[{{ x.strip('\\n ') if x is string else '' }}][{{ x.lstrip() if x is string else '' }}][{{ x.rstrip('\\n') if x is string else '' }}]",
    "{{ x ~ '!' }}",
    "{% if x is mapping %}{% for key, value in x.items() %}{{ key }}={{ value }};{% endfor %}{% endif %}",
    "  {% if x %}\n  yes\n  {% endif %}\nend",
]
HTML = ["{{ x | tojson }}", "{{ x }}"]
DATES = ["2026-03-01T09:05:07", "2024-12-30T00:00:00", "2023-01-01T12:30:59", "2021-01-03T23:59:00", "2000-02-29T13:00:01"]
CODES = "a A b B c C d D e f F g G h H I j k l m M n p P r R S t T u U V w W x X y Y z Z %".split() + ["-d", "-m", "-I", "_d", "^a", "#p", "03e", "E"]


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


chat = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
chat.filters["tojson"] = tojson
html = jinja2.Environment(loader=jinja2.BaseLoader(), undefined=jinja2.StrictUndefined, keep_trailing_newline=True)  # lm-evaluation-harness's
golden = {
    "chat": [{"template": t, "value": v, "text": chat.from_string(t).render(x=json.loads(v))} for t in PLAIN for v in VALUES],
    "html": [{"template": t, "value": v, "text": html.from_string(t).render(x=json.loads(v))} for t in HTML for v in VALUES],
    "strftime": [
        {"date": d, "format": f"%{c}", "text": datetime.datetime.fromisoformat(d).strftime(f"%{c}")} for d in DATES for c in CODES
    ],
}
print(json.dumps(golden, indent=1))
