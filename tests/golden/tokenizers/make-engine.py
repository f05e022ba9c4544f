"""What Hugging Face's own tokenizers library (Rust) makes of each step before and behind the model, and of Unicode's numerals and spaces.

    pip install tokenizers==0.23.2 sentencepiece==0.2.2 protobuf
    python make-engine.py FOLDER_OF_TOKENIZERS     writes engine.json and numerals.json beside this file
"""

import base64
import hashlib
import io
import json
import pathlib
import random
import sys
import tempfile
import unicodedata

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2

HERE = pathlib.Path(__file__).parent
SEED = random.Random(7)


def charsmap():
    """A small map: one character to one or two, two to one, to nothing, a line end, parts of a grapheme."""
    rules = "C=78 65,301=E9 2460=31 9=20 D=20 A=20 D,A=20,2E 85=20 AD= FB01=66,69 200D= 41=61 915,94D=4B"
    with tempfile.TemporaryDirectory() as folder:
        table = pathlib.Path(folder, "rules.tsv")
        table.write_text("".join(rule.replace(",", " ").replace("=", "\t") + "\n" for rule in rules.split()))
        corpus = pathlib.Path(folder, "corpus.txt")
        corpus.write_text("".join(" ".join(SEED.choices(["abc", "cab", "bac", "xy", "fi"], k=6)) + "\n" for _ in range(200)))
        model = io.BytesIO()
        trained = {"vocab_size": 40, "hard_vocab_limit": False, "minloglevel": 2}
        sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_writer=model, normalization_rule_tsv=str(table), **trained)
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


def byte_characters():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    moved = iter(range(256, 512))
    return [chr(byte) if byte in printable else chr(next(moved)) for byte in range(256)]


def bpe(characters, merges, **more):
    vocab = {token: id for id, token in enumerate([*characters, *(merge.replace(" ", "") for merge in merges)])}
    return {"type": "BPE", "vocab": vocab, "merges": merges, **more}


SPACE = "\u0120"
BYTES = bpe(byte_characters(), ["a b", "ab c", f"{SPACE} a", f"{SPACE} ab", f"{SPACE} 1", "1 2", f"{SPACE} {SPACE}", "Â ½", f"{SPACE} Â", "' s"], ignore_merges=False)
WORDS = bpe(["<unk>", "▁", *"abcdefgx12.é"], ["a b", "▁ a", "▁ ab", "▁ ▁"], unk_token="<unk>", fuse_unk=True)
UNIGRAM = {
    "type": "Unigram",
    "unk_id": 0,
    "vocab": [["<unk>", 0], ["▁", -2], *([c, -3] for c in "abcdefgix1.K"), ["é", -3.5], ["ab", -2.5], ["▁ab", -3], ["bc", -2.5], ["▁▁", -3]],
}
UNIGRAM_BYTES = {**UNIGRAM, "byte_fallback": True, "vocab": UNIGRAM["vocab"] + [[f"<0x{byte:02X}>", -9] for byte in range(256)]}
PIECES = ["[UNK]", *"abcdefgijklsx12.,'!-½σς", *("##" + c for c in "abcdefgijklsx12σς"), "ab", "##bc", "中", "[X]"]
WORDPIECE = {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 8, "vocab": {p: i for i, p in enumerate(PIECES)}}
MODELS = {"bytes": BYTES, "words": WORDS, "unigram": UNIGRAM, "unigram-bytes": UNIGRAM_BYTES, "wordpiece": WORDPIECE}

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
ONLY_BYTES = {**BYTE_LEVEL, "use_regex": False}
GPT4 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*|\s++$|\s*[\r\n]|\s+(?!\S)|\s+"


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": [*parts, ONLY_BYTES]}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def added(model, *tokens):
    vocab = MODELS[model]["vocab"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return [{"id": len(vocab) + i, **flags, **token} for i, token in enumerate(tokens)]


TOKENS = [
    {"content": "ab1", "single_word": True},
    {"content": "cd", "lstrip": True},
    {"content": "ef", "rstrip": True},
    {"content": "ef g", "rstrip": True},
    {"content": "GH", "lstrip": True, "rstrip": True, "normalized": True},
    {"content": "ab1c", "single_word": True, "lstrip": True, "normalized": True},
    {"content": "<x>", "special": True},
]
CLEAN = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}


