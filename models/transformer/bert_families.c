/* bert_families: the encoders that bert.c runs, a row each: how files call
 * their parts and what stands on top of them.
 *
 * Source: Devlin et al. 2019 (BERT), Sanh et al. 2019 (DistilBERT), Liu et al.
 * 2019 (RoBERTa), Conneau et al. 2020 (XLM-R), Martin et al. 2020 (CamemBERT),
 * Clark et al. 2020 (ELECTRA), Lan et al. 2020 (ALBERT), Song et al. 2020
 * (MPNet).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/transformer/bert.h"

/* A block as BERT's files call its parts, and as others do. */
static const struct tensor_row BLOCK[BERT_ROWS] = {
    {QKV, "attention.self.query", "attn_q", HEADS_DIM, WIDTH, .bias = ALWAYS},
    {QKV, "attention.self.key", "attn_k", HEADS_DIM, WIDTH, .bias = ALWAYS},
    {QKV, "attention.self.value", "attn_v", HEADS_DIM, WIDTH, .bias = ALWAYS},
    {OUT, "attention.output.dense", "attn_output", WIDTH, HEADS_DIM,
     .bias = ALWAYS},
    {NORM_1, "attention.output.LayerNorm", "attn_output_norm", WIDTH,
     .bias = ALWAYS},
    {UP, "intermediate.dense", "ffn_up", INNER, WIDTH, .bias = ALWAYS},
    {DOWN, "output.dense", "ffn_down", WIDTH, INNER, .bias = ALWAYS},
    {NORM_2, "output.LayerNorm", "layer_output_norm", WIDTH, .bias = ALWAYS}};

static const char *const DISTIL_PARTS[BERT_ROWS] = {
    "attention.q_lin",   "attention.k_lin",  "attention.v_lin",
    "attention.out_lin", "sa_layer_norm",    "ffn.lin1",
    "ffn.lin2",          "output_layer_norm"};

#define GROUP "albert_layers.0."
static const char *const ALBERT_PARTS[BERT_ROWS] = {
    GROUP "attention.query",     GROUP "attention.key",
    GROUP "attention.value",     GROUP "attention.dense",
    GROUP "attention.LayerNorm", GROUP "ffn",
    GROUP "ffn_output",          GROUP "full_layer_layer_norm"};

static const char *const MPNET_PARTS[BERT_ROWS] = {
    "attention.attn.q", "attention.attn.k",    "attention.attn.v",
    "attention.attn.o", "attention.LayerNorm", "intermediate.dense",
    "output.dense",     "output.LayerNorm"};

static const struct names_key DISTIL_KEYS[] = {
    {VOCAB, "vocab_size", NULL},
    {WIDTH, "dim", NULL},
    {LAYERS, "n_layers", NULL},
    {HEADS, "n_heads", NULL},
    {INNER, "hidden_dim", NULL},
    {POSITIONS, "max_position_embeddings", NULL},
    KEYS_END};

static const struct bert_family FAMILIES[] = {
    {"bert", "bert.", "encoder.layer.", NULL, names_keys, "hidden_act",
     "layer_norm_eps", "gelu", .types = 1,
     .words = {"cls.predictions.transform.dense",
               "cls.predictions.transform.LayerNorm", "cls.predictions.decoder",
               "cls.predictions.bias", BARE, GELU, 0},
     .labels = {"pooler.dense", NULL, "classifier", NULL, 0, TANH, 1}},
    {"distilbert", "distilbert.", "transformer.layer.", DISTIL_PARTS,
     DISTIL_KEYS, "activation", NULL, "gelu",
     .words = {"vocab_transform", "vocab_layer_norm", "vocab_projector",
               "vocab_projector.bias", BARE, GELU, 0},
     .labels = {"pre_classifier", NULL, "classifier", NULL, BARE, RELU, 1}},
    {"electra", "electra.", "encoder.layer.", NULL, names_keys, "hidden_act",
     "layer_norm_eps", "gelu", .types = 1,
     .words = {"generator_predictions.dense", "generator_predictions.LayerNorm",
               "generator_lm_head", "generator_lm_head.bias", BARE, GELU, 1},
     .labels = {"classifier.dense", NULL, "classifier.out_proj", NULL, BARE,
                GELU, 1},
     .project = "embeddings_project", .embedding_dflt = 128},
    {"albert", "albert.", "encoder.albert_layer_groups.", ALBERT_PARTS,
     names_keys, "hidden_act", "layer_norm_eps", "gelu_new", .types = 1,
     .words = {"predictions.dense", "predictions.LayerNorm",
               "predictions.decoder", "predictions.bias", BARE, GELU, 0},
     .labels = {"pooler", NULL, "classifier", NULL, 0, TANH, 1},
     .project = "encoder.embedding_hidden_mapping_in", .embedding_dflt = 128,
     .project_when = ALWAYS, .groups = "num_hidden_groups"},
    {"mpnet", "mpnet.", "encoder.layer.", MPNET_PARTS, names_keys, "hidden_act",
     "layer_norm_eps", "gelu", .places = BEHIND_ONE,
     .near = "encoder.relative_attention_bias",
     .words = {"lm_head.dense", "lm_head.layer_norm", "lm_head.decoder",
               "lm_head.bias", BARE, GELU, 1},
     .labels = {"classifier.dense", NULL, "classifier.out_proj", NULL, BARE,
                TANH, 1}},
    {"roberta", /* and xlm-roberta, camembert */
     "roberta.", "encoder.layer.", NULL, names_keys, "hidden_act",
     "layer_norm_eps", "gelu", .types = 1, .places = BEHIND_PAD,
     .words = {"lm_head.dense", "lm_head.layer_norm", "lm_head.decoder",
               "lm_head.bias", BARE, GELU, 1},
     .labels = {"classifier.dense", NULL, "classifier.out_proj", NULL, BARE,
                TANH, 1}}};

#define N_FAMILIES ((int)(sizeof FAMILIES / sizeof *FAMILIES))

const struct bert_family *bert_family_of(const char *type)
{
    int i = 0;

    while (i < N_FAMILIES - 1 && strcmp(FAMILIES[i].type, type))
        i++;
    return &FAMILIES[i];
}

void bert_block(const struct bert_family *f, struct tensor_row *row)
{
    for (int i = 0; i < BERT_ROWS; i++) {
        row[i] = BLOCK[i];
        row[i].hf = f->parts ? f->parts[i] : row[i].hf;
    }
}
