/* spm_proto: a SentencePiece model file ("spiece.model", "tokenizer.model",
 * "source.spm"), which is one protobuf message, read without protobuf: pieces
 * with scores and types, what the normalizer does, what the trainer was told.
 * The file is hostile until read: lengths are bounded by what is left, numbers
 * by their range; unknown fields are passed over, as protobuf asks for, known
 * ones of another wire type are refused by name. Texts and the table stay in
 * the file.
 * Source: sentencepiece, sentencepiece_model.proto; protobuf's "Encoding".
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_SPM_PROTO_H
#define SEQD_SPM_PROTO_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

enum spm_piece_type {
    SPM_PIECE_NORMAL = 1,
    SPM_PIECE_UNKNOWN,
    SPM_PIECE_CONTROL,
    SPM_PIECE_USER, /* always cut out as a whole */
    SPM_PIECE_UNUSED,
    SPM_PIECE_BYTE
};

enum spm_model_type {
    SPM_MODEL_UNIGRAM = 1,
    SPM_MODEL_BPE,
    SPM_MODEL_WORD,
    SPM_MODEL_CHAR
};

struct spm_piece {
    const char *text; /* [len], valid UTF-8, not empty, no NUL behind it */
    uint32_t len;
    float score; /* finite */
    enum spm_piece_type type;
};

struct spm_proto {
    struct spm_piece *piece; /* [n], id by id */
    int n;
    int unk; /* the one piece of that type */
    enum spm_model_type model;
    const uint8_t *chars; /* precompiled_charsmap [n_chars] */
    size_t n_chars;
    int prefix;      /* add_dummy_prefix */
    int squeeze;     /* remove_extra_whitespaces */
    int escape;      /* escape_whitespaces */
    int suffix;      /* treat_whitespace_as_suffix */
    int fallback;    /* byte_fallback */
    int denormalize; /* there is a table for decoding */
};

/* spm_proto_read: file [n], which must live as long as the pieces are read.
 * ERR_FORMAT (names piece or field), ERR_TOO_LARGE, ERR_NOMEM. spm_proto_fini
 * is due in any case. */
int spm_proto_read(struct spm_proto *m, const char *file, size_t n,
                   const char *label, struct err *e);
void spm_proto_fini(struct spm_proto *m);

#endif
