#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/beam.json: what the beam search of transformers finds with
a small GPT-2 of random weights, tests/golden/gpt2/gpt2-untied-bf16/.

    python3 tests/golden/make_beam_fixtures.py [OUT]

Needs torch 2.5 or later and transformers 4.57. The file is a list of sets, each
with `eos` (end tokens, of which 0 is always one: it pads) and `prompt`; its
`cases` say what generate() was asked for (`beams`, `penalty`, `early`: false,
true or "never", `max_new`, `best`) and what it gave: `ids` without prompt and
end, `ended`, `scores`. The other end tokens are likely ones, so that
many hypotheses end early. A case stands there only when the
search in double precision gives the same ids: no choice hangs on the last bit.
"""
import itertools
import json
import sys
from pathlib import Path

import torch
import transformers as tr

HERE = Path(__file__).resolve().parent
CONTEXT = 48


def search(model, prompt, eos, beams, penalty, early, max_new, best):
    out = model.generate(
        torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)),
        num_beams=beams, length_penalty=penalty, early_stopping=early,
        max_new_tokens=max_new, num_return_sequences=best, do_sample=False,
        eos_token_id=eos, pad_token_id=0, return_dict_in_generate=True,
        output_scores=True)
    ids, ended = [], []
    for row in out.sequences.tolist():
        new = row[len(prompt):]
        at = next((i for i, t in enumerate(new) if t in eos), len(new))
        ids.append(new[:at])
        ended.append(at < len(new))
    scores = out.sequences_scores.tolist() if beams > 1 else []
    return dict(ids=ids, ended=ended, scores=scores)


def likely(model, prompt):
    """Tokens that are likely after two of the likeliest, but not the first
    choice."""
    with torch.no_grad():
        for _ in range(2):
            row = model(torch.tensor([prompt])).logits[0, -1]
            prompt = prompt + [int(row[1:].argmax()) + 1]
        row = model(torch.tensor([prompt])).logits[0, -1]
    return [t for t in row.topk(8).indices.tolist() if t != 0][1:3]


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "beam.json"
    tr.logging.set_verbosity_error()
    torch.set_num_threads(1)
    model, exact = (tr.GPT2LMHeadModel.from_pretrained(
        HERE / "gpt2/gpt2-untied-bf16/hf", dtype=t).eval()
        for t in (torch.float32, torch.float64))
    g = torch.Generator().manual_seed(11)
    sets, left = [], 0
    for length in (1, 6, 41):
        prompt = torch.randint(1, 61, (length,), generator=g).tolist()
        first, second = likely(model, prompt)
        for eos in ([0, first], [0, first, second]):
            cases = []
            for beams, penalty, early in itertools.product(
                    (1, 2, 4), (0.5, 1.0, 2.0), (False, True, "never")):
                if (beams == 1 and (penalty != 1.0 or early)) or \
                        (early == "never" and penalty < 1.0):
                    continue
                max_new = min(14, CONTEXT + 1 - length)
                ask = dict(beams=beams, penalty=penalty, early=early,
                           max_new=max_new, best=beams)
                found = search(model, prompt, eos, **ask)
                if search(exact, prompt, eos, **ask)["ids"] != found["ids"]:
                    left += 1
                    continue
                cases.append(dict(ask, **found))
            sets.append(dict(eos=eos, prompt=prompt, cases=cases))
    all_cases = [c for s in sets for c in s["cases"]]
    ends = sum(sum(c["ended"]) for c in all_cases)
    texts = sum(len(c["ids"]) for c in all_cases)
    assert ends > texts // 4, (ends, texts)
    assert any(0 < sum(c["ended"]) < len(c["ended"]) for c in all_cases)
    out.write_text("[" + ",\n".join(
        json.dumps(s, separators=(",", ":")) for s in sets) + "]\n")
    print(f"{len(all_cases)} cases, {texts} texts, {ends} ended, {left} left "
          f"out, {out.stat().st_size} bytes; torch {torch.__version__}, "
          f"transformers {tr.__version__}")


if __name__ == "__main__":
    main()
