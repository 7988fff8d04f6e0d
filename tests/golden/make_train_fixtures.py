#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/train/: what PyTorch says about training small nets.

    /usr/bin/python3 tests/golden/make_train_fixtures.py [OUT]

Needs Debian's python3-torch. Each fixture is a directory with config.json and
model.safetensors (the weights that training starts from) in seqd's layout and
expect/model.safetensors, all F32:

  steps           [T] active rows at each time step (packed, time-major)
  ids, target     [20, N] of 20 batches; classifiers: target [20, B]
  output          softmax of the outputs on the first batch, [N, V] or [B, C]
  grad.NAME       gradient of the mean cross-entropy of the first batch
  curve.adam      loss of 20 steps from these weights, lr 0.01, weight decay
                  0.02, gradients clipped to norm 0.5
  curve.adamw     the same with decay 0.1, decoupled
  curve.sgd       lr 0.3, momentum 0.9, weight decay 0.001, clipped to 0.5

A language model carries its state from batch to batch, detached.
"""
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import PackedSequence

from fixture_files import make_all, save_training
from make_rnn_fixtures import DEFAULTS, Net, config_of, tensors_of

STEPS = 20
CLIP = 0.5
LM_STEPS = [4] * 6
CLASS_STEPS = [5, 4, 4, 3, 3, 1]  # lengths 6, 5, 5, 3, 1
CASES = {
    "lm-lstm": dict(),
    "lm-lstm-2": dict(layers=2, projection=5),
    "lm-lstm-2-tied": dict(layers=2, E=10, tie=True),
    "lm-lstm-tied-projection": dict(projection=8, tie=True),
    "lm-gru": dict(cell="gru"),
    "lm-gru-2-tied": dict(cell="gru", layers=2, E=10, tie=True),
    "lm-elman": dict(cell="elman"),
    "lm-elman-2": dict(cell="elman", layers=2),
    "lm-relu-2": dict(cell="elman", nonlinearity="relu", layers=2),
    "class-lstm-last": dict(head="classifier"),
    "class-bi-lstm-last-2": dict(head="classifier", directions=2, layers=2),
    "class-bi-lstm-mean": dict(head="classifier", directions=2,
                               pooling="mean"),
    "class-lstm-max": dict(head="classifier", pooling="max"),
    "class-bi-gru-max": dict(head="classifier", cell="gru", directions=2,
                             pooling="max"),
    "class-gru-mean-2": dict(head="classifier", cell="gru", layers=2,
                             pooling="mean"),
    "class-bi-gru-last": dict(head="classifier", cell="gru", directions=2),
    "class-bi-elman-last": dict(head="classifier", cell="elman",
                                directions=2),
    "class-relu-max-projection": dict(head="classifier", cell="elman",
                                      nonlinearity="relu", pooling="max",
                                      projection=5),
}


def optimisers(params):
    return dict(
        adam=torch.optim.Adam(params, lr=0.01, weight_decay=0.02),
        adamw=torch.optim.AdamW(params, lr=0.01, weight_decay=0.1),
        sgd=torch.optim.SGD(params, lr=0.3, momentum=0.9, weight_decay=0.001))


class Trainee(Net):
    """make_rnn_fixtures.Net over packed rows."""

    def forward(self, ids, steps, state):
        packed = PackedSequence(self.embedding(ids), torch.tensor(steps))
        y, state = self.rnn(packed, state)
        if self.c["head"] == "lm":
            s = y.data
        else:
            rows, n = nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
            s = torch.stack([self.pool_one(rows[i, :n[i]])
                             for i in range(len(n))])
        if self.c["projection"]:
            s = self.projection(s)
        return self.output(s), state

    def pool_one(self, rows):
        if self.c["pooling"] == "mean":
            return rows.mean(0)
        if self.c["pooling"] == "max":
            return rows.max(0).values
        H = self.c["H"]
        return torch.cat([rows[-1, :H], rows[0, H:]])


def detached(state):
    if isinstance(state, tuple):
        return tuple(s.detach() for s in state)
    return state.detach()


def curve(net, kind, ids, target, steps):
    optimiser = optimisers(list(net.parameters()))[kind]
    losses, state = [], None
    for k in range(STEPS):
        optimiser.zero_grad()
        out, state = net(ids[k], steps, state)
        state = detached(state) if net.c["head"] == "lm" else None
        loss = cross_entropy(out, target[k])
        loss.backward()
        clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def make(name, case, out, seed):
    c = dict(DEFAULTS, V=23, E=8, H=10)
    c.update(case)
    torch.manual_seed(seed)
    net = Trainee(c)
    steps = LM_STEPS if c["head"] == "lm" else CLASS_STEPS
    rows = sum(steps) if c["head"] == "lm" else steps[0]
    labels = c["V"] if c["head"] == "lm" else c["C"]
    ids = torch.randint(0, c["V"], (STEPS, sum(steps)))
    target = torch.randint(0, labels, (STEPS, rows))
    start = {k: v.clone() for k, v in net.state_dict().items()}

    scores, _ = net(ids[0], steps, None)
    cross_entropy(scores, target[0]).backward()
    expect = [("steps", torch.tensor(steps)), ("ids", ids),
              ("target", target), ("output", scores.softmax(1))]
    expect += [("grad." + n, dict(net.named_parameters())[n].grad.clone())
               for n, _ in tensors_of(net, c)]
    for kind in ("adam", "adamw", "sgd"):
        net.load_state_dict(start)
        expect.append(("curve." + kind, curve(net, kind, ids, target, steps)))
    net.load_state_dict(start)

    save_training(out / name, config_of(c), tensors_of(net, c), expect)


if __name__ == "__main__":
    make_all(CASES, "train", 500, make)
