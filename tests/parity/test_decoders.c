/* Decoders against what transformers says about the same weights
 * (tests/golden/, make_decoder_fixtures.py), from Hugging Face directories and
 * from GGUF files: logits and last hidden states of all positions, attention
 * weights; and the bits are the same whole, in chunks and in company, and for
 * all families with FMA. What a config.json asks for in vain is refused.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/base/mem.h"
#include "models/transformer/archs.h"
#include "tests/support/arch_rig.h"
#include "tests/support/golden.h"
#include "tests/support/golden_arch.h"
#include "tests/support/refusal.h"
#include "tests/support/temp_dir.h"

/* fp32 sums of up to 160 terms of size 1, in another order. */
#define TOLERANCE 4e-5
/* The same over seven layers with four norms each. */
#define GEMMA3_TOLERANCE 1e-4
/* The logits with 8-bit activations: a rounding error of up to 1/254 of the
 * largest value in each product's input, over two layers. In units of the
 * reference's standard deviation. */
#define FAST_MEAN 0.03
#define FAST_MOST 0.3

#define PATH_BYTES 256

/* One sequence alone, `chunk` tokens at a time. */
static struct golden_answer run_alone(struct golden_arch *t, int i, int chunk)
{
    const struct golden_text *x = &t->text[i];
    struct golden_answer a;
    struct rig_seq seq;
    golden_answer_new(x, &a);
    assert_int_equal(rig_seq_open(&t->g, &seq), 0);
    for (int at = 0; at < x->n; at += chunk) {
        int n = x->n - at < chunk ? x->n - at : chunk;
        struct rig_item it = golden_answer_item(x, &seq, at, n, &a);
        golden_arch_step(t, &it, 1);
    }
    rig_seq_close(&seq);
    return a;
}

/* All sequences in one step, then in chunks of different sizes. */
static void check_company(struct golden_arch *t,
                          const struct golden_answer *alone)
{
    static const int sizes[2][GOLDEN_TEXTS] = {{64, 64, 64}, {1, 5, 16}};
    for (int pass = 0; pass < 2; pass++) {
        struct golden_answer a[GOLDEN_TEXTS];
        struct rig_seq seq[GOLDEN_TEXTS];
        int at[GOLDEN_TEXTS] = {0}, more = 1;
        for (int i = 0; i < GOLDEN_TEXTS; i++) {
            golden_answer_new(&t->text[i], &a[i]);
            assert_int_equal(rig_seq_open(&t->g, &seq[i]), 0);
        }
        while (more) {
            struct rig_item it[GOLDEN_TEXTS];
            int n_it = 0;
            for (int i = GOLDEN_TEXTS - 1; i >= 0; i--) {
                int left = t->text[i].n - at[i];
                int n = left < sizes[pass][i] ? left : sizes[pass][i];
                if (n) {
                    it[n_it++] = golden_answer_item(&t->text[i], &seq[i], at[i],
                                                    n, &a[i]);
                    at[i] += n;
                }
            }
            more = n_it > 0;
            if (more)
                golden_arch_step(t, it, n_it);
        }
        for (int i = 0; i < GOLDEN_TEXTS; i++) {
            golden_answer_same(t, "in company", i, &alone[i], &a[i]);
            rig_seq_close(&seq[i]);
            golden_answer_free(&a[i]);
        }
    }
}

static void check_attention(struct golden_arch *t, double tolerance)
{
    const struct golden_text *x = &t->text[GOLDEN_SHOWN];
    int n = t->g.info.n_layers * t->g.info.n_heads * x->n * x->n;
    float *got = mem_floats((size_t)n);
    struct rig_seq seq;
    struct rig_item it = {.seq = &seq, .ids = x->ids, .n = x->n};
    assert_non_null(got);
    assert_int_equal(n, t->n_attention);
    assert_int_equal(rig_seq_open(&t->g, &seq), 0);
    it.n_want = 1;
    it.want[0] = (struct want){OUT_ATTENTION, 0, x->n, got, 0};
    golden_arch_step(t, &it, 1);
    if (tolerance > 0)
        golden_close(got, t->attention, n, tolerance, "%s (%s): attention",
                     t->what, t->g.k->name);
    rig_seq_close(&seq);
    mem_aligned_free(got);
}

