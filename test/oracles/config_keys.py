"""What keys of config.json mean to transformers: the keys of every config class, and the logits of the golden checkpoints under a
config with one key taken away or changed.

Usage: config_keys.py write|compare test/golden [MODEL …]; with names, only their configs are written anew or compared.
"""
import contextlib
import dataclasses
import io
import json
import logging
import pathlib
import shutil
import sys
import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM

logging.disable(logging.CRITICAL)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

CLASSES = ["LlamaConfig", "MistralConfig", "Qwen2Config", "Qwen3Config", "Phi3Config", "SmolLM3Config", "GraniteConfig", "Olmo2Config", "GemmaConfig", "Gemma2Config", "Gemma3TextConfig", "Gemma4TextConfig",
           "Gemma4UnifiedTextConfig"]
SHOWN = 6

ANY = [
    dict(attention_bias=True), dict(attention_dropout=0.5), dict(initializer_range=0.5), dict(use_cache=False),
    dict(pad_token_id=3), dict(rms_norm_eps=0.01), dict(chunk_size_feed_forward=4), dict(num_labels=3),
    dict(max_position_embeddings=32), dict(tie_last_hidden_states=True), dict(output_hidden_states=True),
    dict(partial_rotary_factor=0.5), dict(rope_theta=100.0), dict(rope_parameters=None),
    dict(rope_parameters=None, rope_theta=100.0), dict(original_max_position_embeddings=16),
    dict(head_dim=None), dict(num_key_value_heads=None), dict(tie_word_embeddings=None),
    dict(embedding_multiplier=2.0, residual_multiplier=0.5, logits_scaling=2.0, attention_multiplier=0.1),
    dict(per_layer_config={"0": {"intermediate_size": 40}}), dict(per_layer_config={"0": {"rms_norm_eps": 0.1}}),
    dict(rope_interleaved=True), dict(attention_multiplier=0.5), dict(scale_attn_by_inverse_layer_idx=True),
    dict(num_experts=4, num_experts_per_tok=2), dict(num_local_experts=4), dict(layer_norm_eps=0.1),
    dict(use_qk_norm=True), dict(no_rope_layers=[0, 1, 0, 1, 0, 1]), dict(dtype="float16"),
    dict(quantization_config=None), dict(auto_map={"AutoModelForCausalLM": "modeling.Own"}),
]
ONE_ROPE = [
    dict(rope_parameters=dict(rope_type="default", rope_theta=50.0)),
    dict(rope_parameters=dict(rope_theta=50.0)),
    dict(rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=50.0)),
    dict(rope_parameters=None, rope_theta=50.0, rope_scaling=dict(type="linear", factor=4.0)),
    dict(rope_parameters=dict(rope_type="default", rope_theta=50.0), rope_scaling=dict(rope_type="linear", factor=4.0)),
    dict(rope_parameters=dict(rope_type="dynamic", factor=4.0, rope_theta=50.0)),
    dict(rope_parameters=dict(rope_type="yarn", factor=4.0, rope_theta=50.0, original_max_position_embeddings=16)),
    dict(rope_parameters=dict(rope_type="longrope", factor=4.0, rope_theta=50.0, original_max_position_embeddings=16,
                              short_factor=[1.0] * 4, long_factor=[2.0] * 4)),
    dict(rope_parameters=dict(rope_type="llama3", factor=4.0, rope_theta=50.0, low_freq_factor=1.0,
                              high_freq_factor=4.0, original_max_position_embeddings=16)),
    dict(rope_parameters=dict(rope_type="llama3", factor=4.0, rope_theta=50.0, low_freq_factor=1.0,
                              high_freq_factor=4.0, original_max_position_embeddings=16),
         original_max_position_embeddings=48),
    dict(rope_parameters=dict(rope_type="llama3", factor=4.0, rope_theta=50.0)),
    dict(rope_parameters=dict(rope_type="linear", rope_theta=50.0)),
    dict(rope_parameters=dict(rope_type="default", rope_theta=50.0, partial_rotary_factor=0.5)),
    dict(rope_parameters=dict(rope_type="default", rope_theta=50.0, factor=4.0)),
    dict(rope_parameters=dict(rope_type="proportional", rope_theta=50.0, partial_rotary_factor=0.5)),
    dict(rope_parameters=dict(full_attention=dict(rope_type="default", rope_theta=50.0))),
    dict(rope_parameters=None, rope_scaling=dict(rope_type="llama3", factor=4.0, low_freq_factor=1.0,
                                                 high_freq_factor=4.0)),
    dict(final_logit_softcapping=1.0), dict(attn_logit_softcapping=1.0), dict(query_pre_attn_scalar=2),
    dict(hidden_act="gelu"), dict(hidden_act="gelu_pytorch_tanh"), dict(hidden_act="swish"), dict(hidden_act="relu"),
    dict(sliding_window=4), dict(sliding_window=None), dict(use_sliding_window=True, sliding_window=4),
    dict(rope_type="linear", factor=2.0),
]
# What only breaks inside transformers: its default for Phi-3's and SmolLM3's padding lies outside a small vocabulary; a head size that is null.
BROKEN_THERE = [("phi3", dict(pad_token_id="(absent)")), ("phi3", dict(head_dim=None)), ("qwen2", dict(head_dim=None)), ("granite", dict(head_dim=None)), ("olmo2", dict(head_dim=None)),
                ("smollm3", dict(head_dim=None)), ("smollm3", dict(pad_token_id="(absent)"))]
