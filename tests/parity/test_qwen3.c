/* The "qwen3" architecture against transformers, from Hugging Face directories
 * and from GGUF files of the same weights: norms of queries and keys, heads
 * whose size is not width by number.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "models/transformer/archs.h"
#include "tests/support/decoder_golden.h"

/* fp32 sums of up to 96 terms of size 1, in another order. */
#define TOLERANCE 4e-5
/* 8-bit activations: a rounding error of up to 1/254 of the largest value in
 * each product's input, over two layers. */
#define FAST_MEAN 0.03
#define FAST_MOST 0.3

static void both(const char *name)
{
    golden_check(&qwen3_arch, name, "hf", TOLERANCE);
    golden_check(&qwen3_arch, name, "model.gguf", TOLERANCE);
}

static void test_qwen3_grouped_queries_and_a_tied_output(void **state)
{
    (void)state;
    both("qwen3");
}

static void test_qwen3_linear_rope_scaling_in_f16(void **state)
{
    (void)state;
    both("qwen3-linear-f16");
}

static void test_qwen3_biases_in_bf16(void **state)
{
    (void)state;
    golden_check(&qwen3_arch, "qwen3-bias-bf16", "hf", TOLERANCE);
}

static void test_qwen3_windows_from_a_layer_on_in_shards(void **state)
{
    (void)state;
    golden_check(&qwen3_arch, "qwen3-window", "hf", TOLERANCE);
}

static void test_qwen3_block_types_with_fp32_activations(void **state)
{
    (void)state;
    golden_check(&qwen3_arch, "qwen3-q", "model.gguf", TOLERANCE);
}

static void test_qwen3_block_types_the_fast_way(void **state)
{
    (void)state;
    golden_check_fast(&qwen3_arch, "qwen3-q", "model.gguf", FAST_MEAN,
                      FAST_MOST);
}

static void test_qwen3_refuses_what_it_does_not_have(void **state)
{
    static const struct {
        const char *key, *value, *part;
    } list[] = {
        {"hidden_act", "\"gelu\"", "'hidden_act' is 'gelu'"},
        {"quantization_config", "{\"bits\": 4}", "quantization_config"},
        {"rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2.0}",
         "'yarn'"},
        {"partial_rotary_factor", "0.5", "partial_rotary_factor"},
        {"num_attention_heads", "3", "3 attention heads are no multiple of 2"},
        {"num_key_value_heads", "4", "[16,24], expected [32,24]"},
        {"head_dim", "7", "7 rotary dimensions"},
        {"head_dim", "16", "[32,24], expected [64,24]"},
        {"head_dim", NULL, "[32,24], expected [512,24]"},
        {"num_hidden_layers", "3", "no list of 3 entries"},
        {"num_hidden_layers", "1", "no list of 1 entries"},
        {"vocab_size", "62", "[61,24], expected [62,24]"},
        {"attention_bias", "true", "bias"},
        {"tie_word_embeddings", "false", "lm_head.weight"},
        {"hidden_size", NULL, "'hidden_size' is missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        golden_refused(&qwen3_arch, "qwen3", list[i].key, list[i].value,
                       list[i].part);
    golden_refused(&qwen3_arch, "qwen3-bias-bf16", "attention_bias", "false",
                   "proj.bias' is not part of");
    golden_refused(&qwen3_arch, "qwen3", "layer_types",
                   "[\"full_attention\", \"sliding_attention\"]",
                   "sliding_attention");
    golden_refused(&qwen3_arch, "qwen3-window", "layer_types",
                   "[\"full_attention\", \"linear_attention\"]",
                   "linear_attention");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_qwen3_grouped_queries_and_a_tied_output),
        cmocka_unit_test(test_qwen3_linear_rope_scaling_in_f16),
        cmocka_unit_test(test_qwen3_biases_in_bf16),
        cmocka_unit_test(test_qwen3_windows_from_a_layer_on_in_shards),
        cmocka_unit_test(test_qwen3_block_types_with_fp32_activations),
        cmocka_unit_test(test_qwen3_block_types_the_fast_way),
        cmocka_unit_test(test_qwen3_refuses_what_it_does_not_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