/* Alone, in chunks and in company with the loaded family. The answers of the
 * sequences alone stay in `alone`. */
static void check_bits(struct golden_arch *t, struct golden_answer *alone)
{
    static const int chunks[] = {1, 7, 16};
    for (int i = 0; i < GOLDEN_TEXTS; i++) {
        alone[i] = run_alone(t, i, GOLDEN_LEN);
        for (int c = 0; c < 3; c++) {
            struct golden_answer a = run_alone(t, i, chunks[c]);
            golden_answer_same(t, "in chunks", i, &alone[i], &a);
            golden_answer_free(&a);
        }
    }
    check_company(t, alone);
}

static void measure(const struct golden_arch *t, const struct golden_answer *a)
{
    double sum = 0, largest = 0, square = 0, total = 0;
    size_t n = 0;
    for (int i = 0; i < GOLDEN_TEXTS; i++) {
        const struct golden_text *x = &t->text[i];
        for (size_t k = 0; k < (size_t)x->n * (size_t)x->V; k++, n++) {
            double d = fabs((double)a[i].logits[k] - (double)x->logits[k]);
            sum += d;
            largest = d > largest ? d : largest;
            total += (double)x->logits[k];
            square += (double)x->logits[k] * (double)x->logits[k];
        }
    }
    total /= (double)n;
    square = sqrt(square / (double)n - total * total);
    if (!(sum / (double)n <= FAST_MEAN * square) ||
        !(largest <= FAST_MOST * square))
        fail_msg("%s (%s): logits differ by %.4g on average, %.4g at most, in "
                 "standard deviations",
                 t->what, t->g.k->name, sum / (double)n / square,
                 largest / square);
}

/* tolerance: 0 for 8-bit activations. file: "hf" or "model.gguf". */
static void check(const struct model_arch *arch, const char *name,
                  const char *file, double tolerance)
{
    int exact = tolerance > 0;
    struct golden_arch t;
    const struct kernels *k;
    golden_arch_open(&t, arch, name, file, "ids");
    assert_int_equal(t.shown_cols, t.text[GOLDEN_SHOWN].n);
    for (int f = 0; (k = kernels_available(f)) != NULL; f++) {
        struct golden_answer a[GOLDEN_TEXTS];
        golden_arch_load(&t, k->name, 1, exact);
        if (!exact)
            assert_int_equal(t.g.info.fast, 1);
        check_bits(&t, a);
        check_attention(&t, tolerance);
        if (!exact)
            measure(&t, a);
        for (int i = 0; i < GOLDEN_TEXTS && exact; i++)
            golden_answer_close(&t, i, &a[i], tolerance);
        golden_arch_across(&t, f, a);
        rig_close(&t.g);
    }
    golden_arch_close(&t);
}

/* --- cases --- */

static const struct refusal all_refuse[] = {
    WITH("architectures", "[\"AnyForTokenClassification\"]",
         "\"AnyForTokenClassification\", expected"),
    WITH("quantization_config", "{\"bits\": 4}", "quantization_config"),
    {0}};
static const struct refusal gpt2_refuses[] = {
    WITH("architectures", "[\"GPT2DoubleHeadsModel\"]",
         "\"GPT2DoubleHeadsModel\", expected"),
    WITH("activation_function", "\"relu\"", "'activation_function' is 'relu'"),
    WITH("add_cross_attention", "true", "add_cross_attention"),
    WITH("n_head", "5", "24 is no multiple of n_head 5"),
    WITH("n_head", "0", "'n_head' is 0, expected 1..1024"),
    WITH("n_embd", "48", "[61,24], expected [61,48]"),
    WITH("n_layer", "3", "h.2."),
    WITH("n_layer", "1", "'transformer.h.1."),
    WITH("n_layer", "100000", "expected 1..512"),
    WITH("n_inner", "100", "expected"),
    WITH("n_positions", "64", "[48,24], expected [64,24]"),
    WITH("vocab_size", "62", "[61,24], expected [62,24]"),
    WITH("tie_word_embeddings", "false", "lm_head.weight"),
    WITH("n_embd", NULL, "'n_embd' is missing"),
    WITH("n_positions", "1e30", "'n_positions'"),
    {0}};
