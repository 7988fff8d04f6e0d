#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make those of tests/golden/train/ that are no plain language models and
classifiers: values from vectors, penalties on the states, predictions of the
last tokens alone, gradients by time.

    python3 tests/golden/make_train_value_fixtures.py [OUT [CASE...]]

Needs torch 2.5 and transformers 4.57. The fixtures are those of
make_train_fixtures.py, with

  x, value        [20, N, D] vectors in place of ids, [20, B, K] in place of
                  targets; the loss is the mean squared error
  pick            [M] rows that are predicted
  penalty         [2] ar and tar: ar * mean(h^2) + tar * mean((h_t - h_t-1)^2)
                  of the top states h is in the gradients, not in the curves
  trace.x         [T] of the loss of the last target of each text: sum over the
                  texts of the squared norm of the gradient of what is read at t
  trace.h, trace.c  [L, T] the same of the states that step t hands on
"""
import torch
import transformers as tr
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.nn.utils import clip_grad_norm_

from fixture_files import make_all, save_training
from make_rnn_fixtures import DEFAULTS, config_of, tensors_of
from make_train_fixtures import (CLASS_STEPS, CLIP, LM_STEPS, STEPS, Trainee,
                                 detached, optimisers)

D = 3
LENGTHS = [7, 5, 5, 1, 9]
CASES = {
    "value-lstm-2": dict(head="regression", layers=2, C=2, equal=True),
    "value-gru": dict(head="regression", cell="gru", C=1, equal=True),
    "value-relu-2": dict(head="regression", cell="elman", layers=2, C=1,
                         nonlinearity="relu", equal=True),
    "value-bi-elman-mean": dict(head="regression", cell="elman", C=2,
                                directions=2, pooling="mean", projection=5),
    "lm-lstm-2-penalty": dict(layers=2, E=10, tie=True, penalty=(2.0, 1.0)),
    "lm-gru-penalty-projection": dict(cell="gru", projection=8, tie=True,
                                      penalty=(0.5, 3.0)),
    "lm-gru-last": dict(cell="gru", last=2),
    "lm-lstm-2-trace": dict(layers=2, trace=True),
    "bert-value-2": None,
}


class Values(Trainee):
    """Of vectors."""

    def __init__(self, c):
        super().__init__(dict(c, head="classifier", E=D))
        self.embedding = nn.Identity()

    def forward(self, x, steps, state):
        return super().forward(x, steps, state)


def loss_of(net, c, out, target, top):
    """The loss, and with penalties."""
    if c["head"] == "regression":
        loss = mse_loss(out, target)
    else:
        loss = cross_entropy(out, target)
    ar, tar = c.get("penalty", (0, 0))
    if not (ar or tar):
        return loss, loss
    h = top.reshape(len(LM_STEPS), LM_STEPS[0], -1)
    return loss, (loss + ar * h.pow(2).mean() +
                  tar * (h[1:] - h[:-1]).pow(2).mean())


def run(net, c, x, steps, state, pick):
    """Outputs, states, and the top layer's output."""
    kept = []
    handle = net.rnn.register_forward_hook(
        lambda _, __, y: kept.append(y[0].data))
    out, state = net(x, steps, state)
    handle.remove()
    return out if pick is None else out[pick], state, kept[0]


def curve(net, c, kind, x, target, steps, pick):
    optimiser = optimisers(list(net.parameters()))[kind]
    losses, state = [], None
    for k in range(STEPS):
        optimiser.zero_grad()
        out, state, top = run(net, c, x[k], steps, state, pick)
        state = detached(state) if c["head"] == "lm" else None
        loss, whole = loss_of(net, c, out, target[k], top)
        whole.backward()
        clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def cells_of(net, c):
    """The layers as cells, to be run one step at a time."""
    kind = dict(elman=nn.RNNCell, lstm=nn.LSTMCell, gru=nn.GRUCell)[c["cell"]]
    extra = dict(nonlinearity=c["nonlinearity"]) if c["cell"] == "elman" else {}
    cells = []
    for layer in range(c["layers"]):
        w = {n: p for n, p in net.rnn.named_parameters()
             if n.endswith(f"_l{layer}")}
        cell = kind(w[f"weight_ih_l{layer}"].shape[1], c["H"], **extra)
        cell.load_state_dict({n[:n.rindex("_l")]: p for n, p in w.items()})
        cells.append(cell)
    return cells


def trace(net, c, x, steps, target):
    """Of texts of one length."""
    B, T, L = steps[0], len(steps), c["layers"]
    cells = cells_of(net, c)
    rows = net.embedding(x).detach().reshape(T, B, -1).requires_grad_()
    state = [(torch.zeros(B, c["H"]),) * 2 for _ in range(L)]
    kept = []
    for t in range(T):
        y = rows[t]
        for layer, cell in enumerate(cells):
            if c["cell"] == "lstm":
                h, m = cell(y, state[layer])
                m = m * 1  # what the next step reads, not this step's h
            else:
                h = m = cell(y, state[layer][0])
            h.retain_grad()
            m.retain_grad()
            state[layer] = (h, m)
            y = h
        kept.append(list(state))
    out = net.output(net.projection(y) if c["projection"] else y)
    if c["head"] == "regression":
        loss = (out - target).pow(2).mean(1).sum()
    else:
        loss = cross_entropy(out, target[-B:], reduction="sum")
    loss.backward()

    def squares(which):
        return torch.stack([torch.stack(
            [torch.zeros(()) if kept[t][layer][which].grad is None else
             kept[t][layer][which].grad.pow(2).sum() for t in range(T)])
            for layer in range(L)])

    found = [("trace.x", rows.grad.pow(2).sum((1, 2))), ("trace.h", squares(0))]
    return found + [("trace.c", squares(1))] * (c["cell"] == "lstm")


