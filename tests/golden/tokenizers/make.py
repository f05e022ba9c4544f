"""Token ids of Hugging Face's own tokenizers library (Rust) for published tokenizer.json files.

    pip install tokenizers==0.23.2
    python make.py FOLDER_OF_TOKENIZERS > encodings.json     one folder per tokenizer, each with a tokenizer.json
"""

import json
import pathlib
import sys

import tokenizers

TEXTS = [
    "Hello, world! It's a test.",
    " leading and trailing  ",
    "two  spaces   three\ttab\nnew line\r\nwindows\n\n\nend",
    "café naïve Ångström Übergröße — “quotes” … €5 ½",
    "cafe\u0301 nai\u0308ve ﬁligree ① Ｆｕｌｌ",
    "中文和日本語のテキスト 한국어",
    "emoji 😀👩‍👩‍👧‍👦🇩🇪 end",
    "Привет, мир! مرحبا שלום",
    "x = 3.14159 + 2,000,000; if (a[0] != b->c) { return \"\\n\"; }",
    "don't you'd we've I'M THEY'LL they'll",
    "translate English to German: The house is wonderful.",
    "<s>special</s> tokens <unk> <|endoftext|> in <extra_id_0> text [CLS] [MASK]",
    "<|user|>\nHi<|end|>\n<|assistant|> ok [INST] go [/INST]",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!!!!!!!!!!....",
    "\u00a0non-breaking\u2009thin\u200bzero\u3000wide\ufeffbom\u0085nel",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "1234567890 12 3456 7",
    "A",
    "▁underscore ▁▁ two",
    "\u0000null \u0007bell \u001b[0m",
]


def encodings(folder):
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library's own exception class
        print(folder.name, error, file=sys.stderr)
        return []
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rows = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        rows.append({"ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=False), "plain": tokenizer.decode(ids)})
    return rows


folders = sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/tokenizer.json"))
golden = {"library": f"tokenizers {tokenizers.__version__}", "texts": TEXTS}
golden["tokenizers"] = {folder.name: encodings(folder) for folder in folders}
print(json.dumps(golden, separators=(",", ":")))