static const struct refusal llama_refuses[] = {
    WITH("architectures", "[\"LlamaForQuestionAnswering\"]",
         "\"LlamaForQuestionAnswering\", expected a model for next words"),
    WITH("architectures", "[\"LlamaForSequenceClassification\"]",
         "'score.weight' with 1..1024 rows"),
    WITH("hidden_act", "\"gelu\"", "'hidden_act' is 'gelu'"),
    WITH("rope_scaling", "{\"rope_type\": \"longrope\", \"factor\": 2.0}",
         "'longrope', expected default, linear, llama3, yarn or dynamic"),
    WITH("partial_rotary_factor", "0.5",
         "'partial_rotary_factor' is 0.5, expected 1"),
    WITH("rope_parameters", "{\"partial_rotary_factor\": 0.5}",
         "'rope_parameters.partial_rotary_factor' is 0.5, expected 1"),
    WITH("num_attention_heads", "5", "[24,24], expected [40,24]"),
    WITH("num_key_value_heads", "2", "no multiple of 2"),
    WITH("head_dim", "7", "7 rotary dimensions"),
    WITH("head_dim", "16", "[24,24], expected [48,24]"),
    WITH("head_dim", "1000000", "expected 1..1024"),
    WITH("num_hidden_layers", "3", "layers.2."),
    WITH("num_hidden_layers", "1", "layers.1."),
    WITH("intermediate_size", "40", "expected"),
    WITH("vocab_size", "62", "[61,24], expected [62,24]"),
    WITH("attention_bias", "true", "bias"),
    WITH("tie_word_embeddings", "false", "lm_head.weight"),
    WITH("hidden_size", NULL, "'hidden_size' is missing"),
    WITH("hidden_size", "-3", "'hidden_size' is -3"),
    WITH("max_position_embeddings", "99999999999", "max_position_embeddings"),
    OF("qwen2", "num_attention_heads", "5",
       "24 is no multiple of num_attention_heads 5"),
    OF("llama-bias-bf16", "attention_bias", "false",
       "proj.bias' is not part of"),
    OF("qwen2-window", "layer_types",
       "[\"full_attention\", \"linear_attention\", \"full_attention\"]",
       "linear_attention"),
    OF("qwen2-window", "layer_types", "[\"full_attention\"]", "3 entries"),
    {0}};
static const struct refusal gemma3_refuses[] = {
    WITH("hidden_activation", "\"gelu\"", "'hidden_activation' is 'gelu'"),
    WITH("use_bidirectional_attention", "true", "use_bidirectional_attention"),
    WITH("attention_bias", "true", "attention_bias"),
    WITH("rope_scaling", "{\"rope_type\": \"longrope\", \"factor\": 2.0}",
         "'longrope', expected default, linear, llama3, yarn or dynamic"),
    WITH("partial_rotary_factor", "0.5",
         "'partial_rotary_factor' is 0.5, expected 1"),
    WITH("rope_parameters",
         "{\"full_attention\": {\"partial_rotary_factor\": 0.5}}",
         "'rope_parameters.full_attention.partial_rotary_factor' is 0.5"),
    WITH("rope_parameters", "{\"rope_theta\": 5000.0}",
         "'rope_parameters' is set"),
    WITH("text_config", "{}", "text_config"),
    WITH("num_key_value_heads", "3", "no multiple of 3"),
    WITH("num_hidden_layers", "8", "8 entries"),
    WITH("sliding_window", "0", "'sliding_window' is 0"),
    WITH("query_pre_attn_scalar", "0", "query_pre_attn_scalar"),
    {0}};