def variants():
    behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    for behavior in behaviors:
        for invert in (False, True):
            pre = sequence(split({"Regex": r"\s?\p{N}{1,2}|-"}, behavior, invert))
            yield f"split {behavior}{' inverted' * invert}", "bytes", {"pre_tokenizer": pre}
        yield f"punctuation {behavior}", "bytes", {"pre_tokenizer": sequence({"type": "Punctuation", "behavior": behavior})}
    yield "split at a string", "bytes", {"pre_tokenizer": sequence(split({"String": "."}, "MergedWithPrevious"))}
    yield "GPT-4's pattern", "bytes", {"pre_tokenizer": sequence(split({"Regex": GPT4}))}
    yield "an atomic group", "bytes", {"pre_tokenizer": sequence(split({"Regex": r"(?>a|ab)c|\s(?>\s*)\S"}))}
    yield "words", "bytes", {"pre_tokenizer": sequence(split({"Regex": r"\w+|\d|[^\w\s]"}, "Removed", True))}
    for individual in (True, False):
        pre = sequence({"type": "Digits", "individual_digits": individual}, BYTE_LEVEL)
        yield f"digits {'one by one' if individual else 'together'}", "bytes", {"pre_tokenizer": pre}
    yield "GPT-2", "bytes", {"pre_tokenizer": BYTE_LEVEL}
    yield "GPT-2 with a space before", "bytes", {"pre_tokenizer": {**BYTE_LEVEL, "add_prefix_space": True}}
    for kind, more in {"Whitespace": {}, "WhitespaceSplit": {}, "FixedLength": {"length": 3}, "CharDelimiterSplit": {"delimiter": " "}}.items():
        yield kind, "bytes", {"pre_tokenizer": sequence({"type": kind, **more})}
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        yield form, "bytes", {"normalizer": {"type": form}, "pre_tokenizer": BYTE_LEVEL}
    chain = [{"type": "Nmt"}, {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}]
    yield "a chain of normalizers", "bytes", {"normalizer": {"type": "Sequence", "normalizers": chain}, "pre_tokenizer": BYTE_LEVEL}
    chain = [{"type": "Replace", "pattern": {"Regex": r" {2,}|\s+$"}, "content": "$&"}, {"type": "Prepend", "prepend": "x"}]
    yield "replace and prepend", "bytes", {"normalizer": {"type": "Sequence", "normalizers": chain}, "pre_tokenizer": BYTE_LEVEL}
    yield "bytes by a normalizer", "bytes", {"normalizer": {"type": "ByteLevel"}}
    for scheme in ("first", "always", "never"):
        for splits in (True, False):
            pre = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": splits}
            yield f"metaspace {scheme}{' split' * splits}", "words", {"pre_tokenizer": pre, "added_tokens": added("words", TOKENS[-1])}
    words = [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}]
    yield "metaspace first behind another", "words", {"pre_tokenizer": {"type": "Sequence", "pretokenizers": words}}
    for model in ("unigram", "unigram-bytes"):
        pre = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}]}
        yield f"{model}, precompiled", model, {"normalizer": {"type": "Precompiled", "precompiled_charsmap": CHARSMAP}, "pre_tokenizer": pre}
    for lowercase in (True, False):
        yield f"BERT{'' if lowercase else ' cased'}", "wordpiece", {"normalizer": {**CLEAN, "lowercase": lowercase}, "pre_tokenizer": {"type": "BertPreTokenizer"}, "added_tokens": added("wordpiece", *TOKENS[:1])}
    yield "added tokens", "bytes", {"normalizer": {"type": "Lowercase"}, "pre_tokenizer": BYTE_LEVEL, "added_tokens": added("bytes", *TOKENS)}
    prefix = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    yield "added tokens, LLaMA", "words", {"normalizer": prefix, "added_tokens": added("words", *TOKENS)}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "Q", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": {"Q": {"id": "Q", "ids": [5, 6], "tokens": ["a", "b"]}}}
    yield "post-processors in a row", "bytes", {"pre_tokenizer": BYTE_LEVEL, "post_processor": {"type": "Sequence", "processors": [BYTE_LEVEL, template]}}
    yield "RoBERTa's", "bytes", {"pre_tokenizer": BYTE_LEVEL, "post_processor": {"type": "RobertaProcessing", "sep": ["a", 1], "cls": ["b", 2], "trim_offsets": True, "add_prefix_space": False}}


PARTS = ["ab", "ab1", "ab1c", "abc", "cd", "ef", "ef g", "GH", "gh", "<x>", "<", " ", "  ", "\n", "\r\n", "\t", "\u0085", "\ufeff", "\u00a0", "1", "12", "½", "²", "٣", "Ⅷ", "_", "-", ".", "'s", "'S", "'ſ", "e\u0301", "é", "Σ", "ος", "中", "𠀀", "ﬁ", "①", "①\u0308", "क\u094d", "\u00ad", "\u200d", "👩\u200d👧", "İ", "K", "\u07fd\u0308", "𑷠", "Q"]
TEXTS = ["", "ab 12", *("".join(SEED.choices(PARTS, k=SEED.randint(1, 9))) for _ in range(60)), *(f"a{p} {p}b" for p in PARTS)]


def engine():
    variant_rows = {}
    for name, model, parts in variants():
        whole = {"version": "1.0", "added_tokens": [], "normalizer": None, "pre_tokenizer": None, "post_processor": None, "decoder": None, **parts}
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**whole, "model": MODELS[model]}))
        variant_rows[name] = {"model": model, "parts": parts, "ids": [tokenizer.encode(text).ids for text in TEXTS]}
    return {"library": f"tokenizers {tokenizers.__version__}", "models": MODELS, "texts": TEXTS, "variants": variant_rows}


def numerals():
    """Each numeral and space of Unicode behind and before letters, and the SHA-256 of what each tokenizer makes of every 64 of them."""
    codes = [c for c in range(0x110000) if unicodedata.category(chr(c))[0] in "NZ" or chr(c).isspace() or c in (0xFEFF, 0x200B, 0x180E)]
    contexts = ["a*b", "a *1", "* b", "1* *"]
    hashes = {}
    for folder in sorted(path.parent for path in pathlib.Path(sys.argv[1]).glob("*/tokenizer*.json") if "config" not in path.name):
        file = next(path for path in folder.glob("tokenizer*.json") if "config" not in path.name)
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(file))
        except Exception as error:  # the library's own exception class
            print(folder.name, error, file=sys.stderr)
            continue
        tokenizer.no_truncation()
        tokenizer.no_padding()
        rows = [[tokenizer.encode(context.replace("*", chr(c))).ids for context in contexts] for c in codes]
        blocks = [json.dumps(rows[i : i + 64], separators=(",", ":")) for i in range(0, len(rows), 64)]
        hashes[folder.name] = [hashlib.sha256(block.encode()).hexdigest()[:12] for block in blocks]
    return {"library": f"tokenizers {tokenizers.__version__}", "codes": codes, "contexts": contexts, "hashes": hashes}


CHARSMAP = charsmap()
for name, content in {"engine": engine(), "numerals": numerals()}.items():
    (HERE / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")) + "\n")
