"""Makes the golden checkpoints and logits in test/golden with transformers, or compares with what is committed.

Usage: make_golden.py write|compare DIRECTORY
"""
import json
import pathlib
import sys

import torch
import transformers
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

COMMON = dict(vocab_size=48, hidden_size=32, intermediate_size=40, num_attention_heads=4, num_key_value_heads=2,
              head_dim=8, max_position_embeddings=64)
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**COMMON, num_hidden_layers=2, rms_norm_eps=1e-5, rope_theta=10000.0,
                                            tie_word_embeddings=False,
                                            rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0,
                                                              high_freq_factor=4.0,
                                                              original_max_position_embeddings=32))),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig(**COMMON, num_hidden_layers=4, sliding_window=6,
                                                   query_pre_attn_scalar=8, final_logit_softcapping=3.0,
                                                   layer_types=["sliding_attention", "full_attention"] * 2,
                                                   rope_scaling=dict(rope_type="linear", factor=8.0))),
}


def make(name):
    cls, config = MODELS[name]
    config._attn_implementation = "eager"
    torch.manual_seed(7)
    model = cls(config).eval().float()
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * (0.3 if p.ndim > 1 else 0.5) + (0.0 if p.ndim > 1 or name == "gemma3" else 1.0))
        ids = torch.randint(0, 48, (1, 24), generator=torch.Generator().manual_seed(3))
        logits = model(ids).logits[0]
    return model, ids[0].tolist(), logits


def main():
    verb, root = sys.argv[1], pathlib.Path(sys.argv[2])
    worst = 0.0
    for name in MODELS:
        model, ids, logits = make(name)
        folder = root / name
        if verb == "write":
            folder.mkdir(parents=True, exist_ok=True)
            model.save_pretrained(folder)
            for extra in folder.glob("generation_config.json"):
                extra.unlink()
            (folder / "golden.json").write_text(json.dumps({
                "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}",
                "ids": ids, "logits": [[round(v, 6) for v in row] for row in logits.tolist()]}))
        else:
            golden = json.loads((folder / "golden.json").read_text())
            assert golden["ids"] == ids
            worst = max(worst, (torch.tensor(golden["logits"]) - logits).abs().max().item())
    if verb == "compare":
        print(f"largest difference of committed logits from transformers: {worst:.2e}")
        assert worst < 1e-4, "the golden logits no longer agree"


main()
