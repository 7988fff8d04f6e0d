#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/bert/: small random encoders as transformers saves them,
with what transformers says about them.

    python3 tests/golden/make_bert_fixtures.py [OUT [NAME ...]]

Needs transformers, torch, tokenizers, safetensors and gguf from PyPI or Debian.
Those of CASES were made by transformers 4.35, those of KIN by 4.57 (torch 2.5,
tokenizers 0.22); expected.json says so. NAME: these fixtures only. Each fixture is a directory with config.json, model.safetensors and
tokenizer.json (weights are rounded to the stored type first), for sentence
embeddings also modules.json and 1_Pooling/config.json, and expected.json:

  sequences  ids; `hidden`, the last hidden state [n][width]; `logits` of all
             positions [n][V], raw `class` scores, or `pooled`; for the shorter
             ones `attention` [layers][heads][n][n]
  texts      text and its ids; `fill` (the five best tokens at the mask with
             their probabilities, special tokens left out), `scores` (after the
             activation of the text-classification pipeline) or `embedding`

All from float32; `f64` is the largest difference to float64. One checkpoint
is written a second time as a GGUF file, with the package gguf. Beside the
fixtures, wordpiece.json: texts and their ids by tokenizers, for each way to
set up BERT's normalizer.
"""
import json
import sys
from pathlib import Path

import gguf
import safetensors.torch
import tokenizers
import torch
import transformers as tf
from tokenizers import Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

LENGTHS = (1, 3, 5, 16, 17, 33)
SHOWN = 17
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the good bad film music was is very and".split()
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PIECES = (SPECIAL + list(".,!?") + WORDS + list(LETTERS) +
          ["##" + c for c in LETTERS])
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SMALL = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=2,
             intermediate_size=40, max_position_embeddings=48,
             hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
SMALL_DISTIL = dict(dim=24, n_layers=2, n_heads=2, hidden_dim=40,
                    max_position_embeddings=48, dropout=0.0,
                    attention_dropout=0.0, seq_classif_dropout=0.0)
FILL_TEXTS = ["the film was [MASK].", "[MASK]", "Music, [MASK] and b\u00e4d!"]
TEXTS = ["The film was very good!", "bad", "m\u00fcsic \u97f3 is... zzz\u20ac"]
CASES = {
    "bert-fill": dict(cls="BertForMaskedLM", gamma=True),
    "bert-fill-untied": dict(cls="BertForMaskedLM", dtype="F16",
                             hidden_act="gelu_new",
                             tie_word_embeddings=False),
    "bert-class": dict(cls="BertForSequenceClassification", dtype="BF16",
                       id2label={0: "bad", 1: "so so", 2: "good"}),
    "bert-class-many": dict(cls="BertForSequenceClassification",
                            hidden_act="relu",
                            problem_type="multi_label_classification",
                            id2label={0: "loud", 1: "long", 2: "new", 3: "x"}),
    "bert-class-one": dict(cls="BertForSequenceClassification",
                           id2label={0: "relevance"}),
    "bert-regression": dict(cls="BertForSequenceClassification",
                            problem_type="regression",
                            id2label={0: "stars"}),
    "distilbert-fill": dict(cls="DistilBertForMaskedLM"),
    "distilbert-class": dict(cls="DistilBertForSequenceClassification",
                             dtype="F16",
                             id2label={0: "NEGATIVE", 1: "POSITIVE"}),
    "roberta-fill": dict(cls="RobertaForMaskedLM"),
    "roberta-class": dict(cls="RobertaForSequenceClassification",
                          id2label={0: "no", 1: "perhaps", 2: "yes"}),
    "bert-embed-mean": dict(cls="BertModel", pool="mean_tokens", norm=True),
    "bert-embed-cls": dict(cls="BertModel", pool="cls_token", norm=True,
                           hidden_act="gelu_pytorch_tanh"),
    "bert-embed-max": dict(cls="BertModel", pool="max_tokens"),
    "distilbert-embed-sqrt": dict(cls="DistilBertModel",
                                  pool="mean_sqrt_len_tokens"),
    "roberta-embed-mean": dict(cls="RobertaModel", pool="mean_tokens",
                               norm=True, dtype="BF16"),
}

KIN = {
    "camembert-class": dict(cls="CamembertForSequenceClassification",
                            id2label={0: "non", 1: "oui"}),
    "xlmr-fill": dict(cls="XLMRobertaForMaskedLM", dtype="F16"),
    "xlmr-embed-mean": dict(cls="XLMRobertaModel", pool="mean_tokens",
                            norm=True),
    "electra-class": dict(cls="ElectraForSequenceClassification",
                          embedding_size=24,
                          id2label={0: "bad", 1: "so so", 2: "good"}),
    "electra-class-narrow": dict(cls="ElectraForSequenceClassification",
                                 embedding_size=12, dtype="BF16",
                                 hidden_act="relu",
                                 id2label={0: "no", 1: "yes"}),
    "electra-fill": dict(cls="ElectraForMaskedLM", embedding_size=12,
                         hidden_act="relu"),
    "electra-embed-cls": dict(cls="ElectraModel", embedding_size=12,
                              pool="cls_token"),
    "albert-class": dict(cls="AlbertForSequenceClassification",
                         embedding_size=12,
                         id2label={0: "bad", 1: "so so", 2: "good"}),
    "albert-class-groups": dict(cls="AlbertForSequenceClassification",
                                embedding_size=24, num_hidden_groups=2,
                                hidden_act="gelu", dtype="BF16",
                                id2label={0: "no", 1: "yes"}),
    "albert-fill": dict(cls="AlbertForMaskedLM", embedding_size=12),
    "albert-embed-mean": dict(cls="AlbertModel", embedding_size=12,
                              pool="mean_tokens", norm=True),
    "mpnet-class": dict(cls="MPNetForSequenceClassification",
                        id2label={0: "bad", 1: "so so", 2: "good"}),
    "mpnet-fill": dict(cls="MPNetForMaskedLM", dtype="F16"),
    "mpnet-embed-mean": dict(cls="MPNetModel", pool="mean_tokens", norm=True),
}
CASES.update(KIN)
PIECED = ("Camembert", "XLMRoberta")  # pieces of SentencePiece


def wordpiece():
    t = Tokenizer(models.WordPiece({p: i for i, p in enumerate(PIECES)},
                                   unk_token="[UNK]",
                                   max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.add_special_tokens(SPECIAL)
    t.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return t


def byte_pairs():
    t = Tokenizer(models.BPE(unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    t.train_from_iterator(["the film was very good and the music is bad, " * 4,
                           "a film, the music! very bad. the good film"],
                          trainer)
    t.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True,
                                                normalized=False)])
    t.post_processor = processors.RobertaProcessing(
        sep=("</s>", 2), cls=("<s>", 0), add_prefix_space=False)
    return t


def unigram(split):
    """As transformers converts CamemBERT's, or (split) XLM-R's, but for the
    table of characters."""
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    t.pre_tokenizer = pre_tokenizers.Metaspace()
    t.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=90, show_progress=False, unk_token="<unk>",
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"])
    t.train_from_iterator(["the film was very good and the music is bad, " * 4,
                           "a film, the music! very bad. the good film",
                           LETTERS, LETTERS.upper()] * 2, trainer)
    if split:
        t.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.WhitespaceSplit(), t.pre_tokenizer])
    t.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True,
                                                normalized=False)])
    t.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)])
    return t


def make_config(name, spec, n_vocab):
    more = {k: v for k, v in spec.items()
            if k not in ("cls", "pool", "norm", "dtype", "gamma")}
    if "id2label" in more:
        more["label2id"] = {v: k for k, v in more["id2label"].items()}
    if spec["cls"].startswith("DistilBert"):
        if "hidden_act" in more:
            more["activation"] = more.pop("hidden_act")
        return tf.DistilBertConfig(vocab_size=n_vocab, pad_token_id=0,
                                   **SMALL_DISTIL, **more)
    if spec["cls"].startswith(("Roberta",) + PIECED):
        kind = spec["cls"].split("For")[0].removesuffix("Model") + "Config"
        return getattr(tf, kind)(vocab_size=n_vocab, type_vocab_size=1,
                                layer_norm_eps=1e-5, **SMALL, **more)
    kind = next((k for k in ("Electra", "Albert", "MPNet")
                 if spec["cls"].startswith(k)), "Bert")
    return getattr(tf, kind + "Config")(vocab_size=n_vocab, **SMALL, **more)


def randomize(model, dtype):
    """Weights that make every part matter, rounded to what is stored."""
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "LayerNorm" in key or "layer_norm" in key:
                p.copy_(torch.randn_like(p) * 0.2 +
                        (1.0 if key.endswith("weight") else 0.0))
            else:
                p.copy_(torch.randn_like(p) * 0.3)
            p.copy_(p.to(dtype).to(torch.float32))


def pool(spec, hidden):
    kind = spec["pool"]
    if kind == "cls_token":
        v = hidden[0]
    elif kind == "max_tokens":
        v = hidden.max(dim=0).values
    elif kind == "mean_tokens":
        v = hidden.mean(dim=0)
    else:
        v = hidden.sum(dim=0) / hidden.shape[0] ** 0.5
    return v / v.norm() if spec.get("norm") else v


def run(spec, model, ids):
    with torch.no_grad():
        out = model(input_ids=torch.tensor([ids]), output_hidden_states=True,
                    output_attentions=True)
    hidden = out.hidden_states[-1][0]
    r = dict(hidden=hidden, attention=torch.stack(out.attentions)[:, 0])
    if spec["cls"].endswith("MaskedLM"):
        r["logits"] = out.logits[0]
    elif spec["cls"].endswith("Classification"):
        r["class"] = out.logits[0]
    else:
        r["pooled"] = pool(spec, hidden)
    return r


def plain(t):
    return [float(f"{x:.9g}") for x in t.flatten().tolist()]


def activation(config, scores):
    """transformers' TextClassificationPipeline (problem_type "regression":
    as its later versions do)."""
    if config.problem_type == "regression":
        return scores
    if (config.problem_type == "multi_label_classification" or
            config.num_labels == 1):
        return torch.sigmoid(scores)
    return torch.softmax(scores, dim=-1)


def text_case(spec, model, tok, text, specials, mask):
    ids = tok.encode(text).ids
    r, out = run(spec, model, ids), dict(text=text, ids=ids)
    if "logits" in r:
        p = torch.softmax(r["logits"][ids.index(mask)].double(), dim=-1)
        best = [i for i in p.argsort(descending=True).tolist()
                if i not in specials][:5]
        out["fill"] = [dict(id=i, text=tok.decode([i]).removeprefix(" "),
                            prob=float(f"{p[i]:.7g}")) for i in best]
    elif "class" in r:
        out["scores"] = plain(activation(model.config, r["class"]))
    else:
        out["embedding"] = plain(r["pooled"])
    return out


def save(path, spec, model, tok, state):
    path.mkdir(parents=True, exist_ok=True)
    model.config.save_pretrained(path)
    safetensors.torch.save_file(state, path / "model.safetensors",
                                metadata={"format": "pt"})
    tok.save(str(path / "tokenizer.json"), pretty=False)
    if "pool" not in spec:
        return
    parts = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if spec.get("norm"):
        parts.append(("2_Normalize", "Normalize"))
    (path / "modules.json").write_text(json.dumps(
        [dict(idx=i, name=str(i), path=p,
              type="sentence_transformers.models." + k)
         for i, (p, k) in enumerate(parts)], indent=1) + "\n")
    (path / "1_Pooling").mkdir(exist_ok=True)
    (path / "1_Pooling" / "config.json").write_text(json.dumps(
        dict(word_embedding_dimension=24,
             **{"pooling_mode_" + k: k == spec["pool"]
                for k in ("cls_token", "mean_tokens", "max_tokens",
                          "mean_sqrt_len_tokens")}), indent=1) + "\n")
    (path / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 40, "do_lower_case": false}\n')


def stored(spec, model):
    """The tensors as save_pretrained writes them: tied ones once."""
    dtype, seen, state = DTYPES[spec.get("dtype", "F32")], set(), {}
    for key, t in model.state_dict().items():
        if t.data_ptr() in seen:
            continue
        seen.add(t.data_ptr())
        if spec.get("gamma"):  # the names of checkpoints before 2019
            key = key.replace("LayerNorm.weight", "LayerNorm.gamma")
            key = key.replace("LayerNorm.bias", "LayerNorm.beta")
        state[key] = (t.to(dtype) if t.is_floating_point() else t).contiguous()
    return state


GGUF_NAMES = [
    ("embeddings.word_embeddings", "token_embd"),
    ("embeddings.position_embeddings", "position_embd"),
    ("embeddings.token_type_embeddings", "token_types"),
    ("embeddings.LayerNorm", "token_embd_norm"),
    ("encoder.layer", "blk"),
    ("attention.self.query", "attn_q"),
    ("attention.self.key", "attn_k"),
    ("attention.self.value", "attn_v"),
    ("attention.output.dense", "attn_output"),
    ("attention.output.LayerNorm", "attn_output_norm"),
    ("intermediate.dense", "ffn_up"),
    ("output.dense", "ffn_down"),
    ("output.LayerNorm", "layer_output_norm"),
]


def save_gguf(path, model, tok, expected):
    """As llama.cpp's converter lays BERT out: words are marked with U+2581,
    continuations with nothing."""
    c = model.config
    path.mkdir(parents=True, exist_ok=True)
    w = gguf.GGUFWriter(path / "model.gguf", "bert")
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_layer_norm_eps(c.layer_norm_eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.MEAN)
    w.add_token_type_count(c.type_vocab_size)
    pieces = sorted(tok.get_vocab(), key=tok.get_vocab().get)
    w.add_tokenizer_model("bert")
    w.add_token_list([p if p in SPECIAL else p[2:] if p.startswith("##")
                      else "\u2581" + p for p in pieces])
    w.add_token_types([3 if p in SPECIAL else 1 for p in pieces])
    w.add_unk_token_id(1)
    w.add_sep_token_id(3)
    w.add_pad_token_id(0)
    w.add_bos_token_id(2)
    w.add_mask_token_id(4)
    for key, t in model.state_dict().items():
        if "position_ids" in key or "pooler" in key:
            continue
        for a, b in GGUF_NAMES:
            key = key.replace(a, b)
        w.add_tensor(key, t.float().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    (path / "expected.json").write_text(json.dumps(expected) + "\n")


NORMALIZERS = {
    "default": {},
    "cased": dict(lowercase=False),
    "lower, accents stay": dict(strip_accents=False),
    "cased, no accents": dict(lowercase=False, strip_accents=True),
    "not cleaned": dict(clean_text=False),
    "ideographs in words": dict(handle_chinese_chars=False),
}
STRANGE = [
    "", " ", "The FILM was b\u00c4d.", "a\u0301 b\u00e9\u0323c",
    "tab\tlf\ncr\r\u00a0nbsp\u3000wide\u0085nel", "zero\u200bwidth\u00adhy",
    "null\u0000in\ufffdside\u0007", "\u97f3\u697d film\u97f3good",
    "\u0130stanbul \u0131 \u01c5 \u1e9e\u00df", "what?!...no-way_x",
    "price $5 + 3 = 8 ~ ok", "\u201cquote\u201d \u2014 \u00bfqu\u00e9?",
    "\uac00\ub098\ub2e4 \u1100\u1161", "\u0e40\u0e01 \u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600 x\U0001f468\u200d\U0001f469y", "\ue000pri\U000f0000vate",
    "\u0378un\u2fe0assigned", "x" * 100, "x" * 101, "x" * 98 + "\u00e9\u00e9",
    "gooood good", "m\u0307usic", "\u0344\u1fef\u212b", "film.,.bad",
    "\u166d \u1734 a\u1734b \u2e43x\u1ac0y",
    "[MASK] in [CLS] text [SEP]", "[mask] [MAS K]",
]


def save_wordpiece(path):
    out = []
    pieces = PIECES + ["\u97f3", "##\u97f3", "\u00e9", "##\u00e9", "A", "B",
                       "##A", "\u00c4", "##\u00c4", "\u0301", "##\u0301",
                       "F", "##I", "##L", "##M", "\u00df", "##\u0307", "$",
                       "##\t", "T", "##\u1ac0"]
    for name, options in NORMALIZERS.items():
        t = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)},
                                       unk_token="[UNK]"))
        t.normalizer = normalizers.BertNormalizer(**options)
        t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        t.add_special_tokens(SPECIAL)
        out.append(dict(name=name, tokenizer=t.to_str(),
                        texts=STRANGE,
                        ids=[t.encode(x, add_special_tokens=False).ids
                             for x in STRANGE]))
    path.write_text(json.dumps(dict(tokenizers=tokenizers.__version__,
                                    cases=out)) + "\n")


def make(path, name, spec, seed):
    torch.manual_seed(seed)
    pieced = spec["cls"].startswith(PIECED)
    roberta = pieced or spec["cls"].startswith("Roberta")
    tok = (unigram(spec["cls"].startswith("XLM")) if pieced else
           byte_pairs() if roberta else wordpiece())
    n = tok.get_vocab_size()
    specials = set(range(4)) | {n - 1} if roberta else set(range(5))
    mask = n - 1 if roberta else 4
    config = make_config(name, spec, n)
    model = getattr(tf, spec["cls"])(config).eval()
    randomize(model, DTYPES[spec.get("dtype", "F32")])
    model.config.architectures = [spec["cls"]]
    save(path, spec, model, tok, stored(spec, model))
    out = dict(transformers=tf.__version__, torch=torch.__version__,
               tokenizers=tokenizers.__version__, sequences=[], texts=[])
    low = 2 if roberta else 1  # no padding token: it moves RoBERTa's positions
    runs = [torch.randint(low, n, (k,)).tolist() for k in LENGTHS]
    for ids in runs:
        r = run(spec, model, ids)
        if len(ids) > SHOWN:
            del r["attention"]
        out["sequences"].append(
            dict(ids=ids, **{k: plain(v) for k, v in r.items()}))
    texts = FILL_TEXTS if spec["cls"].endswith("MaskedLM") else TEXTS
    for text in texts:
        if roberta:
            text = text.replace("[MASK]", "<mask>")
        out["texts"].append(
            text_case(spec, model, tok, text, specials, mask))
    model.double()
    worst = 0.0
    for ids, s in zip(runs, out["sequences"]):
        r = run(spec, model, ids)
        for k in ("hidden", "logits", "class", "pooled"):
            if k in r:
                d = r[k].flatten() - torch.tensor(s[k], dtype=torch.float64)
                worst = max(worst, float(d.abs().max()))
    out["f64"] = float(f"{worst:.3g}")
    if name == "bert-embed-mean":
        model.float()
        save_gguf(path.parent / "bert-gguf", model, tok, out)
    (path / "expected.json").write_text(json.dumps(out) + "\n")
    print(name, n, out["f64"])


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else
                Path(__file__).parent / "bert")
    for i, (name, spec) in enumerate(CASES.items()):
        if not sys.argv[2:] or name in sys.argv[2:]:
            make(root / name, name, spec, 100 + i)
    if not sys.argv[2:]:
        save_wordpiece(root.parent / "wordpiece.json")


main()
