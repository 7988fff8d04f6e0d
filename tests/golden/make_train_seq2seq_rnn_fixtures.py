#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the recurrent encoder-decoders of tests/golden/train/: what PyTorch's
automatic differentiation says of the nets of make_seq2seq_rnn_fixtures.py that
seqd-train can make.

    python3 tests/golden/make_train_seq2seq_rnn_fixtures.py [OUT]

Made with torch 2.x. Batches are packed by time on both sides (feed.h): `ids`
and `target` by `steps`, `source` by `source_steps`, the source in place k being
that of text `source_text[k]`. `smoothing` is that of the loss.
"""
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from fixture_files import make_all, save_training
from make_seq2seq_rnn_fixtures import Net, config_of, settings
from make_train_fixtures import CLIP, STEPS, optimisers

LENGTHS, SOURCES = [6, 5, 5, 1], [3, 7, 1, 2]
BASE = dict(V=23, VS=23, E=8, ES=8, H=10)
CASES = {
    "pairs-gru-none": (0.0, dict()),
    "pairs-lstm-none-bi-2": (0.0, dict(cell="lstm", layers=2, both=True,
                                       bridge="tanh")),
    "pairs-gru-additive-bi": (0.1, dict(attention="additive", both=True,
                                        bridge="tanh")),
    "pairs-lstm-additive-2-tied": (0.0, dict(cell="lstm", layers=2,
                                             attention="additive", combine=8,
                                             tie=True)),
    "pairs-lstm-dot-2": (0.1, dict(cell="lstm", attention="dot", layers=2)),
    "pairs-gru-general-bi-combine": (0.0, dict(attention="general", both=True,
                                               combine=9, bridge="tanh")),
}


def by_time(lengths):
    """Rows (text, time) of texts by falling length, and how many a time has."""
    steps = [sum(n > t for n in lengths) for t in range(max(lengths))]
    return [(r, t) for t, n in enumerate(steps) for r in range(n)], steps


ORDER = sorted(range(len(SOURCES)), key=lambda r: -SOURCES[r])
ROWS, TIMES = by_time(LENGTHS)
PLACES, SOURCE_TIMES = by_time([SOURCES[r] for r in ORDER])


def unpack(ids, rows, n):
    texts = [[] for _ in range(n)]
    for (r, _), i in zip(rows, ids.tolist()):
        texts[r].append(i)
    return texts


def scores(net, source, ids):
    sources = unpack(source, PLACES, len(SOURCES))
    texts = unpack(ids, ROWS, len(LENGTHS))
    out = []
    for r, text in enumerate(texts):
        e, state = net.encode(sources[ORDER.index(r)])
        out.append([])
        for token in text:
            y, _, state = net.step(e, state, token)
            out[r].append(y)
    return torch.stack([out[r][t] for r, t in ROWS])


def curve(net, kind, source, ids, target, smoothing):
    optimiser = optimisers(list(net.parameters()))[kind]
    losses = []
    for k in range(STEPS):
        optimiser.zero_grad()
        loss = cross_entropy(scores(net, source[k], ids[k]), target[k],
                             label_smoothing=smoothing)
        loss.backward()
        clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def make(name, case, out, seed):
    smoothing, case = case
    c = settings(dict(BASE, **case))
    torch.manual_seed(seed)
    net = Net(c)
    if c["attention"] == "additive":  # as seqd-train has them
        net.attention["query"] = nn.Linear(c["H"], c["A"], bias=False)
        net.attention["score"] = nn.Linear(c["A"], 1, bias=False)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.4 * torch.randn(p.shape))
    source = torch.randint(0, c["V"], (STEPS, sum(SOURCES)))
    ids = torch.randint(0, c["V"], (STEPS, sum(LENGTHS)))
    target = torch.randint(0, c["V"], (STEPS, sum(LENGTHS)))
    start = {k: v.clone() for k, v in net.state_dict().items()}
    tensors = [(n, p.detach().clone()) for n, p in net.named_parameters()]

    y = scores(net, source[0], ids[0])
    cross_entropy(y, target[0], label_smoothing=smoothing).backward()
    expect = [("steps", torch.tensor(TIMES)), ("ids", ids),
              ("source_steps", torch.tensor(SOURCE_TIMES)),
              ("source_text", torch.tensor(ORDER)), ("source", source),
              ("smoothing", torch.tensor([smoothing])),
              ("target", target), ("output", y.detach().softmax(1))]
    expect += [("grad." + n, p.grad.clone())
               for n, p in net.named_parameters()]
    for kind in ("adam", "adamw", "sgd"):
        net.load_state_dict(start)
        expect.append(("curve." + kind,
                       curve(net, kind, source, ids, target, smoothing)))
    save_training(out / name, config_of(c), tensors, expect)


if __name__ == "__main__":
    make_all(CASES, "train", 950, make)