static const struct refusal gpt_neox_refuses[] = {
    WITH("hidden_act", "\"silu\"", "'hidden_act' is 'silu'"),
    WITH("rope_scaling", "{\"rope_type\": \"longrope\", \"factor\": 2.0}",
         "'longrope', expected default, linear, llama3, yarn or dynamic"),
    WITH("rotary_pct", "0.2", "3 rotary dimensions"),
    WITH("rotary_pct", "0", "0 rotary dimensions"),
    WITH("rotary_pct", "1.5", "'rotary_pct' is 1.5"),
    WITH("num_attention_heads", "5", "32 is no multiple of"),
    WITH("num_hidden_layers", "3", "layers.2."),
    WITH("num_hidden_layers", "1", "layers.1."),
    WITH("intermediate_size", "40", "expected"),
    WITH("vocab_size", "62", "[61,32], expected [62,32]"),
    WITH("attention_bias", "false", ".bias' is not part of"),
    WITH("tie_word_embeddings", "1", "'tie_word_embeddings'"),
    WITH("hidden_size", NULL, "'hidden_size' is missing"),
    WITH("max_position_embeddings", "99999999999", "max_position_embeddings"),
    OF("gpt_neox-bare-tied-bf16", "tie_word_embeddings", "false",
       "embed_out.weight"),
    OF("gpt_neox-bare-tied-bf16", "attention_bias", "true",
       "query_key_value.bias"),
    {0}};
static const struct refusal qwen3_refuses[] = {
    WITH("hidden_act", "\"gelu\"", "'hidden_act' is 'gelu'"),
    WITH("rope_scaling", "{\"rope_type\": \"longrope\", \"factor\": 2.0}",
         "'longrope', expected default, linear, llama3, yarn or dynamic"),
    WITH("partial_rotary_factor", "0.5",
         "'partial_rotary_factor' is 0.5, expected 1"),
    WITH("rope_parameters", "{\"partial_rotary_factor\": 0.5}",
         "'rope_parameters.partial_rotary_factor' is 0.5, expected 1"),
    WITH("num_attention_heads", "3", "3 attention heads are no multiple of 2"),
    WITH("num_key_value_heads", "4", "[16,24], expected [32,24]"),
    WITH("head_dim", "7", "7 rotary dimensions"),
    WITH("head_dim", "16", "[32,24], expected [64,24]"),
    WITH("head_dim", NULL, "[32,24], expected [512,24]"),
    WITH("num_hidden_layers", "3", "no list of 3 entries"),
    WITH("num_hidden_layers", "1", "no list of 1 entries"),
    WITH("vocab_size", "62", "[61,24], expected [62,24]"),
    WITH("attention_bias", "true", "bias"),
    WITH("tie_word_embeddings", "false", "lm_head.weight"),
    WITH("hidden_size", NULL, "'hidden_size' is missing"),
    OF("qwen3-bias-bf16", "attention_bias", "false",
       "proj.bias' is not part of"),
    OF("qwen3", "layer_types", "[\"full_attention\", \"sliding_attention\"]",
       "sliding_attention"),
    OF("qwen3-window", "layer_types",
       "[\"full_attention\", \"linear_attention\"]", "linear_attention"),
    {0}};
static const struct refusal smollm3_refuses[] = {
    WITH("hidden_act", "\"gelu\"", "'hidden_act' is 'gelu'"),
    WITH("no_rope_layers", "[1, 1, 1]", "no list of 4 times 0 or 1"),
    WITH("no_rope_layers", "[1, 1, 1, 0, 1]", "no list of 4 times 0 or 1"),
    WITH("no_rope_layers", "[1, 1, 1, 2]", "no list of 4 times 0 or 1"),
    WITH("no_rope_layers", "[1, 1, 1, \"0\"]", "no list of 4 times 0 or 1"),
    WITH("no_rope_layers", "7", "no list of 4 times 0 or 1"),
    WITH("no_rope_layer_interval", "0", "'no_rope_layer_interval' is 0"),
    WITH("num_hidden_layers", "5", "no list of 5 times 0 or 1"),
    WITH("layer_types", "[\"full_attention\"]", "4 entries"),
    WITH("attention_bias", "true", "bias"),
    {0}};