WRONG_LENGTH = [dict(sliding_window=4, layer_types=["sliding_attention"] * 6)]
GEMMAS = [dict(hidden_activation=a) for a in ["gelu", "gelu_tanh", "silu", "relu", "gelu_new", "gelu_fast"]] + [
    dict(hidden_act="silu"), dict(final_logit_softcapping=1.0), dict(final_logit_softcapping=None),
    dict(use_bidirectional_attention=True), dict(use_bidirectional_attention="all"),
    dict(use_bidirectional_attention="vision"), dict(sliding_window=4), dict(sliding_window=None),
    dict(layer_types=None), dict(layer_types=["full_attention"] * 6), dict(layer_types=["sliding_attention"] * 6),
    dict(layer_types=["chunked_attention"] * 6), dict(use_sliding_window=False),
    dict(rope_parameters=dict(full_attention=dict(rope_type="linear", factor=2.0, rope_theta=50.0),
                              sliding_attention=dict(rope_type="default", rope_theta=20.0))),
    dict(rope_parameters=dict(full_attention=dict(rope_type="default", rope_theta=50.0))),
    dict(rope_parameters=dict(full_attention=None, sliding_attention=None)),
    dict(rope_parameters=dict(sliding_attention=dict(rope_type="linear", factor=4.0, rope_theta=20.0),
                              full_attention=dict(rope_type="default"))),
    dict(rope_parameters=dict(full_attention=dict(rope_type="yarn", factor=4.0, rope_theta=50.0,
                                                  original_max_position_embeddings=16),
                              sliding_attention=dict(rope_type="default", rope_theta=20.0))),
    dict(rope_parameters=dict(rope_type="linear", factor=4.0, rope_theta=50.0)),
]
GEMMA3 = [
    dict(query_pre_attn_scalar=2), dict(attn_logit_softcapping=1.0), dict(rope_local_base_freq=20.0),
    dict(rope_parameters=None, rope_local_base_freq=20.0, rope_theta=50.0),
    dict(rope_parameters=None, rope_scaling=dict(rope_type="linear", factor=4.0), rope_local_base_freq=20.0),
    dict(layer_types=None, sliding_window_pattern=2), dict(layer_types=None, _sliding_window_pattern=2),
    dict(sliding_window_pattern=2), dict(cache_implementation="hybrid"), dict(mm_tokens_per_image=4),
]
GEMMA4 = [
    dict(attention_k_eq_v=True), dict(enable_moe_block=True, num_experts=2, top_k_experts=1, moe_intermediate_size=8),
    dict(num_experts=2, top_k_experts=1), dict(num_kv_shared_layers=0), dict(num_kv_shared_layers=1),
    dict(use_double_wide_mlp=False), dict(rope_theta=50.0),
    dict(rope_local_base_freq=20.0), dict(query_pre_attn_scalar=2), dict(attn_logit_softcapping=1.0),
    dict(global_head_dim=16), dict(num_global_key_value_heads=1), dict(per_layer_config=None),
    dict(global_partial_rotary_factor=0.5), dict(layer_scalar=2.0), dict(altup_num_inputs=4),
]
CHANGES = {
    "llama": ANY + ONE_ROPE + WRONG_LENGTH + [dict(mlp_bias=True), dict(pretraining_tp=2), dict(hidden_activation="gelu")],
    "llama as mistral": [dict(sliding_window=4), dict(sliding_window=None), {}, dict(num_key_value_heads="(absent)"),
                         dict(sliding_window=4, layer_types=["sliding_attention", "full_attention"]),
                         dict(sliding_window=4, layer_types=None), dict(layer_types=["sliding_attention"] * 2),
                         dict(sliding_window=4, layer_types=["full_attention"] * 2),
                         dict(sliding_window=4, use_sliding_window=False)],
    "qwen3": ANY + ONE_ROPE + WRONG_LENGTH + [dict(max_window_layers=0, layer_types=None), dict(max_window_layers=9, layer_types=None),
                               dict(use_sliding_window=False), dict(sliding_window=4, layer_types=None),
                               dict(layer_types=["sliding_attention", "full_attention", "sliding_attention"]),
                               dict(layer_types=["full_attention"] * 3), dict(max_window_layers=0)],
    "llama_biases": [dict(attention_bias=False), dict(mlp_bias=False), dict(attention_bias=False, mlp_bias=False)],
    "qwen2": ANY + ONE_ROPE + WRONG_LENGTH + [dict(max_window_layers=0, layer_types=None), dict(use_sliding_window=False),
                               dict(sliding_window=4, layer_types=None), dict(layer_types=["full_attention"] * 3)],
    "phi3": ANY + ONE_ROPE + [dict(sliding_window=4, layer_types=["full_attention"] * 2), dict(resid_pdrop=0.5),
                              dict(use_cache=False, embd_pdrop=0.5)],
    "smollm3": ANY + ONE_ROPE + [dict(no_rope_layers=None), dict(no_rope_layers=[1, 1, 1, 1]), dict(no_rope_layers=[0, 0, 0, 1]),
                                 dict(no_rope_layers=None, no_rope_layer_interval=4), dict(layer_types=None),
                                 dict(layer_types=None, no_rope_layers=[1, 1, 0, 1]), dict(use_sliding_window=False),
                                 dict(mlp_bias=True), dict(layer_types=["full_attention"] * 4)],
    "granite": ANY + ONE_ROPE + [dict(embedding_multiplier=1), dict(attention_multiplier=1.0), dict(residual_multiplier=1.0),
                                 dict(logits_scaling=1.0), dict(mlp_bias=False), dict(attention_bias=False),
                                 dict(rope_parameters=None, rope_scaling=None)],
    "olmo2": ANY + ONE_ROPE + [dict(mlp_bias=True), dict(clip_qkv=1.0), dict(sliding_window=4, layer_types=["sliding_attention"] * 3)],
    "gemma": ANY + ONE_ROPE + [dict(hidden_activation="gelu"), dict(use_bidirectional_attention=True)],
    "gemma2": ANY + ONE_ROPE + [dict(hidden_activation=a) for a in ["gelu", "silu", "gelu_new"]] + [
        dict(final_logit_softcapping=None), dict(attn_logit_softcapping=None), dict(layer_types=None),
        dict(layer_types=["full_attention"] * 3), dict(layer_types=["sliding_attention"] * 3),
        dict(use_bidirectional_attention=True), dict(cache_implementation="hybrid")],
    "gemma3": ANY + GEMMAS + GEMMA3,
    "gemma4": ANY + GEMMAS + GEMMA4,
    "gemma4_dense": GEMMA4,
}
NOT_CASES = {"architectures", "model_type", "transformers_version"}


