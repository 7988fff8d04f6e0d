#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/beam_encdec.json: what the beam search of transformers
finds with the encoder-decoders of make_encdec_fixtures.py, which come first.

    python3 tests/golden/make_beam_encdec_fixtures.py [OUT]

Needs torch 2.5 or later, transformers 4.57 and safetensors. The file maps
"kind/name" to a list of sets, each with the `pair` whose source is read and
`eos` (the model's own end and likely tokens, so that many hypotheses end
early); its `cases` say what generate() was asked for (`beams`, `penalty`,
`early`: false, true or "never", `max_new`, `best`, and of some `min_new`,
`no_repeat`, `renormalize`) and what it gave: `ids`
without start and end, `ended` (false also where the end was forced), `scores`
(of more than one beam); of some models the best text of one case has
`attention` [tokens, source], cross_attentions of the last layer, the mean over
its heads: row i is that of the position whose logits token i is taken from.
What the checkpoint's generation_config.json forces or forbids holds. A case
stands there only when the search in double precision gives the same ids: no
choice hangs on the last bit.
"""
import json
import sys
from pathlib import Path

import torch
import transformers as tr
from safetensors.torch import load_file

HERE = Path(__file__).resolve().parent
MAX_NEW = 12
SHOWN = ("marian", "t5")
ASKED = [(1, 1.0, False), (2, 1.0, False), (2, 0.5, "never"),
         (4, 1.0, False), (4, 1.0, True), (4, 1.0, "never"), (4, 0.5, False),
         (4, 2.0, True)]
MORE = [(4, 1.0, False, dict(no_repeat=2)), (1, 1.0, False, dict(no_repeat=1)),
        (4, 1.0, True, dict(no_repeat=3, renormalize=True)),
        (3, 0.5, False, dict(renormalize=True)),
        (4, 1.0, True, dict(min_new=6)),
        (2, 2.0, False, dict(min_new=4, no_repeat=2, renormalize=True))]
NAMES = dict(no_repeat="no_repeat_ngram_size", min_new="min_new_tokens",
             renormalize="renormalize_logits")


def search(model, source, eos, beams, penalty, early, max_new, best, **more):
    forced = model.generation_config.forced_eos_token_id is not None
    out = model.generate(
        source[None], attention_mask=torch.ones(1, len(source),
                                                dtype=torch.long),
        num_beams=beams, length_penalty=penalty, early_stopping=early,
        max_new_tokens=max_new, num_return_sequences=best, do_sample=False,
        eos_token_id=eos, use_cache=False, return_dict_in_generate=True,
        output_scores=True, **{NAMES[k]: v for k, v in more.items()})
    ids, ended = [], []
    for row in out.sequences.tolist():
        new = row[1:]
        at = next((i for i, t in enumerate(new) if t in eos), len(new))
        ids.append(new[:at])
        ended.append(at < len(new) and not (forced and at == max_new - 1))
    scores = out.sequences_scores.tolist() if beams > 1 else []
    return dict(ids=ids, ended=ended, scores=scores)


def attention(model, source, ids):
    ids = [model.config.decoder_start_token_id] + ids[:-1]
    with torch.no_grad():
        y = model(input_ids=source[None], decoder_input_ids=torch.tensor([ids]),
                  output_attentions=True, use_cache=False)
    w = y.cross_attentions[-1][0].mean(0)
    return [[round(x, 7) for x in row] for row in w.tolist()]


def likely(model, source, never):
    """Tokens that are likely after two of the likeliest, but not the first
    choice."""
    ids = [model.config.decoder_start_token_id]
    with torch.no_grad():
        for left in (2, 1, 0):
            row = model(input_ids=source[None],
                        decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            best = [t for t in row.topk(8).indices.tolist() if t not in never]
            ids += best[:1] if left else []
    return best[1:3]


def read(folder, dtype):
    """from_pretrained, but it fails on a second vocabulary of another size,
    and so does generate(), which takes the source's for the target's."""
    config = tr.AutoConfig.from_pretrained(folder)
    size = getattr(config, "decoder_vocab_size", None) or config.vocab_size
    config._attn_implementation = "eager"
    config.dtype = torch.float32  # of the sines and cosines
    model = tr.AutoModelForSeq2SeqLM.from_config(config)
    if size != model.get_output_embeddings().weight.shape[0]:
        model.resize_decoder_token_embeddings(size)
    lost = model.load_state_dict(load_file(folder / "model.safetensors"),
                                 strict=False)
    assert not lost.unexpected_keys, lost
    assert all("embed" in k or k == "lm_head.weight"
               for k in lost.missing_keys), lost
    model.tie_weights()
    model.config.vocab_size = size
    model.generation_config = tr.GenerationConfig.from_pretrained(folder)
    return model.to(dtype).eval()


def sets_of(where):
    model, exact = (read(where / "hf", t)
                    for t in (torch.float32, torch.float64))
    config = model.config
    given = load_file(where / "expected" / "model.safetensors")
    sets, left = [], 0
    for pair in (1, 2):
        source = given[f"source.{pair}"].long()
        with torch.no_grad():  # the same weights
            y = model(input_ids=source[None],
                      decoder_input_ids=given[f"target.{pair}"].long()[None])
        assert (y.logits[0] - given[f"logits.{pair}"]).abs().max() < 1e-4
        own = config.eos_token_id
        eos = [own] + likely(model, source, {own, config.pad_token_id})
        if own == model.generation_config.forced_bos_token_id:
            eos = eos[1:]  # it would end at once
        cases = []
        for beams, penalty, early, more in [a + ({},) for a in ASKED] + MORE:
            ask = dict(beams=beams, penalty=penalty, early=early,
                       max_new=MAX_NEW, best=beams, **more)
            found = search(model, source, eos, **ask)
            if search(exact, source, eos, **ask)["ids"] != found["ids"]:
                left += 1
                continue
            if where.name in SHOWN and found["ids"][0] and \
                    not more and (beams, penalty, early) == ASKED[3]:
                found["attention"] = attention(model, source, found["ids"][0])
            cases.append(dict(ask, **found))
        sets.append(dict(pair=pair, eos=eos, cases=cases))
    return sets, left


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "beam_encdec.json"
    tr.logging.set_verbosity_error()
    torch.set_num_threads(1)
    found, left = {}, 0
    for kind in ("marian", "bart", "t5"):
        for where in sorted((HERE / kind).iterdir()):
            sets, less = sets_of(where)
            found[f"{kind}/{where.name}"] = sets
            left += less
    cases = [c for m in found.values() for s in m for c in s["cases"]]
    ends = sum(sum(c["ended"]) for c in cases)
    texts = sum(len(c["ids"]) for c in cases)
    assert ends > texts // 4, (ends, texts)
    assert any(0 < sum(c["ended"]) < len(c["ended"]) for c in cases)
    out.write_text("{" + ",\n".join(
        json.dumps(k) + ":" + json.dumps(m, separators=(",", ":"))
        for k, m in found.items()) + "}\n")
    print(f"{len(cases)} cases, {texts} texts, {ends} ended, {left} left out, "
          f"{out.stat().st_size} bytes; torch {torch.__version__}, "
          f"transformers {tr.__version__}")


if __name__ == "__main__":
    main()