static const struct refusal phi3_refuses[] = {
    WITH("architectures", "[\"Phi3ForTokenClassification\"]",
         "\"Phi3ForTokenClassification\", expected"),
    WITH("hidden_act", "\"gelu\"", "'hidden_act' is 'gelu'"),
    WITH("quantization_config", "{\"bits\": 4}", "quantization_config"),
    WITH("rope_scaling",
         "{\"type\": \"longrope\", \"short_factor\": [1], "
         "\"long_factor\": [2]}",
         "'longrope', expected default"),
    WITH("rope_scaling", "{\"type\": \"su\"}", "'su'"),
    WITH("rope_scaling", "{\"type\": \"yarn\", \"factor\": 4}",
         "positions of phi3 are scaled"),
    WITH("partial_rotary_factor", "0.2", "1 rotary dimensions"),
    WITH("partial_rotary_factor", "0.1", "0 rotary dimensions"),
    WITH("num_key_value_heads", "4", "[64,32], expected [96,32]"),
    WITH("num_key_value_heads", "3", "no multiple of 3"),
    WITH("intermediate_size", "40", "[40,32], expected [80,32]"),
    WITH("num_hidden_layers", "2", "layers.1."),
    WITH("sliding_window", "-1", "'sliding_window' is -1"),
    OF("phi3-partial", "tie_word_embeddings", "false", "lm_head.weight"),
    {0}};
/* Rotary scaling that makes no sense, or that programs read differently. */
#define SCALED(type, rest, part)                                               \
    WITH("rope_scaling", "{\"rope_type\": \"" type "\"" rest "}", part)
#define BY(type, value)                                                        \
    SCALED(type, ", \"factor\": " value, "'rope_scaling.factor' is ")
#define YARN(rest, part) SCALED("yarn", ", \"factor\": 4.0, " rest, part)

static const struct refusal scaled_refuses[] = {
    SCALED("yarn", "", "'rope_scaling.factor' is missing"),
    SCALED("dynamic", "", "'rope_scaling.factor' is missing"),
    SCALED("linear", "", "'rope_scaling.factor' is missing"),
    BY("yarn", "0"),
    BY("yarn", "-2"),
    BY("yarn", "0.5"),
    BY("yarn", "1e9"),
    BY("yarn", "\"4\""),
    BY("dynamic", "0"),
    BY("dynamic", "-1"),
    BY("linear", "0"),
    BY("llama3", "-8"),
    SCALED("dynamic", ", \"factor\": 2.0, \"alpha\": 1000.0",
           "'rope_scaling.alpha' is set"),
    SCALED("dynamic",
           ", \"factor\": 2.0, \"original_max_position_embeddings\": 0",
           "original_max_position_embeddings' is 0"),
    YARN("\"original_max_position_embeddings\": 0",
         "original_max_position_embeddings' is 0"),
    YARN("\"original_max_position_embeddings\": 1",
         "goes from pair 0 to pair -3"),
    YARN("\"beta_fast\": 0", "'rope_scaling.beta_fast' is 0"),
    YARN("\"beta_slow\": -1", "'rope_scaling.beta_slow' is -1"),
    YARN("\"beta_slow\": 1e30", "'rope_scaling.beta_slow' is 1e+30"),
    YARN("\"beta_fast\": 0.01, \"beta_slow\": 8", "beta_fast 0.01"),
    YARN("\"mscale\": -1", "'rope_scaling.mscale' is -1"),
    YARN("\"mscale_all_dim\": 1e9", "'rope_scaling.mscale_all_dim' is"),
    YARN("\"attention_factor\": 0", "'rope_scaling.attention_factor' is 0"),
    YARN("\"attention_factor\": 1e9", "'rope_scaling.attention_factor' is"),
    YARN("\"truncate\": 1", "'rope_scaling.truncate' is"),
    WITH("rope_theta", "1", "yarn with a rotary base of 1"),
    {0}};
