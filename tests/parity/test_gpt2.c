/* The "gpt2" architecture against transformers, from a Hugging Face directory
 * and from a GGUF file of the same weights.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "models/transformer/archs.h"
#include "tests/support/decoder_golden.h"

/* fp32 sums of up to 144 terms of size 1, in another order. */
#define TOLERANCE 4e-5
/* 8-bit activations: a rounding error of up to 1/254 of the largest value in
 * each product's input, over two layers. */
#define FAST_MEAN 0.03
#define FAST_MOST 0.3

static void test_gpt2_huggingface_directory(void **state)
{
    (void)state;
    golden_check(&gpt2_arch, "gpt2", "hf", TOLERANCE);
}

static void test_gpt2_gguf(void **state)
{
    (void)state;
    golden_check(&gpt2_arch, "gpt2", "model.gguf", TOLERANCE);
}

static void test_gpt2_names_without_prefix_in_f16(void **state)
{
    (void)state;
    golden_check(&gpt2_arch, "gpt2-bare-f16", "hf", TOLERANCE);
    golden_check(&gpt2_arch, "gpt2-bare-f16", "model.gguf", TOLERANCE);
}

static void test_gpt2_own_output_matrix_in_bf16(void **state)
{
    (void)state;
    golden_check(&gpt2_arch, "gpt2-untied-bf16", "hf", TOLERANCE);
    golden_check(&gpt2_arch, "gpt2-untied-bf16", "model.gguf", TOLERANCE);
}

static void test_gpt2_block_types_with_fp32_activations(void **state)
{
    (void)state;
    golden_check(&gpt2_arch, "gpt2-q", "model.gguf", TOLERANCE);
}

static void test_gpt2_block_types_the_fast_way(void **state)
{
    (void)state;
    golden_check_fast(&gpt2_arch, "gpt2-q", "model.gguf", FAST_MEAN, FAST_MOST);
}

static void test_gpt2_refuses_what_it_does_not_have(void **state)
{
    static const struct {
        const char *key, *value, *part;
    } list[] = {
        {"activation_function", "\"relu\"", "'activation_function' is 'relu'"},
        {"quantization_config", "{\"bits\": 4}", "quantization_config"},
        {"add_cross_attention", "true", "add_cross_attention"},
        {"n_head", "5", "24 is no multiple of n_head 5"},
        {"n_head", "0", "'n_head' is 0, expected 1..1024"},
        {"n_embd", "48", "[61,24], expected [61,48]"},
        {"n_layer", "3", "h.2."},
        {"n_layer", "1", "'transformer.h.1."},
        {"n_layer", "100000", "expected 1..512"},
        {"n_inner", "100", "expected"},
        {"n_positions", "64", "[48,24], expected [64,24]"},
        {"vocab_size", "62", "[61,24], expected [62,24]"},
        {"tie_word_embeddings", "false", "lm_head.weight"},
        {"n_embd", NULL, "'n_embd' is missing"},
        {"n_positions", "1e30", "'n_positions'"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        golden_refused(&gpt2_arch, "gpt2", list[i].key, list[i].value,
                       list[i].part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gpt2_huggingface_directory),
        cmocka_unit_test(test_gpt2_gguf),
        cmocka_unit_test(test_gpt2_names_without_prefix_in_f16),
        cmocka_unit_test(test_gpt2_own_output_matrix_in_bf16),
        cmocka_unit_test(test_gpt2_block_types_with_fp32_activations),
        cmocka_unit_test(test_gpt2_block_types_the_fast_way),
        cmocka_unit_test(test_gpt2_refuses_what_it_does_not_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