def classes():
    return {name: sorted(f.name for f in dataclasses.fields(getattr(transformers, name))) for name in CLASSES}


def outcome(folder, config, ids):
    """The first logits of the last position, or the name of the error."""
    with tempfile.TemporaryDirectory() as copy:
        copy = pathlib.Path(copy)
        shutil.copy(folder / "model.safetensors", copy)
        (copy / "config.json").write_text(json.dumps(config))
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                model, info = AutoModelForCausalLM.from_pretrained(
                    copy, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
            if info["missing_keys"]:
                return "missing tensors"
            with torch.no_grad():
                return [round(v, 5) for v in model.eval()(torch.tensor([ids])).logits[0, -1, :SHOWN].tolist()]
        except Exception as error:
            return type(error).__name__


def cases(root, wanted):
    found = []
    for title, changes in CHANGES.items():
        if wanted and title not in wanted:
            continue
        family = title.split()[0]
        folder = root / family
        config = json.loads((folder / "config.json").read_text())
        ids = json.loads((folder / "golden.json").read_text())["ids"]
        if title != family:
            config = {**config, "model_type": title.split()[-1]}
            config.pop("architectures")
        gone = [] if title != family else [key for key in config if key not in NOT_CASES]
        for change in [*changes, *({key: "(absent)"} for key in gone)]:
            if (title, change) in BROKEN_THERE:
                continue
            before = config
            if change.get("rope_parameters"):  # the old spelling would win
                before = {k: v for k, v in config.items() if k not in ("rope_scaling", "rope_theta")}
            whole = {**{k: "(absent)" for k in config if k not in before}, **change}
            changed = {k: v for k, v in {**config, **whole}.items() if v != "(absent)"}
            found.append(dict(model=title, change=whole, gives=outcome(folder, changed, ids)))
    return found


def main():
    verb, root = sys.argv[1], pathlib.Path(sys.argv[2])
    wanted = sys.argv[3:]
    made = dict(classes=classes(), cases=cases(root, wanted))
    file = root / "config-keys.json"
    before = json.loads(file.read_text())
    if verb == "write":
        if wanted:
            kept = {t: [case for case in before["cases"] if case["model"] == t] for t in CHANGES if t not in wanted}
            own = {t: [case for case in made["cases"] if case["model"] == t] for t in wanted}
            made["cases"] = [case for title in CHANGES for case in {**kept, **own}[title]]
        lines = ",\n".join("  " + json.dumps(case) for case in made["cases"])
        file.write_text(json.dumps(dict(made_by=f"transformers {transformers.__version__}", classes=made["classes"]),
                                   indent=1)[:-2] + f',\n "cases": [\n{lines}\n ]\n}}\n')
    else:
        assert before["classes"] == made["classes"], "the config classes have other keys now"
        kept = [case for case in before["cases"] if not wanted or case["model"] in wanted]
        for old, new in zip(kept, made["cases"], strict=True):
            assert old["change"] == new["change"] and type(old["gives"]) is type(new["gives"]), (old, new)
            if isinstance(old["gives"], list):
                assert max(abs(a - b) for a, b in zip(old["gives"], new["gives"])) < 1e-4, (old, new)
    print(f"{len(made['cases'])} configs, {sum(isinstance(c['gives'], list) for c in made['cases'])} of them load")


main()