/* FAST: model.gguf, 8-bit activations; FAST_HF: the same of hf/ */
enum { HF = 1, GGUF = 2, FAST = 4, FAST_HF = 8 };
static const struct decoder_case {
    const char *what;
    const struct model_arch *arch;
    const char *name;
    int files;
    const struct refusal *refused; /* of hf/ instead, with all_refuse */
} cases[] = {
    {"test_gpt2_huggingface_directory", &gpt2_arch, "gpt2", HF, NULL},
    {"test_gpt2_gguf", &gpt2_arch, "gpt2", GGUF, NULL},
    {"test_gpt2_names_without_prefix_in_f16", &gpt2_arch, "gpt2-bare-f16",
     HF | GGUF, NULL},
    {"test_gpt2_own_output_matrix_in_bf16", &gpt2_arch, "gpt2-untied-bf16",
     HF | GGUF, NULL},
    {"test_gpt2_block_types_with_fp32_activations", &gpt2_arch, "gpt2-q", GGUF,
     NULL},
    {"test_gpt2_block_types_the_fast_way", &gpt2_arch, "gpt2-q", FAST, NULL},
    {"test_gpt2_scales_by_output_with_fp32_activations", &gpt2_arch, "gpt2-i8",
     HF, NULL},
    {"test_gpt2_scales_by_output_the_fast_way", &gpt2_arch, "gpt2-i8", FAST_HF,
     NULL},
    {"test_llama_scales_by_output_with_fp32_activations", &llama_arch,
     "llama-i8", HF, NULL},
    {"test_llama_scales_by_output_the_fast_way", &llama_arch, "llama-i8",
     FAST_HF, NULL},
    {"test_llama_three_heads_of_eight_share_one_key", &llama_arch, "llama",
     HF | GGUF, NULL},
    {"test_llama_biases_and_head_size_of_its_own", &llama_arch,
     "llama-bias-bf16", HF, NULL},
    {"test_llama_linear_rope_scaling", &llama_arch, "llama-linear-f16",
     HF | GGUF, NULL},
    {"test_llama_llama3_rope_scaling", &llama_arch, "llama-llama3-rope",
     HF | GGUF, NULL},
    {"test_llama_mistral_window_in_shards", &llama_arch, "mistral", HF | GGUF,
     NULL},
    {"test_llama_qwen2_biases_and_unpermuted_gguf", &llama_arch, "qwen2",
     HF | GGUF, NULL},
    {"test_llama_qwen2_windows_from_a_layer_on", &llama_arch, "qwen2-window",
     HF, NULL},
    {"test_llama_block_types_with_fp32_activations", &llama_arch, "llama-q",
     GGUF, NULL},
    {"test_llama_block_types_the_fast_way", &llama_arch, "llama-q", FAST, NULL},
    {"test_gemma3_huggingface_directory", &gemma3_arch, "gemma3", HF, NULL},
    {"test_gemma3_gguf_with_norms_stored_plus_one", &gemma3_arch, "gemma3",
     GGUF, NULL},
    {"test_gemma3_scaled_rope_in_global_layers_only", &gemma3_arch,
     "gemma3-scaled-bf16", HF | GGUF, NULL},
    {"test_gemma3_scores_scaled_by_another_number", &gemma3_arch,
     "gemma3-scalar", HF, NULL},
    {"test_gptneox_parallel_residual_and_a_quarter_turned", &gpt_neox_arch,
     "gpt_neox", HF, NULL},
    {"test_gptneox_one_after_the_other_in_f16", &gpt_neox_arch,
     "gpt_neox-sequential-f16", HF | GGUF, NULL},
    {"test_gptneox_bare_names_no_biases_config_of_transformers_5",
     &gpt_neox_arch, "gpt_neox-bare-tied-bf16", HF, NULL},
    {"test_gptneox_block_types_with_fp32_activations", &gpt_neox_arch,
     "gpt_neox-q", GGUF, NULL},
    {"test_gptneox_block_types_the_fast_way", &gpt_neox_arch, "gpt_neox-q",
     FAST, NULL},
    {"test_qwen3_grouped_queries_and_a_tied_output", &qwen3_arch, "qwen3",
     HF | GGUF, NULL},
    {"test_qwen3_linear_rope_scaling_in_f16", &qwen3_arch, "qwen3-linear-f16",
     HF | GGUF, NULL},
    {"test_qwen3_biases_in_bf16", &qwen3_arch, "qwen3-bias-bf16", HF, NULL},
    {"test_qwen3_windows_from_a_layer_on_in_shards", &qwen3_arch,
     "qwen3-window", HF, NULL},
    {"test_qwen3_block_types_with_fp32_activations", &qwen3_arch, "qwen3-q",
     GGUF, NULL},
    {"test_qwen3_block_types_the_fast_way", &qwen3_arch, "qwen3-q", FAST, NULL},
    {"test_llama_yarn_past_the_training", &llama_arch, "llama-yarn", HF | GGUF,
     NULL},
    {"test_llama_dynamic_scaling_changes_nothing_before", &llama_arch,
     "llama-dynamic", HF, NULL},
    {"test_llama_qwen2_yarn_with_a_ramp_of_fractions", &llama_arch,
     "qwen2-yarn", HF, NULL},
    {"test_gemma3_yarn_in_global_layers_only", &gemma3_arch, "gemma3-yarn", HF,
     NULL},
    {"test_gptneox_yarn_on_half_of_each_head", &gpt_neox_arch, "gpt_neox-yarn",
     HF | GGUF, NULL},
    {"test_qwen3_yarn_with_a_magnitude_of_its_own", &qwen3_arch, "qwen3-yarn",
     HF | GGUF, NULL},
    {"test_llama_smollm3_one_layer_of_four_without_positions", &llama_arch,
     "smollm3", HF | GGUF, NULL},
    {"test_llama_smollm3_listed_layers_windows_and_yarn", &llama_arch,
     "smollm3-window", HF, NULL},
    {"test_phi3_fused_matrices_and_a_window", &phi3_arch, "phi3", HF | GGUF,
     NULL},
    {"test_phi3_three_quarters_of_each_head_turned", &phi3_arch, "phi3-partial",
     HF | GGUF, NULL},
    {"test_phi3_block_types_with_fp32_activations", &phi3_arch, "phi3-q", GGUF,
     NULL},
    {"test_phi3_block_types_the_fast_way", &phi3_arch, "phi3-q", FAST, NULL},
    {"test_gpt2_refuses_what_it_does_not_have", &gpt2_arch, "gpt2", 0,
     gpt2_refuses},
    {"test_llama_refuses_what_it_does_not_have", &llama_arch, "llama", 0,
     llama_refuses},
    {"test_gemma3_refuses_what_it_does_not_have", &gemma3_arch, "gemma3", 0,
     gemma3_refuses},
    {"test_gptneox_refuses_what_it_does_not_have", &gpt_neox_arch, "gpt_neox",
     0, gpt_neox_refuses},
    {"test_qwen3_refuses_what_it_does_not_have", &qwen3_arch, "qwen3", 0,
     qwen3_refuses},
    {"test_llama_smollm3_refuses_what_it_does_not_have", &llama_arch, "smollm3",
     0, smollm3_refuses},
    {"test_phi3_refuses_what_it_does_not_have", &phi3_arch, "phi3", 0,
     phi3_refuses},
    {"test_scaling_refuses_what_makes_no_sense", &llama_arch, "llama-yarn", 0,
     scaled_refuses},
};

