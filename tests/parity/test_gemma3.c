/* The "gemma3" architecture against transformers, from Hugging Face
 * directories and from GGUF files of the same weights: six local layers and a
 * global one, windows shorter than the texts.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "models/transformer/archs.h"
#include "tests/support/decoder_golden.h"

/* fp32 sums in another order, over seven layers with four norms each. */
#define TOLERANCE 1e-4

static void test_gemma3_huggingface_directory(void **state)
{
    (void)state;
    golden_check(&gemma3_arch, "gemma3", "hf", TOLERANCE);
}

static void test_gemma3_gguf_with_norms_stored_plus_one(void **state)
{
    (void)state;
    golden_check(&gemma3_arch, "gemma3", "model.gguf", TOLERANCE);
}

static void test_gemma3_scaled_rope_in_global_layers_only(void **state)
{
    (void)state;
    golden_check(&gemma3_arch, "gemma3-scaled-bf16", "hf", TOLERANCE);
    golden_check(&gemma3_arch, "gemma3-scaled-bf16", "model.gguf", TOLERANCE);
}

static void test_gemma3_scores_scaled_by_another_number(void **state)
{
    (void)state;
    golden_check(&gemma3_arch, "gemma3-scalar", "hf", TOLERANCE);
}

static void test_gemma3_refuses_what_it_does_not_have(void **state)
{
    static const struct {
        const char *key, *value, *part;
    } list[] = {
        {"hidden_activation", "\"gelu\"", "'hidden_activation' is 'gelu'"},
        {"quantization_config", "{\"bits\": 4}", "quantization_config"},
        {"use_bidirectional_attention", "true", "use_bidirectional_attention"},
        {"attention_bias", "true", "attention_bias"},
        {"rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2.0}",
         "'yarn'"},
        {"text_config", "{}", "text_config"},
        {"num_key_value_heads", "3", "no multiple of 3"},
        {"num_hidden_layers", "8", "8 entries"},
        {"sliding_window", "0", "'sliding_window' is 0"},
        {"query_pre_attn_scalar", "0", "query_pre_attn_scalar"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        golden_refused(&gemma3_arch, "gemma3", list[i].key, list[i].value,
                       list[i].part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma3_huggingface_directory),
        cmocka_unit_test(test_gemma3_gguf_with_norms_stored_plus_one),
        cmocka_unit_test(test_gemma3_scaled_rope_in_global_layers_only),
        cmocka_unit_test(test_gemma3_scores_scaled_by_another_number),
        cmocka_unit_test(test_gemma3_refuses_what_it_does_not_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
