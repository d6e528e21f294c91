"""Makes the golden checkpoints and logits in test/golden with transformers, or compares with what is committed: the logits of
the models as they are made here, and as transformers loads them from the folders. Newer families also have the gradients of
the mean loss of their text, of each parameter the norm and the first numbers.

Usage: make_golden.py write|compare DIRECTORY [FAMILY …]
"""
import json
import pathlib
import sys

import torch
import transformers
from transformers import (Gemma2Config, Gemma2ForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, Gemma4ForCausalLM, Gemma4TextConfig, GemmaConfig,
                          GemmaForCausalLM, GraniteConfig, GraniteForCausalLM, LlamaConfig,
                          LlamaForCausalLM, Olmo2Config, Olmo2ForCausalLM, Phi3Config, Phi3ForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM, SmolLM3Config, SmolLM3ForCausalLM)

COMMON = dict(vocab_size=48, hidden_size=32, intermediate_size=40, num_attention_heads=4, num_key_value_heads=2,
              head_dim=8, max_position_embeddings=64)
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**COMMON, num_hidden_layers=2, rms_norm_eps=1e-5, rope_theta=10000.0,
                                            tie_word_embeddings=False,
                                            rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0,
                                                              high_freq_factor=4.0,
                                                              original_max_position_embeddings=32))),
    # The recipe of Llama 3 without the length it was stretched from: that is then max_position_embeddings.
    "llama_stretched": (LlamaForCausalLM, LlamaConfig(**COMMON, num_hidden_layers=2, rms_norm_eps=1e-5,
                                                      rope_theta=10000.0, tie_word_embeddings=True,
                                                      rope_scaling=dict(rope_type="llama3", factor=4.0,
                                                                        low_freq_factor=1.0, high_freq_factor=4.0))),
    # The config says that the head is the embedding, the file holds another one: transformers 5 keeps it.
    "llama_own_head": (LlamaForCausalLM, LlamaConfig(**COMMON, num_hidden_layers=1, tie_word_embeddings=False)),
    "gemma3_own_head": (Gemma3ForCausalLM, Gemma3TextConfig(**COMMON, num_hidden_layers=1, sliding_window=6,
                                                            query_pre_attn_scalar=8, tie_word_embeddings=False,
                                                            layer_types=["full_attention"])),
    # Query, key and value in one tensor, gate and up in another; a head size that is hidden / heads, a window.
    "phi3": (Phi3ForCausalLM, Phi3Config(**{k: v for k, v in COMMON.items() if k != "head_dim"}, num_hidden_layers=2,
                                         sliding_window=6, pad_token_id=0, bos_token_id=1, eos_token_id=2)),
    # Biases on every projection.
    "llama_biases": (LlamaForCausalLM, LlamaConfig(**COMMON, num_hidden_layers=2, attention_bias=True, mlp_bias=True)),
    # Biases on q, k and v; the upper layers with a window.
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**{k: v for k, v in COMMON.items() if k != "head_dim"}, num_hidden_layers=3,
                                            use_sliding_window=True, sliding_window=6, max_window_layers=1,
                                            tie_word_embeddings=True)),
    # A head size that is not hidden / heads, tied, the upper layers with a window.
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**{**COMMON, "head_dim": 12}, num_hidden_layers=3, use_sliding_window=True,
                                            sliding_window=6, max_window_layers=1, tie_word_embeddings=True)),
    # Layers without RoPE, which have a window here.
    "smollm3": (SmolLM3ForCausalLM, SmolLM3Config(**{k: v for k, v in COMMON.items() if k != "head_dim"}, num_hidden_layers=4,
                                                  no_rope_layer_interval=2, use_sliding_window=True, sliding_window=6,
                                                  pad_token_id=0, bos_token_id=1, eos_token_id=2)),
    # Four multipliers, biases on every projection, a vocabulary that no power of two divides.
    "granite": (GraniteForCausalLM, GraniteConfig(**{**COMMON, "vocab_size": 51}, num_hidden_layers=2, rms_norm_eps=1e-5,
                                                  embedding_multiplier=3.0, attention_multiplier=0.2,
                                                  residual_multiplier=0.22, logits_scaling=2.5, attention_bias=True,
                                                  mlp_bias=True)),
    # As released: tied, no biases.
    "granite_tied": (GraniteForCausalLM, GraniteConfig(**{k: v for k, v in COMMON.items() if k != "head_dim"},
                                                       num_hidden_layers=3, rms_norm_eps=1e-5, embedding_multiplier=12,
                                                       attention_multiplier=0.125, residual_multiplier=0.22,
                                                       logits_scaling=8, tie_word_embeddings=True)),
    # Norms after attention and MLP alone, and over all heads of q and of k.
    "olmo2": (Olmo2ForCausalLM, Olmo2Config(**{k: v for k, v in COMMON.items() if k != "head_dim"}, num_hidden_layers=3,
                                            pad_token_id=None, bos_token_id=1, eos_token_id=2)),  # a padding token has no gradient
    # Tied, with biases, a stretch, a vocabulary that no power of two divides.
    "olmo2_biases": (Olmo2ForCausalLM, Olmo2Config(**{k: v for k, v in {**COMMON, "vocab_size": 51}.items() if k != "head_dim"},
                                                   num_hidden_layers=2, attention_bias=True, tie_word_embeddings=True,
                                                   rope_scaling=dict(rope_type="linear", factor=4.0), pad_token_id=None,
                                                   bos_token_id=1, eos_token_id=2)),
    # One group for all heads, a head size that is not hidden / heads.
    "gemma": (GemmaForCausalLM, GemmaConfig(**{**COMMON, "head_dim": 12, "num_key_value_heads": 1}, num_hidden_layers=2)),
    # Caps that bite on scores and logits, a scale that is not the head size, windows in every other layer.
    "gemma2": (Gemma2ForCausalLM, Gemma2Config(**COMMON, num_hidden_layers=3, sliding_window=6, query_pre_attn_scalar=5,
                                               attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    # An exact GELU, and Gemma 2's cap on scores, which Gemma 3 keeps in its config and does not apply.
    "gemma3_gelu": (Gemma3ForCausalLM, Gemma3TextConfig(**COMMON, num_hidden_layers=2, sliding_window=6,
                                                        query_pre_attn_scalar=8, hidden_activation="gelu",
                                                        attn_logit_softcapping=0.5,
                                                        layer_types=["sliding_attention", "full_attention"])),
    "gemma3": (Gemma3ForCausalLM, Gemma3TextConfig(**COMMON, num_hidden_layers=4, sliding_window=6,
                                                   query_pre_attn_scalar=8, final_logit_softcapping=3.0,
                                                   layer_types=["sliding_attention", "full_attention"] * 2,
                                                   rope_scaling=dict(rope_type="linear", factor=8.0))),
    # As E2B: per-layer embeddings, the last layers read the keys and values of earlier ones and have twice the neurons.
    "gemma4": (Gemma4ForCausalLM, Gemma4TextConfig(**COMMON, num_hidden_layers=6, global_head_dim=16, sliding_window=6,
                                                   final_logit_softcapping=3.0, vocab_size_per_layer_input=48,
                                                   hidden_size_per_layer_input=8, num_kv_shared_layers=3,
                                                   use_double_wide_mlp=True,
                                                   layer_types=["sliding_attention", "sliding_attention",
                                                                "full_attention"] * 2)),
    # As 31B: values are unnormed keys in full layers, which have fewer groups; no per-layer embeddings.
    "gemma4_dense": (Gemma4ForCausalLM, Gemma4TextConfig(**COMMON, num_hidden_layers=3, global_head_dim=16,
                                                         sliding_window=6, final_logit_softcapping=3.0,
                                                         hidden_size_per_layer_input=0, attention_k_eq_v=True,
                                                         num_global_key_value_heads=1,
                                                         layer_types=["sliding_attention", "sliding_attention",
                                                                      "full_attention"])),
}


def forget_original_length(config):
    del config["rope_parameters"]["original_max_position_embeddings"]  # which transformers fills in when it loads


def tie(config):
    config["tie_word_embeddings"] = True


EDITS = {"llama_stretched": forget_original_length, "llama_own_head": tie, "gemma3_own_head": tie}


GRADIENTS = {"granite", "granite_tied", "olmo2", "olmo2_biases"}
SHOWN = 8


def gradients(model, ids):
    """Of each parameter: the norm, and the first numbers."""
    logits = model(torch.tensor([ids])).logits[0]
    loss = torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))
    loss.backward()
    found = {n: [p.grad.norm().item(), *p.grad.flatten()[:SHOWN].tolist()] for n, p in model.named_parameters()}
    return loss.item(), {n: [float(f"{v:.6g}") for v in values] for n, values in found.items()}