static void check_case(void **state)
{
    const struct decoder_case *c = *state;
    double tolerance = c->arch == &gemma3_arch ? GEMMA3_TOLERANCE : TOLERANCE;
    if (c->files & HF)
        check(c->arch, c->name, "hf", tolerance);
    if (c->files & GGUF)
        check(c->arch, c->name, "model.gguf", tolerance);
    if (c->files & FAST)
        check(c->arch, c->name, "model.gguf", 0);
    if (c->files & FAST_HF)
        check(c->arch, c->name, "hf", 0);
    for (const struct refusal *r = c->refused; r && r->key; r++)
        refusal_expect(c->arch, r->name ? r->name : c->name, r);
    for (const struct refusal *r = all_refuse; c->refused && r->key; r++)
        refusal_expect(c->arch, c->name, r);
}

/* --- how far scaled positions reach --- */

/* One token after `most` of them: the answer may not be another text's. */
static void expect_reach(const struct model_arch *arch, const char *name,
                         int most)
{
    struct err e = ERR_INIT;
    struct golden_arch t = {0};
    struct load_opts o = {.options = &(struct engine_options){.exact = 1}};
    int32_t ids[GOLDEN_LEN] = {0};
    struct rig_seq seq;
    struct rig_item it = {.seq = &seq, .ids = ids, .n = most};
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "tests/golden/%s/%s/hf", arch->name, name);
    if (rig_open_with(&t.g, arch, path, "generic", 1, &o, &e))
        fail_msg("%s: %s", path, e.msg);
    assert_int_equal(t.g.info.state.port[PORT_TARGET].context_length, most);
    assert_int_equal(rig_seq_open(&t.g, &seq), 0);
    golden_arch_step(&t, &it, 1);
    it.n = 1;
    assert_int_equal(rig_step(&t.g, &it, 1, &e), 0);
    assert_int_equal(it.status, -1);
    assert_int_equal(it.fail, ERR_TOO_LARGE);
    rig_seq_close(&seq);
    rig_close(&t.g);
}

