#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/seq2seq-rnn/: small recurrent encoder-decoders in seqd's
layout with what PyTorch says about them.

    python3 tests/golden/make_seq2seq_rnn_fixtures.py [OUT [CASE...]]

Needs torch (made with 2.x, see made_with). Each fixture is a directory with
config.json, tokenizer.json, model.safetensors and expected.json: per pair the
ids of source and target, the logits after each target token, the attention's
weights, and the greedy continuation of the start token, from float32, with the
largest difference to float64 and the smallest margin of a greedy choice.
"""
import torch
from torch import nn

from fixture_files import DTYPES, make_all, save_net
from make_rnn_fixtures import flat, tokenizer_of

START, END, LONGEST = 1, 2, 12
SOURCES, TARGETS = (1, 3, 16, 17, 40), (1, 7, 4, 9, 17)
DEFAULTS = dict(cell="gru", layers=1, both=False, attention="none", VS=19, V=23,
                ES=11, E=7, HS=None, H=17, A=None, into=None, late=True,
                combine=None, bridge="copy", bridge_cell=True, tie=False,
                bias=True, dtype="F32", reverse=False)
CASES = {
    "gru-none": dict(),
    "lstm-none-2": dict(cell="lstm", layers=2, HS=17),
    "lstm-none-bi-2": dict(cell="lstm", layers=2, both=True, bridge="tanh"),
    "gru-none-bi-4": dict(layers=4, both=True, HS=9, bridge="linear"),
    "gru-additive-bi": dict(attention="additive", both=True, HS=10, A=13,
                            bridge="tanh"),
    "gru-additive-2-state": dict(attention="additive", layers=2, late=False,
                                 bias=False),
    "lstm-additive-bi-2-combine": dict(
        cell="lstm", attention="additive", layers=2, both=True, HS=8, A=20,
        bridge="linear", combine=7, tie=True),
    "gru-additive-output": dict(attention="additive", into="output"),
    "lstm-dot": dict(cell="lstm", attention="dot", bridge_cell=False),
    "gru-dot-bi-2-combine": dict(attention="dot", both=True, layers=2, HS=8,
                                 H=16, combine=19, bridge="tanh"),
    "lstm-general-bi-combine-f16": dict(
        cell="lstm", attention="general", both=True, HS=33, combine=21,
        bridge="linear", dtype="F16"),
    "lstm-general-2-input": dict(cell="lstm", attention="general", layers=2,
                                 HS=12, into="input", bridge="linear",
                                 bridge_cell=False),
    "lstm-dot-input-bf16": dict(cell="lstm", attention="dot", into="input",
                                late=False, dtype="BF16"),
    "gru-none-reverse": dict(reverse=True),
    "lstm-general-bi-reverse": dict(cell="lstm", attention="general", both=True,
                                    HS=9, bridge="linear", reverse=True),
}


class Side(nn.Module):
    def __init__(self, rnn, V, E, inputs, H, c, both):
        super().__init__()
        self.embedding = nn.Embedding(V, E)
        self.rnn = rnn(inputs, H, c["layers"], bias=c["bias"],
                       bidirectional=both, batch_first=True)


class Net(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        rnn = dict(lstm=nn.LSTM, gru=nn.GRU)[c["cell"]]
        H, HS = c["H"], c["HS"]
        C = HS * (2 if c["both"] else 1)
        kind = c["attention"]
        self.early = kind != "none" and c["into"] == "input"
        self.late = kind != "none" and c["late"]
        self.encoder = Side(rnn, c["VS"], c["ES"], c["ES"], HS, c, c["both"])
        self.decoder = Side(rnn, c["V"], c["E"],
                            c["E"] + (C if self.early else 0), H, c, False)
        parts = {}
        if kind == "additive":
            parts = dict(query=nn.Linear(H, c["A"], bias=c["bias"]),
                         key=nn.Linear(C, c["A"]),
                         score=nn.Linear(c["A"], 1))
        elif kind == "general":
            parts = dict(key=nn.Linear(C, H, bias=False))
        if c["combine"]:
            parts["combine"] = nn.Linear(H + C, c["combine"], bias=c["bias"])
        self.attention = nn.ModuleDict(parts)
        if c["bridge"] != "copy":
            names = "hc" if c["cell"] == "lstm" and c["bridge_cell"] else "h"
            self.bridge = nn.ModuleDict({n: nn.ModuleList(
                nn.Linear(C, H) for _ in range(c["layers"])) for n in names})
        width = c["combine"] or H + (C if self.late else 0)
        self.output = nn.Linear(width, c["V"])
        if c["tie"]:
            self.output.weight = self.decoder.embedding.weight

    def cross(self, s, part):
        """Last states [L * D, 1, HS] of the encoder to [L, 1, H]."""
        if part == "c" and not self.c["bridge_cell"]:
            return torch.zeros(self.c["layers"], 1, self.c["H"], dtype=s.dtype)
        if self.c["bridge"] == "copy":
            return s
        D = 2 if self.c["both"] else 1
        s = s.view(self.c["layers"], D, 1, -1)
        rows = [f(torch.cat(list(x), -1))
                for f, x in zip(self.bridge[part], s)]
        y = torch.stack(rows)
        return torch.tanh(y) if self.c["bridge"] == "tanh" else y

    def encode(self, ids):
        if self.c["reverse"]:
            ids = ids[::-1]
        e, s = self.encoder.rnn(self.encoder.embedding(torch.tensor([ids])))
        if self.c["reverse"]:
            e = e.flip(1)
        if self.c["cell"] == "lstm":
            return e[0], (self.cross(s[0], "h"), self.cross(s[1], "c"))
        return e[0], self.cross(s, "h")

    def context(self, e, q):
        """e [S, C], q [H]: weights [S] and their mean [C]."""
        a = self.attention
        if self.c["attention"] == "additive":
            z = a["score"](torch.tanh(a["query"](q) + a["key"](e)))[:, 0]
        elif self.c["attention"] == "general":
            z = a["key"](e) @ q
        else:
            z = e @ q
        w = torch.softmax(z, 0)
        return w, w @ e

    def step(self, e, state, token):
        """One target token: logits [V], weights [S] or None, the state."""
        x = self.decoder.embedding(torch.tensor(token))
        w = ctx = None
        if self.early:
            top = (state[0] if self.c["cell"] == "lstm" else state)[-1, 0]
            w, ctx = self.context(e, top)
            x = torch.cat([x, ctx])
        y, state = self.decoder.rnn(x[None, None], state)
        y = y[0, 0]
        if self.late:
            if not self.early:
                w, ctx = self.context(e, y)
            y = torch.cat([y, ctx])
        if self.c["combine"]:
            y = torch.tanh(self.attention["combine"](y))
        return self.output(y), w, state


def config_of(c):
    out = dict(model_type="seq2seq-rnn", cell=c["cell"],
               source_vocab_size=c["VS"], vocab_size=c["V"],
               embedding_dim=c["E"], encoder_embedding_dim=c["ES"],
               hidden_size=c["H"], encoder_hidden_size=c["HS"],
               num_layers=c["layers"], bidirectional=c["both"],
               attention=c["attention"], bridge=c["bridge"],
               decoder_start_token_id=START, eos_token_id=END)
    if c["attention"] == "additive":
        out["attention_dim"] = c["A"]
    if c["attention"] != "none":
        out["context_into"] = c["into"]
        out["output_context"] = c["late"]
        out["max_source_length"] = 64
    if c["combine"]:
        out["combine_dim"] = c["combine"]
    if c["cell"] == "lstm":
        out["bridge_cell"] = c["bridge_cell"]
    if c["reverse"]:
        out["reverse_source"] = True
    if c["tie"]:
        out["tie_word_embeddings"] = True
    return out


def run(net, source, target):
    e, state = net.encode(source)
    logits, weights = [], []
    for token in target:
        z, w, state = net.step(e, state, token)
        logits.append(z)
        weights.append(w)
    out = dict(logits=torch.stack(logits))
    if weights[0] is not None:
        out["attention"] = torch.stack(weights)
    return out


def greedy(net, source):
    e, state = net.encode(source)
    ids, token, margin = [], START, float("inf")
    while len(ids) < LONGEST and token != END:
        z, _, state = net.step(e, state, token)
        best = torch.topk(z, 2).values
        margin = min(margin, (best[0] - best[1]).item())
        token = int(z.argmax())
        ids.append(token)
    return ids, margin


def settings(case):
    c = dict(DEFAULTS, **case)
    c["HS"] = c["HS"] or c["H"]
    c["A"] = c["A"] or c["H"]
    c["into"] = c["into"] or ("input" if c["attention"] == "additive"
                              else "output")
    return c


def make(name, case, out, seed):
    c = settings(case)
    torch.manual_seed(seed)
    net = Net(c)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.7)  # away from the linear range of the gates
            p.copy_(p.to(DTYPES[c["dtype"]]).float())
    twin = Net(c).double()
    twin.load_state_dict({k: v.double() for k, v in net.state_dict().items()})
    g = torch.Generator().manual_seed(seed + 1)
    pairs, diff, least = [], 0.0, float("inf")
    with torch.no_grad():
        for n, m in zip(SOURCES, TARGETS):
            source = torch.randint(0, c["VS"], (n,), generator=g).tolist()
            target = [START] + torch.randint(0, c["V"], (m - 1,),
                                             generator=g).tolist()
            a, b = run(net, source, target), run(twin, source, target)
            pair = dict(source=source, target=target)
            for k in a:
                diff = max(diff, (a[k] - b[k]).abs().max().item())
                pair[k] = flat(a[k])
            pair["greedy"], margin = greedy(net, source)
            least = min(least, margin)
            pairs.append(pair)
    assert least > 1e-4, "a greedy choice is too close"
    save_net(out / name, config_of(c), tokenizer_of(c["V"]),
             list(net.named_parameters()), c["dtype"], ("pairs", pairs),
             seed=seed, max_difference_to_float64=diff, least_margin=least)
    print(f"{name}: float64 differs by {diff:.2g}, margin {least:.2g}")


if __name__ == "__main__":
    make_all(CASES, "seq2seq-rnn", 2000, make)
