#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the Transformers of tests/golden/train/: what Hugging Face's GPT-2 and
BERT say under PyTorch's automatic differentiation.

    /usr/bin/python3 tests/golden/make_train_transformer_fixtures.py [OUT]

Needs Debian's python3-torch and transformers 4.30. The fixtures are those of
make_train_fixtures.py, but in sequence-major order: `lengths` [B] in place of
`steps`, and for a masked model `pick` [M], the rows that are predicted.
Dropout is off; weights are drawn wider than Hugging Face does, so that no
gradient is tiny.
"""
import torch
import transformers as tr
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from fixture_files import make_all, save_training
from make_train_fixtures import CLIP, STEPS, optimisers

V, E, F, A, T = 23, 12, 20, 3, 9
LENGTHS = [7, 5, 5, 1, 9]
GPT2 = dict(vocab_size=V, n_positions=T, n_embd=E, n_inner=F, n_head=A,
            resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
BERT = dict(vocab_size=V, max_position_embeddings=T, hidden_size=E,
            intermediate_size=F, num_attention_heads=A, type_vocab_size=1,
            pad_token_id=None, hidden_dropout_prob=0,
            attention_probs_dropout_prob=0)
LABELS = {0: "bad", 1: "fair", 2: "good"}
CASES = {
    "gpt2-1": (tr.GPT2LMHeadModel, tr.GPT2Config(n_layer=1, **GPT2)),
    "gpt2-2": (tr.GPT2LMHeadModel, tr.GPT2Config(n_layer=2, **GPT2)),
    "bert-1": (tr.BertForSequenceClassification,
               tr.BertConfig(num_hidden_layers=1, id2label=LABELS, **BERT)),
    "bert-2": (tr.BertForSequenceClassification,
               tr.BertConfig(num_hidden_layers=2, id2label=LABELS, **BERT)),
    "bert-masked-2": (tr.BertForMaskedLM,
                      tr.BertConfig(num_hidden_layers=2, **BERT)),
    "bert-causal-2": (tr.BertLMHeadModel,
                      tr.BertConfig(num_hidden_layers=2, is_decoder=True,
                                    **BERT)),
}
CONFIG = ("vocab_size n_positions n_embd n_layer n_head n_inner "
          "activation_function layer_norm_epsilon hidden_act "
          "max_position_embeddings type_vocab_size hidden_size "
          "num_hidden_layers num_attention_heads intermediate_size "
          "layer_norm_eps").split()


def scores(net, ids, pick):
    """[rows, K] of the rows that a loss is taken of."""
    out = []
    for one in torch.split(ids, LENGTHS):
        y = net(one[None]).logits[0]
        out.append(y if y.dim() == 2 else y[None])
    out = torch.cat(out)
    return out if pick is None else out[pick]


def curve(net, kind, ids, target, pick):
    optimiser = optimisers(list(net.parameters()))[kind]
    losses = []
    for k in range(STEPS):
        optimiser.zero_grad()
        loss = cross_entropy(scores(net, ids[k], pick), target[k])
        loss.backward()
        clip_grad_norm_(net.parameters(), CLIP)
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def config_of(net):
    full = net.config.to_dict()
    out = dict(model_type=full["model_type"],
               architectures=[type(net).__name__])
    out.update((k, full[k]) for k in CONFIG if k in full)
    if full.get("is_decoder"):
        out["is_decoder"] = True
    if "Classification" in type(net).__name__:
        out["id2label"] = {str(k): v for k, v in LABELS.items()}
    return out


def make(name, case, out, seed):
    model, config = case
    torch.manual_seed(seed)
    net = model(config).eval()
    with torch.no_grad():
        for n, p in net.named_parameters():
            centre = 1.0 if n.lower().endswith(("norm.weight", "ln_1.weight",
                                                "ln_2.weight",
                                                "ln_f.weight")) else 0.0
            p.copy_(centre + 0.3 * torch.randn(p.shape))
    labels = "Classification" in model.__name__
    pick = torch.arange(1, sum(LENGTHS), 3) if "masked" in name else None
    rows = (len(LENGTHS) if labels else
            sum(LENGTHS) if pick is None else len(pick))
    ids = torch.randint(0, V, (STEPS, sum(LENGTHS)))
    target = torch.randint(0, len(LABELS) if labels else V, (STEPS, rows))
    start = {k: v.clone() for k, v in net.state_dict().items()}
    tensors = [(n, p.detach().clone()) for n, p in net.named_parameters()]

    y = scores(net, ids[0], pick)
    cross_entropy(y, target[0]).backward()
    expect = [("lengths", torch.tensor(LENGTHS)), ("ids", ids),
              ("target", target), ("output", y.detach().softmax(1))]
    if pick is not None:
        expect.append(("pick", pick))
    expect += [("grad." + n, p.grad.clone())
               for n, p in net.named_parameters()]
    for kind in ("adam", "adamw", "sgd"):
        net.load_state_dict(start)
        expect.append(("curve." + kind, curve(net, kind, ids, target, pick)))

    save_training(out / name, config_of(net), tensors, expect)


if __name__ == "__main__":
    make_all(CASES, "train", 700, make)
