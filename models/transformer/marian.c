/* marian: Marian's translators (Junczys-Dowmunt et al. 2018) as Hugging Face
 * keeps them (MarianMTModel): bart.c's stacks with sines and cosines for
 * positions and no norm behind the embedding; the vocabularies of source and
 * target are one, or two (share_encoder_decoder_embeddings false).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/bart.h"

/* Others that transformers knows, and drops in silence. */
static const char *const REFUSED[] = {"normalize_before", "normalize_embedding",
                                      "add_final_layer_norm", NULL};
/* One matrix under several names, and tables that are made again. */
static const char *const IGNORED[] = {
    ".embed_tokens.weight", ".embed_positions.weight", "lm_head.weight", NULL};

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    int shared;

    if (names_refuse(n, REFUSED, e) ||
        hparams_bool_or(n->h, "share_encoder_decoder_embeddings", 1, &shared,
                        e))
        return -1;
    s->has |= shared ? SHARED : SEPARATE;
    return bart_read(s, n, e);
}

static const struct stack_kind source_kind = {.prefix = "model.",
                                              .layers = "encoder.layers.",
                                              .top = bart_source_top,
                                              .block = bart_source_block,
                                              .whole = 1,
                                              .own_bytes = BART_OWN,
                                              .read_config = read_config,
                                              .embed = bart_embed,
                                              .run = bart_source_run,
                                              .head = bart_source_head};

const struct stack_kind marian_kind = {.prefix = "model.",
                                       .layers = "decoder.layers.",
                                       .top = bart_top,
                                       .block = bart_block,
                                       .ignored = IGNORED,
                                       .source = &source_kind,
                                       .own_bytes = BART_OWN,
                                       .read_config = read_config,
                                       .embed = bart_embed,
                                       .run = bart_run,
                                       .head = bart_head};