static void test_scaled_positions_end_where_the_answer_would_change(void **s)
{
    (void)s;
    expect_reach(&llama_arch, "llama-dynamic", 44);
    expect_reach(&llama_arch, "qwen2-yarn", 2 * 24); /* factor by training */
    expect_reach(&llama_arch, "llama-yarn", 4 * 12);
}

/* --- GGUF with one number of its metadata changed --- */

static void expect_gguf_refused(const char *key, const char *other, float v,
                                const char *part)
{
    struct err e = ERR_INIT;
    struct load_opts o = {.options = &(struct engine_options){.exact = 1}};
    char path[PATH_BYTES], dir[64];
    char *file, *at;
    struct rig g;
    size_t n;
    file = refusal_file("tests/golden/qwen3/qwen3-yarn/model.gguf", &n);
    at = memmem(file, n, key, strlen(key));
    assert_non_null(at);
    memcpy(at, other, strlen(key));
    memcpy(at + strlen(key) + 4, &v, sizeof v); /* behind the type */
    temp_dir_make(dir);
    temp_file_put(dir, "model.gguf", file, n);
    snprintf(path, sizeof path, "%s/model.gguf", dir);
    if (rig_open_with(&g, &qwen3_arch, path, "generic", 1, &o, &e) == 0)
        fail_msg("%s = %g was loaded", other, (double)v);
    if (!strstr(e.msg, part))
        fail_msg("%s = %g: the message '%s' does not hold '%s'", other,
                 (double)v, e.msg, part);
    temp_dir_drop(dir);
    mem_free(file);
}

static void test_scaling_of_gguf_that_makes_no_sense_is_refused(void **state)
{
    static const struct {
        const char *key, *other; /* of the same length; NULL: the key stays */
        float v;
        const char *part;
    } list[] = {
        {"rope.scaling.factor", NULL, 0, "rope.scaling.factor' is 0"},
        {"rope.scaling.factor", NULL, -4, "rope.scaling.factor' is -4"},
        {"rope.scaling.factor", NULL, 1e30f, "rope.scaling.factor' is 1e+30"},
        {"rope.scaling.factor", NULL, NAN,
         "rope.scaling.factor' is not a finite number"},
        {"rope.scaling.factor", "rope.scaling.fact.r", 3,
         "rope.scaling.factor' is missing"},
        {"rope.scaling.attn_factor", NULL, 0, "attn_factor' is 0"},
        {"rope.scaling.attn_factor", NULL, INFINITY,
         "attn_factor' is not a finite number"},
        {"scaling.yarn_beta_fast", NULL, 0, "yarn_beta_fast' is 0"},
        {"scaling.yarn_beta_slow", NULL, -1, "yarn_beta_slow' is -1"},
        {"scaling.yarn_beta_slow", NULL, 9, "goes from pair"},
        {"rope.freq_base", NULL, 1, "yarn with a rotary base of 1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        expect_gguf_refused(list[i].key,
                            list[i].other ? list[i].other : list[i].key,
                            list[i].v, list[i].part);
}

int main(void)
{
    enum { N = sizeof cases / sizeof *cases };
    struct CMUnitTest tests[N + 2] = {
        [N] = cmocka_unit_test(
            test_scaled_positions_end_where_the_answer_would_change),
        [N + 1] = cmocka_unit_test(
            test_scaling_of_gguf_that_makes_no_sense_is_refused)};
    for (int i = 0; i < N; i++) {
        tests[i].name = cases[i].what;
        tests[i].test_func = check_case;
        tests[i].initial_state = (void *)&cases[i];
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
