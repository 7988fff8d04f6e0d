/* The "llama" architecture (Llama, Mistral, Qwen2) against transformers, from
 * Hugging Face directories and from GGUF files of the same weights: rotary
 * pairs lie apart in the former and, for architecture "llama", side by side in
 * the latter.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "models/transformer/archs.h"
#include "tests/support/decoder_golden.h"

/* fp32 sums of up to 160 terms of size 1, in another order. */
#define TOLERANCE 4e-5
/* 8-bit activations: a rounding error of up to 1/254 of the largest value in
 * each product's input, over two layers. */
#define FAST_MEAN 0.03
#define FAST_MOST 0.3

static void both(const char *name)
{
    golden_check(&llama_arch, name, "hf", TOLERANCE);
    golden_check(&llama_arch, name, "model.gguf", TOLERANCE);
}

static void test_llama_three_heads_of_eight_share_one_key(void **state)
{
    (void)state;
    both("llama");
}

static void test_llama_biases_and_head_size_of_its_own(void **state)
{
    (void)state;
    golden_check(&llama_arch, "llama-bias-bf16", "hf", TOLERANCE);
}

static void test_llama_linear_rope_scaling(void **state)
{
    (void)state;
    both("llama-linear-f16");
}

static void test_llama_llama3_rope_scaling(void **state)
{
    (void)state;
    both("llama-llama3-rope");
}

static void test_llama_mistral_window_in_shards(void **state)
{
    (void)state;
    both("mistral");
}

static void test_llama_qwen2_biases_and_unpermuted_gguf(void **state)
{
    (void)state;
    both("qwen2");
}

static void test_llama_qwen2_windows_from_a_layer_on(void **state)
{
    (void)state;
    golden_check(&llama_arch, "qwen2-window", "hf", TOLERANCE);
}

static void test_llama_block_types_with_fp32_activations(void **state)
{
    (void)state;
    golden_check(&llama_arch, "llama-q", "model.gguf", TOLERANCE);
}

static void test_llama_block_types_the_fast_way(void **state)
{
    (void)state;
    golden_check_fast(&llama_arch, "llama-q", "model.gguf", FAST_MEAN,
                      FAST_MOST);
}

static void test_llama_refuses_what_it_does_not_have(void **state)
{
    static const struct {
        const char *key, *value, *part;
    } list[] = {
        {"hidden_act", "\"gelu\"", "'hidden_act' is 'gelu'"},
        {"quantization_config", "{\"bits\": 4}", "quantization_config"},
        {"rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2.0}",
         "'yarn'"},
        {"rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2.0}",
         "'dynamic'"},
        {"partial_rotary_factor", "0.5", "partial_rotary_factor"},
        {"num_attention_heads", "5", "[24,24], expected [40,24]"},
        {"num_key_value_heads", "2", "no multiple of 2"},
        {"head_dim", "7", "7 rotary dimensions"},
        {"head_dim", "16", "[24,24], expected [48,24]"},
        {"head_dim", "1000000", "expected 1..1024"},
        {"num_hidden_layers", "3", "layers.2."},
        {"num_hidden_layers", "1", "layers.1."},
        {"intermediate_size", "40", "expected"},
        {"vocab_size", "62", "[61,24], expected [62,24]"},
        {"attention_bias", "true", "bias"},
        {"tie_word_embeddings", "false", "lm_head.weight"},
        {"hidden_size", NULL, "'hidden_size' is missing"},
        {"hidden_size", "-3", "'hidden_size' is -3"},
        {"max_position_embeddings", "99999999999", "max_position_embeddings"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        golden_refused(&llama_arch, "llama", list[i].key, list[i].value,
                       list[i].part);
    golden_refused(&llama_arch, "qwen2", "num_attention_heads", "5",
                   "24 is no multiple of num_attention_heads 5");
    golden_refused(&llama_arch, "llama-bias-bf16", "attention_bias", "false",
                   "proj.bias' is not part of");
    golden_refused(&llama_arch, "qwen2-window", "layer_types",
                   "[\"full_attention\", \"linear_attention\", "
                   "\"full_attention\"]",
                   "linear_attention");
    golden_refused(&llama_arch, "qwen2-window", "layer_types",
                   "[\"full_attention\"]", "3 entries");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_llama_three_heads_of_eight_share_one_key),
        cmocka_unit_test(test_llama_biases_and_head_size_of_its_own),
        cmocka_unit_test(test_llama_linear_rope_scaling),
        cmocka_unit_test(test_llama_llama3_rope_scaling),
        cmocka_unit_test(test_llama_mistral_window_in_shards),
        cmocka_unit_test(test_llama_qwen2_biases_and_unpermuted_gguf),
        cmocka_unit_test(test_llama_qwen2_windows_from_a_layer_on),
        cmocka_unit_test(test_llama_block_types_with_fp32_activations),
        cmocka_unit_test(test_llama_block_types_the_fast_way),
        cmocka_unit_test(test_llama_refuses_what_it_does_not_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
