#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make the encoder-decoders of tests/golden/train/: what Hugging Face's Marian
says under PyTorch's automatic differentiation.

    python3 tests/golden/make_train_seq2seq_fixtures.py [OUT]

Made with torch 2.5.1 and transformers 4.57.6. The fixtures are those of
make_train_transformer_fixtures.py, whose `ids` are what the decoder reads here,
with `source` and `source_lengths` beside them and `smoothing`, that of the
loss. Dropout is off; weights are drawn wide, so that no gradient is tiny, the
output's bias (which no optimiser changes) too. PyTorch gives no gradient to the
pad token's row where it is read: not so here, since in this net it begins all
targets and learns.
"""
import torch
import transformers as tr
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from fixture_files import make_all, save_training
from make_train_fixtures import CLIP, STEPS, optimisers

V, E, F, A, T = 23, 12, 20, 3, 9
LENGTHS = [7, 5, 5, 1, 9]
SOURCES = [3, 8, 1, 2, 6]
BASE = dict(vocab_size=V, d_model=E, encoder_ffn_dim=F, decoder_ffn_dim=F,
            encoder_attention_heads=A, decoder_attention_heads=A,
            max_position_embeddings=T, pad_token_id=V - 1,
            decoder_start_token_id=V - 1, eos_token_id=0,
            forced_eos_token_id=0, scale_embedding=True, dropout=0,
            attention_dropout=0, activation_dropout=0,
            attn_implementation="eager")
CASES = {
    "marian-1": (0.0, dict(encoder_layers=1, decoder_layers=1,
                           activation_function="relu")),
    "marian-1-2": (0.1, dict(encoder_layers=1, decoder_layers=2,
                             activation_function="swish")),
    "marian-2-1": (0.1, dict(encoder_layers=2, decoder_layers=1,
                             activation_function="relu")),
}
CONFIG = ("vocab_size d_model encoder_layers decoder_layers encoder_ffn_dim "
          "decoder_ffn_dim encoder_attention_heads decoder_attention_heads "
          "max_position_embeddings pad_token_id decoder_start_token_id "
          "eos_token_id forced_eos_token_id scale_embedding "
          "activation_function is_encoder_decoder").split()


def scores(net, source, ids):
    return torch.cat([net(input_ids=s[None], decoder_input_ids=t[None],
                          use_cache=False).logits[0]
                      for s, t in zip(torch.split(source, SOURCES),
                                      torch.split(ids, LENGTHS))])


def trained(net):
    return [(n, p) for n, p in net.named_parameters() if p.requires_grad]


def curve(net, kind, source, ids, target, smoothing):
    parameters = [p for _, p in trained(net)]
    optimiser = optimisers(parameters)[kind]
    losses = []
    for k in range(STEPS):
        optimiser.zero_grad()
        loss = cross_entropy(scores(net, source[k], ids[k]), target[k],
                             label_smoothing=smoothing)
        loss.backward()
        clip_grad_norm_(parameters, CLIP)
        optimiser.step()
        losses.append(loss.item())
    return torch.tensor(losses)


def make(name, case, out, seed):
    smoothing, more = case
    torch.manual_seed(seed)
    net = tr.MarianMTModel(tr.MarianConfig(**BASE, **more)).eval()
    net.get_input_embeddings().padding_idx = None
    with torch.no_grad():
        for n, p in trained(net):
            centre = 1.0 if n.endswith("norm.weight") else 0.0
            p.copy_(centre + 0.3 * torch.randn(p.shape))
        net.final_logits_bias.copy_(0.3 * torch.randn(1, V))
    source = torch.randint(0, V, (STEPS, sum(SOURCES)))
    ids = torch.randint(0, V, (STEPS, sum(LENGTHS)))
    target = torch.randint(0, V, (STEPS, sum(LENGTHS)))
    start = {k: v.clone() for k, v in net.state_dict().items()}
    tensors = [(n, p.detach().clone()) for n, p in trained(net)]
    tensors.append(("final_logits_bias", net.final_logits_bias.clone()))

    y = scores(net, source[0], ids[0])
    cross_entropy(y, target[0], label_smoothing=smoothing).backward()
    expect = [("lengths", torch.tensor(LENGTHS)), ("ids", ids),
              ("source_lengths", torch.tensor(SOURCES)), ("source", source),
              ("smoothing", torch.tensor([smoothing])),
              ("target", target), ("output", y.detach().softmax(1))]
    expect += [("grad." + n, p.grad.clone()) for n, p in trained(net)]
    for kind in ("adam", "adamw", "sgd"):
        net.load_state_dict(start)
        expect.append(("curve." + kind,
                       curve(net, kind, source, ids, target, smoothing)))

    full = net.config.to_dict()
    config = dict(model_type="marian", architectures=["MarianMTModel"])
    config.update((k, full[k]) for k in CONFIG)
    save_training(out / name, config, tensors, expect)


if __name__ == "__main__":
    make_all(CASES, "train", 900, make)
