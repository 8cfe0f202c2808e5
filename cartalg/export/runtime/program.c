/* A model's program: its calls are read once, and bound anew where the number of atoms or edges changes. */
#define _POSIX_C_SOURCE 200809L
#include "internal.h"

#include <stdlib.h>
#include <string.h>

int64_t ct_evaluate(const int64_t *c, int64_t atoms, int64_t edges) { return c[0] + c[1] * atoms + c[2] * edges; }

/* Memory for the calls and the words of kernels. */
int ct_parse_calls(cartalg_model *model) {
    const int64_t *at = (const int64_t *)model->calls.at;
    size_t words = 0;
    for (int64_t n = 0; n < model->count_calls; n++, at += at[0])
        words += at[2] == KERNEL ? (size_t)at[4] : 0;
    model->call = calloc((size_t)model->count_calls + 1, sizeof *model->call);
    model->words = calloc(words + 1, sizeof *model->words);
    model->block = calloc((size_t)model->count_blocks, sizeof *model->block);
    model->atoms = model->edges = -1;
    return model->call && model->words && model->block ? CARTALG_OK
                                                       : ct_fail(model, CARTALG_MEMORY, "no memory for the program");
}

void *ct_room(cartalg_model *model, int input, size_t bytes) {
    if (bytes + 64 > model->input_size[input]) {
        size_t size = (bytes + bytes / 8 + 64 + 63) / 64 * 64;
        free(model->input[input]);
        model->input[input] = aligned_alloc(64, size);
        model->input_size[input] = model->input[input] ? size : 0;
    }
    return model->input[input];
}

static int place_blocks(cartalg_model *model, int64_t atoms, int64_t edges) {
    const int64_t *sizes = (const int64_t *)model->blocks.at;
    size_t total = 0;
    for (int pass = 0; pass < 2; pass++) {
        size_t at = 0;
        for (int64_t n = INPUTS; n < model->count_blocks; n++) {
            if (pass)
                model->block[n] = model->arena + at;
            at += ((size_t)ct_evaluate(sizes + COEFFICIENTS * (n - 1), atoms, edges) + 63) / 64 * 64;
        }
        total = at + 64;
        if (!pass && total > model->arena_size) {
            free(model->arena);
            model->arena_size = (total + total / 8) / 64 * 64 + 64;
            model->arena = aligned_alloc(64, model->arena_size);
            if (!model->arena) {
                model->arena_size = 0;
                return ct_fail(model, CARTALG_MEMORY, "no memory for %zu bytes: %lld atoms, %lld pairs within the cutoff",
                            total, (long long)atoms, (long long)edges);
            }
        }
    }
    model->block[CONSTANTS] = (char *)model->constants.at;
    for (int n = 1; n < INPUTS; n++)
        model->block[n] = model->input[n];
    return CARTALG_OK;
}

static void bind_loop(cartalg_model *model, struct call *call, const int64_t *at, int64_t atoms, int64_t edges) {
    call->axes = (int)*at++;
    for (int n = 0; n < call->axes; n++, at += COEFFICIENTS)
        call->size[n] = ct_evaluate(at, atoms, edges);
    call->operands = (int)*at++;
    for (int n = 0; n < call->operands; n++) {
        struct operand *operand = call->operand + n;
        operand->type = (int)*at++;
        operand->at = model->block[at[0]] + ct_evaluate(at + 1, atoms, edges);
        at += 1 + COEFFICIENTS;
        for (int axis = 0; axis < call->axes; axis++)
            operand->stride[axis] = *at++;
    }
    memcpy(&call->p, at, sizeof(double));
    memcpy(&call->q, at + 1, sizeof(double));
}

int ct_bind_calls(cartalg_model *model, int64_t atoms, int64_t edges) {
    int code = place_blocks(model, atoms, edges);
    if (code)
        return code;
    const int64_t *at = (const int64_t *)model->calls.at;
    int64_t *words = model->words;
    for (int64_t n = 0; n < model->count_calls; n++, at += at[0]) {
        struct call *call = model->call + n;
        call->section = (int)at[1];
        call->code = (int)at[2];
        if (call->code != KERNEL) {
            bind_loop(model, call, at + 3, atoms, edges);
            continue;
        }
        const int64_t *kernel = model->kernel + 3 * at[3], *word = at + 5;
        call->kernel = (kernel_code)(void *)(model->machine + kernel[0] + kernel[2]);
        call->words = words;
        for (int64_t k = 0; k < at[4]; k++, word += 1 + COEFFICIENTS) {
            int64_t value = ct_evaluate(word + 1, atoms, edges);
            *words++ = word[0] < 0 ? value : (int64_t)(intptr_t)(model->block[word[0]] + value);
        }
    }
    model->atoms = atoms;
    model->edges = edges;
    return CARTALG_OK;
}

void ct_run_section(cartalg_model *model, int section) {
    for (int64_t n = 0; n < model->count_calls; n++) {
        const struct call *call = model->call + n;
        if (call->section != section)
            continue;
        if (call->code == KERNEL)
            call->kernel(call->words, 0, 1);
        else
            ct_run_loop(call);
    }
}
