"""The peers of quantization.ts on the same windows: rounding and GPTQ in torch, coremltools' palettes.

GPTQ as in its authors' code (Frantar et al., 2023): layer by layer, all inputs of a layer from one pass of its quantized
predecessors, damping 0.01, act-order with static groups, blocks of 128 columns. Embedding and head are rounded alike.
Prints a JSON list. Usage: quantization_peer.py MODEL WINDOWS.json
"""
import json
import logging
import sys
import time
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)

import torch
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
torch.set_grad_enabled(False)
windows = json.load(open(sys.argv[2]))
load = lambda: AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
base = load()
GROUP = 32


def hidden(model, ids):
    return model.model(torch.tensor([ids[:-1]]), use_cache=False).last_hidden_state[0]


base_hidden = [hidden(base, ids) for ids in windows["report"]]


def measure(model):
    nll = kl = count = 0
    for ids, reference in zip(windows["report"], base_hidden):
        p = torch.log_softmax(base.lm_head(reference), -1)
        q = torch.log_softmax(model.lm_head(hidden(model, ids)), -1)
        nll -= q.gather(1, torch.tensor(ids[1:])[:, None]).sum().item()
        kl += (p.exp() * (p - q)).sum().item()
        count += len(ids) - 1
    return nll / count, kl / count


def linears(model):
    return [m for m in model.model.layers.modules() if isinstance(m, torch.nn.Linear)]


def int4_scales(w):
    return (w.reshape(w.shape[0], -1, GROUP).abs().amax(2) / 7).half().float().clamp_min(2**-14)


def int4(w):
    s = int4_scales(w).repeat_interleave(GROUP, 1)
    return torch.clamp(torch.round(w / s), -8, 7) * s


def gptq(w, h):
    w, n = w.clone(), w.shape[1]
    scales = int4_scales(w)
    order = torch.argsort(h.diagonal(), descending=True)
    h = h[order][:, order] + 0.01 * h.diagonal().mean() * torch.eye(n)
    w = w[:, order]
    u = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    out = torch.zeros_like(w)
    for i in range(0, n, 128):
        end = min(i + 128, n)
        block, errors = w[:, i:end].clone(), torch.zeros(w.shape[0], end - i)
        for c in range(end - i):
            s = scales[:, order[i + c] // GROUP]
            out[:, i + c] = torch.clamp(torch.round(block[:, c] / s), -8, 7) * s
            errors[:, c] = (block[:, c] - out[:, i + c]) / u[i + c, i + c]
            block[:, c:] -= errors[:, c : c + 1] * u[i + c, i + c : end][None]
        w[:, end:] -= errors @ u[i:end, end:]
    return out[:, torch.argsort(order)]


def gptq_model(model):
    streams, calls = [], {}

    class Stop(Exception):
        pass

    def catch(_module, args, kwargs):
        streams.append(args[0])
        calls.update(kwargs)
        raise Stop

    model.model.embed_tokens.weight.copy_(int4(model.model.embed_tokens.weight))
    hook = model.model.layers[0].register_forward_pre_hook(catch, with_kwargs=True)
    for ids in windows["calibration"]:
        try:
            model.model(torch.tensor([ids[:-1]]), use_cache=False)
        except Stop:
            pass
    hook.remove()
    run = lambda layer, x: (lambda y: y[0] if isinstance(y, tuple) else y)(layer(x, **calls))
    for layer in model.model.layers:
        grams = {}

        def add(module, args):
            x = args[0].reshape(-1, args[0].shape[-1])
            grams[module] = grams.get(module, 0) + x.T @ x

        hooks = [m.register_forward_pre_hook(add) for m in layer.modules() if isinstance(m, torch.nn.Linear)]
        for x in streams:
            run(layer, x)
        for hook in hooks:
            hook.remove()
        for module, h in grams.items():
            module.weight.copy_(gptq(module.weight, h))
        streams = [run(layer, x) for x in streams]


def palettes(model):
    from coremltools._deps import kmeans1d

    for w in [model.model.embed_tokens.weight] + [m.weight for m in linears(model)]:
        for r in range(0, w.shape[0], 16):
            clusters, centroids = kmeans1d.cluster(w[r : r + 16].reshape(-1).tolist(), 16)
            w[r : r + 16] = torch.tensor(centroids).half().float()[torch.tensor(clusters)].reshape(16, -1)


def rounded(model):
    for w in [model.model.embed_tokens.weight] + [m.weight for m in linears(model)]:
        w.copy_(int4(w))


matrices = [base.model.embed_tokens.weight] + [m.weight for m in linears(base)]
all_elements = sum(p.numel() for p in base.parameters())
elements = sum(w.numel() for w in matrices)
tables = sum(w.shape[0] // 16 * 16 * 16 for w in matrices)
norms = 16 * (all_elements - elements)
found = []
for name, work, bits in [
    ("torch: int4 groups of 32, rounded", rounded, (4.5 * elements + norms) / all_elements),
    ("torch: int4 groups of 32, GPTQ", gptq_model, (4.5 * elements + norms) / all_elements),
    ("coremltools: palette 4", palettes, (4 * elements + tables + norms) / all_elements),
]:
    model = load()
    started = time.process_time()
    work(model)
    seconds = time.process_time() - started
    nll, kl = measure(model)
    found.append({"scheme": name, "bits": bits, "nll": nll, "kl": kl, "seconds": seconds})
    print(found[-1], file=sys.stderr, flush=True)
print(json.dumps(found))