def make(name):
    cls, config = MODELS[name]
    config._attn_implementation = "eager"
    torch.manual_seed(7)
    model = cls(config).eval().float()
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(torch.randn_like(p) * (0.3 if p.ndim > 1 else 0.5) + (0.0 if p.ndim > 1 or name in ("gemma", "gemma2") or name.startswith("gemma3") else 1.0))
        for n, b in model.named_buffers():
            if n.endswith("layer_scalar"):
                b.copy_(0.5 + torch.rand_like(b))
        ids = torch.randint(0, config.vocab_size, (1, 24), generator=torch.Generator().manual_seed(3))
        logits = model(ids).logits[0]
    return model, ids[0].tolist(), logits


def main():
    verb, root = sys.argv[1], pathlib.Path(sys.argv[2])
    worst = 0.0
    for name in sys.argv[3:] or MODELS:
        model, ids, logits = make(name)
        folder = root / name
        if verb == "write":
            folder.mkdir(parents=True, exist_ok=True)
            model.save_pretrained(folder)
            for extra in folder.glob("generation_config.json"):
                extra.unlink()
            if name in EDITS:
                config = json.loads((folder / "config.json").read_text())
                EDITS[name](config)
                (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
            loss, found = gradients(model, ids) if name in GRADIENTS else (None, None)
            (folder / "golden.json").write_text(json.dumps({
                "made_by": f"transformers {transformers.__version__}, torch {torch.__version__}",
                "ids": ids, "logits": [[round(v, 6) for v in row] for row in logits.tolist()],
                **({"loss": loss, "gradients": found} if found else {})}))
        else:
            golden = json.loads((folder / "golden.json").read_text())
            assert golden["ids"] == ids
            worst = max(worst, (torch.tensor(golden["logits"]) - logits).abs().max().item())
            if name in GRADIENTS:
                for n, values in gradients(model, ids)[1].items():
                    before = torch.tensor(golden["gradients"][n])
                    assert (torch.tensor(values) - before).abs().max() < 1e-3 * before.abs().max(), n
        loaded = model.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        with torch.no_grad():
            worst = max(worst, (loaded(torch.tensor([ids])).logits[0] - logits).abs().max().item())
    print(f"largest difference of logits from transformers: {worst:.2e}")
    assert worst < 1e-4, "the golden logits do not agree"


main()