def config(c):
    if c["head"] == "lm":
        return config_of(c)
    out = config_of(dict(c, head="classifier"))
    for key in ("vocab_size", "embedding_dim", "id2label"):
        del out[key]
    return dict(out, head="regression", input_size=D, output_size=c["C"])


def make_recurrent(name, case, out, seed):
    c = dict(DEFAULTS, V=23, E=8, H=10)
    c.update(case)
    torch.manual_seed(seed)
    values = c["head"] == "regression"
    net = Values(c) if values else Trainee(c)
    steps = CLASS_STEPS if values and not c.get("equal") else LM_STEPS
    pick = None
    if values:
        x = torch.randn(STEPS, sum(steps), D)
        target = torch.randn(STEPS, steps[0], c["C"])
        entries = [("x", x), ("value", target)]
    else:
        if c.get("last"):
            pick = torch.arange(sum(steps[:-c["last"]]), sum(steps))
        rows = sum(steps) if pick is None else len(pick)
        x = torch.randint(0, c["V"], (STEPS, sum(steps)))
        target = torch.randint(0, c["V"], (STEPS, rows))
        entries = [("ids", x), ("target", target)]
    start = {k: v.clone() for k, v in net.state_dict().items()}
    tensors = tensors_of(net, c)

    scores, _, top = run(net, c, x[0], steps, None, pick)
    loss_of(net, c, scores, target[0], top)[1].backward()
    expect = [("steps", torch.tensor(steps)), *entries,
              ("output", scores if values else scores.softmax(1))]
    if pick is not None:
        expect.append(("pick", pick))
    if "penalty" in c:
        expect.append(("penalty", torch.tensor(c["penalty"])))
    expect += [("grad." + n, dict(net.named_parameters())[n].grad.clone())
               for n, _ in tensors]
    if c.get("equal") or c.get("trace"):
        expect += trace(net, c, x[0], steps, target[0])
    for kind in ("adam", "adamw", "sgd"):
        net.load_state_dict(start)
        expect.append(("curve." + kind,
                       curve(net, c, kind, x, target, steps, pick)))
    net.load_state_dict(start)
    save_training(out / name, config(c), tensors, expect)


class Encoder(nn.Module):
    """BERT over vectors."""

    def __init__(self, config):
        super().__init__()
        self.input = nn.Linear(D, config.hidden_size)
        self.net = tr.BertForSequenceClassification(config)

    def forward(self, x):
        return torch.cat([
            self.net(inputs_embeds=self.input(one)[None]).logits
            for one in torch.split(x, LENGTHS)])


def make_encoder(name, out, seed):
    torch.manual_seed(seed)
    net = Encoder(tr.BertConfig(
        vocab_size=2, max_position_embeddings=9, hidden_size=12,
        intermediate_size=20, num_attention_heads=3, num_hidden_layers=2,
        type_vocab_size=1, num_labels=2, hidden_dropout_prob=0,
        attention_probs_dropout_prob=0)).eval()
    names = {}
    for n, p in net.named_parameters():
        n = n.replace("input.", "bert.embeddings.input.") \
            if n.startswith("input.") else n[len("net."):]
        if n == "bert.embeddings.word_embeddings.weight":
            p.requires_grad_(False)
            continue
        names[n] = p
        with torch.no_grad():
            centre = 1.0 if n.endswith("LayerNorm.weight") else 0.0
            p.copy_(centre + 0.3 * torch.randn(p.shape))
    x = torch.randn(STEPS, sum(LENGTHS), D)
    value = torch.randn(STEPS, len(LENGTHS), 2)
    start = {k: v.clone() for k, v in net.state_dict().items()}
    tensors = [(n, p.detach().clone()) for n, p in names.items()]
    y = net(x[0])
    mse_loss(y, value[0]).backward()
    expect = [("lengths", torch.tensor(LENGTHS)), ("x", x), ("value", value),
              ("output", y.detach())]
    expect += [("grad." + n, p.grad.clone()) for n, p in names.items()]
    for kind in ("adam", "adamw", "sgd"):
        net.load_state_dict(start)
        optimiser = optimisers(list(names.values()))[kind]
        losses = []
        for k in range(STEPS):
            optimiser.zero_grad()
            loss = mse_loss(net(x[k]), value[k])
            loss.backward()
            clip_grad_norm_(list(names.values()), CLIP)
            optimiser.step()
            losses.append(loss.item())
        expect.append(("curve." + kind, torch.tensor(losses)))
    full = net.net.config
    save_training(out / name, dict(
        model_type="bert", architectures=["BertForSequenceClassification"],
        hidden_act="gelu", input_size=D, max_position_embeddings=9,
        type_vocab_size=1, hidden_size=12, num_hidden_layers=2,
        num_attention_heads=3, intermediate_size=20,
        layer_norm_eps=full.layer_norm_eps, problem_type="regression",
        num_labels=2), tensors, expect)


def make(name, case, out, seed):
    if case is None:
        make_encoder(name, out, seed)
    else:
        make_recurrent(name, case, out, seed)


if __name__ == "__main__":
    make_all(CASES, "train", 900, make)
