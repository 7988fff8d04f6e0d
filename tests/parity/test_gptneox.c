/* The "gpt_neox" architecture (GPT-NeoX, Pythia) against transformers, from
 * Hugging Face directories and from GGUF files of the same weights: rows of
 * query, key and value by head in the former, a part of each head turned, both
 * kinds of residual.
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
 * each product's input. */
#define FAST_MEAN 0.03
#define FAST_MOST 0.3

static void test_gptneox_parallel_residual_and_a_quarter_turned(void **state)
{
    (void)state;
    golden_check(&gpt_neox_arch, "gpt_neox", "hf", TOLERANCE);
}

static void test_gptneox_one_after_the_other_in_f16(void **state)
{
    (void)state;
    golden_check(&gpt_neox_arch, "gpt_neox-sequential-f16", "hf", TOLERANCE);
    golden_check(&gpt_neox_arch, "gpt_neox-sequential-f16", "model.gguf",
                 TOLERANCE);
}

static void
test_gptneox_bare_names_no_biases_config_of_transformers_5(void **state)
{
    (void)state;
    golden_check(&gpt_neox_arch, "gpt_neox-bare-tied-bf16", "hf", TOLERANCE);
}

static void test_gptneox_block_types_with_fp32_activations(void **state)
{
    (void)state;
    golden_check(&gpt_neox_arch, "gpt_neox-q", "model.gguf", TOLERANCE);
}

static void test_gptneox_block_types_the_fast_way(void **state)
{
    (void)state;
    golden_check_fast(&gpt_neox_arch, "gpt_neox-q", "model.gguf", FAST_MEAN,
                      FAST_MOST);
}

static void test_gptneox_refuses_what_it_does_not_have(void **state)
{
    static const struct {
        const char *key, *value, *part;
    } list[] = {
        {"hidden_act", "\"silu\"", "'hidden_act' is 'silu'"},
        {"quantization_config", "{\"bits\": 4}", "quantization_config"},
        {"rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2.0}",
         "'yarn'"},
        {"rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2.0}",
         "'dynamic'"},
        {"rotary_pct", "0.2", "3 rotary dimensions"},
        {"rotary_pct", "0", "0 rotary dimensions"},
        {"rotary_pct", "1.5", "'rotary_pct' is 1.5"},
        {"num_attention_heads", "5", "32 is no multiple of"},
        {"num_hidden_layers", "3", "layers.2."},
        {"num_hidden_layers", "1", "layers.1."},
        {"intermediate_size", "40", "expected"},
        {"vocab_size", "62", "[61,32], expected [62,32]"},
        {"attention_bias", "false", ".bias' is not part of"},
        {"tie_word_embeddings", "1", "'tie_word_embeddings'"},
        {"hidden_size", NULL, "'hidden_size' is missing"},
        {"max_position_embeddings", "99999999999", "max_position_embeddings"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        golden_refused(&gpt_neox_arch, "gpt_neox", list[i].key, list[i].value,
                       list[i].part);
    golden_refused(&gpt_neox_arch, "gpt_neox-bare-tied-bf16",
                   "tie_word_embeddings", "false", "embed_out.weight");
    golden_refused(&gpt_neox_arch, "gpt_neox-bare-tied-bf16", "attention_bias",
                   "true", "query_key_value.bias");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gptneox_parallel_residual_and_a_quarter_turned),
        cmocka_unit_test(test_gptneox_one_after_the_other_in_f16),
        cmocka_unit_test(
            test_gptneox_bare_names_no_biases_config_of_transformers_5),
        cmocka_unit_test(test_gptneox_block_types_with_fp32_activations),
        cmocka_unit_test(test_gptneox_block_types_the_fast_way),
        cmocka_unit_test(test_gptneox_refuses_what_it_does_not_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
