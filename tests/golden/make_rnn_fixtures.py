#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/rnn/: small recurrent checkpoints in seqd's layout with
what PyTorch says about them.

    /usr/bin/python3 tests/golden/make_rnn_fixtures.py [OUT [CASE...]]

Needs Debian's python3-torch (those with proj_size or one output: 2.5.1; concat:
2.15.0). Each fixture is a directory with config.json,
tokenizer.json, model.safetensors (weights rounded to the stored type first)
and expected.json: versions, and per sequence its ids, the logits of all
positions or the class scores, the top hidden states' last row and the final
states, from float32, with the largest difference to float64.
"""
import torch
from torch import nn

from fixture_files import DTYPES, make_all, save_net

V, E, H = 29, 13, 17
LENGTHS = (1, 2, 5, 16, 17, 33)
DEFAULTS = dict(cell="lstm", nonlinearity="tanh", layers=1, directions=1,
                head="lm", pooling="last", projection=0, tie=False, bias=True,
                output_bias=True, dtype="F32", V=V, E=E, H=H, C=3, prefix=None,
                proj_size=0, module=False)
CASES = {
    "elman-tanh": dict(cell="elman"),
    "elman-relu-2-bf16": dict(cell="elman", nonlinearity="relu", layers=2,
                              dtype="BF16"),
    "lstm": dict(),
    "lstm-3-f16": dict(layers=3, dtype="F16"),
    "lstm-2-nobias": dict(layers=2, bias=False, output_bias=False),
    "lstm-tied": dict(E=17, tie=True),
    "lstm-tied-projection": dict(projection=13, tie=True),
    "lstm-projection-prefix": dict(
        projection=11, layers=2,
        prefix=dict(embedding="encoder.embed.", rnn="encoder.lstm.",
                    projection="head.0.", output="head.1.")),
    "gru": dict(cell="gru"),
    "gru-2-bf16": dict(cell="gru", layers=2, dtype="BF16"),
    "gru-nobias-f16": dict(cell="gru", bias=False, dtype="F16"),
    "lstm-32": dict(H=32, E=16, V=48),
    "class-lstm-last": dict(head="classifier"),
    "class-lstm-mean-2": dict(head="classifier", pooling="mean", layers=2,
                              C=2),
    "class-gru-max": dict(head="classifier", cell="gru", pooling="max"),
    "class-elman-mean": dict(head="classifier", cell="elman", pooling="mean"),
    "class-bi-lstm-last-2": dict(head="classifier", directions=2, layers=2,
                                 dtype="BF16"),
    "class-bi-lstm-mean-projection": dict(head="classifier", directions=2,
                                          pooling="mean", projection=7),
    "class-bi-gru-max-3": dict(head="classifier", cell="gru", directions=2,
                               layers=3, pooling="max"),
    "class-bi-gru-last": dict(head="classifier", cell="gru", directions=2,
                              C=6, H=16),
    "class-bi-relu-mean-2": dict(head="classifier", cell="elman",
                                 nonlinearity="relu", directions=2, layers=2,
                                 pooling="mean"),
    "class-elman-max-projection": dict(head="classifier", cell="elman",
                                       pooling="max", projection=9),
    "class-lstm-concat-2": dict(head="classifier", pooling="concat", layers=2),
    "class-bi-gru-concat": dict(head="classifier", pooling="concat",
                                cell="gru", directions=2, projection=8),
    "lstm-proj": dict(proj_size=7),
    "lstm-proj-3-tied-f16": dict(proj_size=13, layers=3, tie=True,
                                 dtype="F16"),
    "lstm-proj-2-nobias": dict(proj_size=33, H=50, layers=2, bias=False),
    "class-lstm-proj-mean-2": dict(head="classifier", proj_size=5, layers=2,
                                   pooling="mean"),
    "class-bi-lstm-proj-last-2": dict(head="classifier", proj_size=11, H=40,
                                      directions=2, layers=2),
    "class-bi-lstm-proj-max-3": dict(head="classifier", proj_size=16, H=17,
                                     directions=2, layers=3, pooling="max",
                                     projection=6, dtype="BF16"),
    "class-lstm-one": dict(head="classifier", C=1, module=True),
    "class-bi-gru-one-projection": dict(head="classifier", cell="gru", C=1,
                                        directions=2, projection=5),
}


class Net(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        kind = dict(elman=nn.RNN, lstm=nn.LSTM, gru=nn.GRU)[c["cell"]]
        extra = dict(nonlinearity=c["nonlinearity"]) \
            if c["cell"] == "elman" else {}
        if c["proj_size"]:
            extra["proj_size"] = c["proj_size"]
        self.embedding = nn.Embedding(c["V"], c["E"])
        self.rnn = kind(c["E"], c["H"], c["layers"], bias=c["bias"],
                        bidirectional=c["directions"] == 2, batch_first=True,
                        **extra)
        width = (c["proj_size"] or c["H"]) * c["directions"]
        if c["head"] == "classifier" and c["pooling"] == "concat":
            width *= 3
        if c["projection"]:
            self.projection = nn.Linear(width, c["projection"])
            width = c["projection"]
        n_out = c["C"] if c["head"] == "classifier" else c["V"]
        self.output = nn.Linear(width, n_out, bias=c["output_bias"])
        if c["tie"]:
            self.output.weight = self.embedding.weight

    def pool(self, y, state):
        if self.c["pooling"] == "mean":
            return y.mean(1)
        if self.c["pooling"] == "max":
            return y.max(1).values
        if self.c["pooling"] == "concat":
            h = state[0] if self.c["cell"] == "lstm" else state
            last = torch.cat(list(h[-self.c["directions"]:]), 1)
            return torch.cat([last, y.max(1).values, y.mean(1)], 1)
        h = state[0] if self.c["cell"] == "lstm" else state
        return torch.cat(list(h[-self.c["directions"]:]), 1)

    def forward(self, ids):
        y, state = self.rnn(self.embedding(ids))
        s = self.pool(y, state) if self.c["head"] == "classifier" else y
        if self.c["projection"]:
            s = self.projection(s)
        return self.output(s), y, state


def config_of(c):
    out = dict(model_type="rnn", cell=c["cell"], vocab_size=c["V"],
               embedding_dim=c["E"], hidden_size=c["H"],
               num_layers=c["layers"], head=c["head"])
    if c["cell"] == "elman":
        out["nonlinearity"] = c["nonlinearity"]
    if c["directions"] == 2:
        out["bidirectional"] = True
    if not c["bias"]:
        out["bias"] = False
    if c["projection"]:
        out["projection_dim"] = c["projection"]
    if c["tie"]:
        out["tie_word_embeddings"] = True
    if c["head"] == "classifier":
        out["pooling"] = c["pooling"]
        out["id2label"] = {str(i): f"label-{i}"
                           for i in range(max(c["C"], 2))}
    if c["prefix"]:
        out["tensor_prefix"] = c["prefix"]
    return out


def tokenizer_of(n):
    entries = ["<unk>"] + [chr(ord("a") + i) for i in range(26)] + [" ", "."]
    entries += [chr(ord("A") + i) for i in range(n - len(entries))]
    return dict(version="1.0",
                added_tokens=[dict(id=0, content="<unk>", special=True)],
                normalizer=dict(type="seqd-characters"),
                model=dict(type="WordLevel", unk_token="<unk>",
                           vocab={e: i for i, e in enumerate(entries[:n])}))


def tensors_of(net, c):
    prefix = dict(embedding="embedding.", rnn="rnn.",
                  projection="projection.", output="output.")
    prefix.update(c["prefix"] or {})
    out = []
    for name, t in net.named_parameters():
        part, rest = name.split(".", 1)
        if not (c["tie"] and name == "output.weight"):
            out.append(("module." * c["module"] + prefix[part] + rest, t))
    return out


def rounded(v):
    """Nine digits name a float32 exactly."""
    return float(f"{v:.9g}")


def flat(t):
    return [rounded(v) for v in t.detach().float().flatten().tolist()]


def run(net, ids):
    out, y, state = net(torch.tensor([ids]))
    h, c = state if isinstance(state, tuple) else (state, None)
    r = dict(ids=ids, out=out[0], top=y[0, -1], h=h[:, 0])
    if c is not None:
        r["c"] = c[:, 0]
    return r


def make(name, case, out, seed):
    c = dict(DEFAULTS, **case)
    torch.manual_seed(seed)
    net = Net(c)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.7)  # away from the linear range of the gates
            p.copy_(p.to(DTYPES[c["dtype"]]).float())
    g = torch.Generator().manual_seed(seed + 1)
    seqs, diff = [], 0.0
    twin = Net(c).double()
    twin.load_state_dict({k: v.double() for k, v in net.state_dict().items()})
    with torch.no_grad():
        for n in LENGTHS:
            ids = torch.randint(0, c["V"], (n,), generator=g).tolist()
            a, b = run(net, ids), run(twin, ids)
            for k in a:
                if k != "ids":
                    diff = max(diff, (a[k] - b[k]).abs().max().item())
                    a[k] = flat(a[k])
            seqs.append(a)
    save_net(out / name, config_of(c), tokenizer_of(c["V"]),
             tensors_of(net, c), c["dtype"], ("sequences", seqs), seed=seed,
             max_difference_to_float64=diff)
    print(f"{name}: float64 differs by {diff:.2g}")


if __name__ == "__main__":
    make_all(CASES, "rnn", 1000, make)
