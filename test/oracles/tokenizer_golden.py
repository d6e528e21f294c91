"""Ids that transformers gives when the files beside tokenizer.json add tokens or change them.

Usage: tokenizer_golden.py write|compare FILE.json

Every case lays files over the starter's tokenizer: `tokenizer.json` replaces top-level keys of it, the others stand as they are.
"""
import json
import os
import pathlib
import sys
import tempfile

os.environ["TRANSFORMERS_VERBOSITY"] = "error"
import tokenizers
import transformers

STARTER = pathlib.Path(__file__).resolve().parents[2] / "experiments/starter/model"
TEXTS = ["the cat.", "  the  cat...\u65e5\u672c, (caf\u00e9) $5 ", "Once <mask> upon<mask>a <mask>", "cats cat concat cat-cat", "a  <a><b> <a> b", "the <unk> a<eos>", "<|x|>é<img>", "enry Henry"]


def token(content, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **flags}


def decoder(*tokens, first=1024):
    return {"tokenizer_config.json": {"added_tokens_decoder": {str(first + i): t for i, t in enumerate(tokens)}}}


def own(**keys):
    return {"tokenizer_config.json": keys}


def cut(pre_tokenizer):
    return {"tokenizer.json": {"pre_tokenizer": pre_tokenizer}}


def split(pattern, behavior, invert=False):
    return cut({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert})


def unigram():
    known = ["<pad>", "<eos>", "<bos>", "<unk>", *(f"<0x{b:02X}>" for b in range(256)), "\u2581", *"acehnort", "the", "cat"]
    return {"tokenizer.json": {"model": {"type": "Unigram", "unk_id": 3, "byte_fallback": True, "vocab": [[t, -3.0] for t in known]}}}


BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


def cuts():
    """Ways to cut a text into words; the starter's normalizer has written a space as U+2581 before."""
    patterns = {"at a text": {"String": "\u2581"}, "at one of two": {"Regex": "[.\u2581]"}, "at a run": {"Regex": "\u2581+|at"}}
    return {
        **{f"{b}, {name}": split(pattern, b) for name, pattern in patterns.items() for b in BEHAVIORS},
        **{f"{b}, at punctuation": cut({"type": "Punctuation", "behavior": b}) for b in BEHAVIORS},
        "Isolated, inverted": split({"Regex": "[a-z]+"}, "Isolated", True),
        "Removed, inverted": split({"Regex": "[a-z]+"}, "Removed", True),
        "Contiguous, inverted": split({"Regex": "[a-z]"}, "Contiguous", True),
        "at a character": cut({"type": "CharDelimiterSplit", "delimiter": "\u2581"}),
        "three characters": cut({"type": "FixedLength", "length": 3}),
        "in a sequence": cut({"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "MergedWithNext"},
                                                                    {"type": "Split", "pattern": {"String": "\u2581"}, "behavior": "MergedWithPrevious", "invert": False}]}),
        "by script": cut({"type": "UnicodeScripts"}),
        "bytes of Unigram": unigram(),
    }


def cases():
    base = json.loads((STARTER / "tokenizer.json").read_text())
    more = lambda *tokens: {"tokenizer.json": {"added_tokens": base["added_tokens"] + [{"id": 1024 + i, **t} for i, t in enumerate(tokens)]}}
    return {
        "nothing": {},
        "a decoder": decoder(token("<mask>"), token("<img>")),
        "a decoder, left": decoder(token("<mask>", lstrip=True)),
        "a decoder, right": decoder(token("<mask>", rstrip=True)),
        "a decoder, no special": decoder(token("<mask>", special=False, normalized=True)),
        "a decoder, one word": decoder(token("cat", single_word=True)),
        "one word in tokenizer.json": more(token("cat", single_word=True)),
        "one token begins another": decoder(token("<a>"), token("<a><b>")),
        "one token begins another, the long one first": decoder(token("<a><b>"), token("<a>")),
        "a token of the vocabulary": decoder(token("enry"), first=base["model"]["vocab"]["enry"]),
        "other flags": decoder(token("<unk>", lstrip=True), first=3),
        "an empty token": more(token(""), token("<mask>")),
        "a list": own(extra_special_tokens=["<mask>", "<img>"]),
        "a record": own(extra_special_tokens={"image_token": "<img>", "other_token": "<mask>"}),
        "the old name": own(additional_special_tokens=["<mask>", "<|x|>"]),
        "by their roles": own(mask_token="<mask>", sep_token="<|x|>", image_token="<img>"),
        "a role as a record": own(mask_token={"__type": "AddedToken", **token("<mask>", lstrip=True)}),
        "special_tokens_map.json": {"special_tokens_map.json": {"mask_token": token("<mask>", rstrip=True), "additional_special_tokens": ["<img>"]}},
        "added_tokens.json": {"added_tokens.json": {"<mask>": 1024, "<img>": 1025}},
        "both, beside a decoder": {**decoder(token("<img>")), "special_tokens_map.json": {"mask_token": "<mask>"}, "added_tokens.json": {"<|x|>": 1025}},
        "a class that cuts otherwise": own(tokenizer_class="GPT2Tokenizer"),
        "split": own(split_special_tokens=True),
        "an id out of turn": decoder(token("<mask>"), first=2000),
        **cuts(),
    }


def ids(files):
    with tempfile.TemporaryDirectory() as folder:
        base = json.loads((STARTER / "tokenizer.json").read_text())
        config = json.loads((STARTER / "tokenizer_config.json").read_text())
        whole = {
            **files,
            "tokenizer.json": {**base, **files.get("tokenizer.json", {})},
            "tokenizer_config.json": {**config, **files.get("tokenizer_config.json", {})},
            "config.json": {"model_type": "llama"},
        }
        for name, content in whole.items():
            pathlib.Path(folder, name).write_text(json.dumps(content))
        found = transformers.AutoTokenizer.from_pretrained(folder)
        return [found(text, add_special_tokens=False)["input_ids"] for text in TEXTS]


def make():
    made_by = f"transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    return {"made_by": made_by, "texts": TEXTS, "cases": {name: {"files": files, "ids": ids(files)} for name, files in cases().items()}}


def main():
    verb, path = sys.argv[1], pathlib.Path(sys.argv[2])
    made = make()
    if verb == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        cases = ",\n".join(f"  {json.dumps(name)}: {json.dumps(case)}" for name, case in made.pop("cases").items())
        path.write_text(json.dumps(made)[:-1] + f', "cases": {{\n{cases}\n}}}}\n')
        return
    assert json.loads(path.read_text()) == json.loads(json.dumps(made)), "the ids are no longer those that are committed"
    print(f"{len(made['cases'])} sets of tokenizer files agree")


main()
