/* A model's program: its calls are read once, and bound anew where the number of atoms or edges changes. */
#define _POSIX_C_SOURCE 200809L
#include "internal.h"

#include <stdlib.h>
#include <string.h>

int64_t ct_evaluate(const cartalg_model *model, const int64_t *c) {
    return c[0] + c[1] * model->atoms + c[2] * model->every + c[3] * model->edges;
}

/* Memory for the calls and the words of kernels. */
int ct_parse_calls(cartalg_model *model) {
    const int64_t *at = (const int64_t *)model->calls.at;
    size_t words = 0;
    for (int64_t n = 0; n < model->count_calls; n++, at += at[0])
        words += at[2] >= KERNEL ? (size_t)at[4] : 0;
    model->call = calloc((size_t)model->count_calls + 1, sizeof *model->call);
    model->words = calloc(words + 1, sizeof *model->words);
    model->block = calloc((size_t)model->count_blocks, sizeof *model->block);
    model->starts = calloc((size_t)model->count_elements + 2, sizeof *model->starts);
    model->atoms = model->next = -1;
    return model->call && model->words && model->block && model->starts ? CARTALG_OK
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

static int place_blocks(cartalg_model *model) {
    const int64_t *sizes = (const int64_t *)model->blocks.at;
    size_t total = 0;
    for (int pass = 0; pass < 2; pass++) {
        size_t at = 0;
        for (int64_t n = INPUTS; n < model->count_blocks; n++) {
            if (pass)
                model->block[n] = model->arena + at;
            at += ((size_t)ct_evaluate(model, sizes + COEFFICIENTS * (n - 1)) + 63) / 64 * 64;
        }
        total = at + 64;
        if (!pass && total > model->arena_size) {
            free(model->arena);
            model->arena_size = (total + total / 8) / 64 * 64 + 64;
            model->arena = aligned_alloc(64, model->arena_size);
            if (!model->arena) {
                model->arena_size = 0;
                return ct_fail(model, CARTALG_MEMORY, "no memory for %zu bytes: %lld atoms, %lld pairs within the cutoff",
                            total, (long long)model->atoms, (long long)model->edges);
            }
        }
    }
    model->block[CONSTANTS] = (char *)model->constants.at;
    for (int n = 1; n < INPUTS; n++)
        model->block[n] = model->input[n];
    return CARTALG_OK;
}

static void bind_loop(cartalg_model *model, struct call *call, const int64_t *at) {
    call->axes = (int)*at++;
    for (int n = 0; n < call->axes; n++, at += COEFFICIENTS)
        call->size[n] = ct_evaluate(model, at);
    call->operands = (int)*at++;
    for (int n = 0; n < call->operands; n++) {
        struct operand *operand = call->operand + n;
        operand->type = (int)*at++;
        operand->at = model->block[at[0]] + ct_evaluate(model, at + 1);
        at += 1 + COEFFICIENTS;
        for (int axis = 0; axis < call->axes; axis++)
            operand->stride[axis] = *at++;
    }
    memcpy(&call->p, at, sizeof(double));
    memcpy(&call->q, at + 1, sizeof(double));
}

int ct_bind_calls(cartalg_model *model, int64_t atoms, int64_t every, int64_t edges) {
    if (atoms == model->atoms && every == model->every && edges == model->edges)
        return CARTALG_OK;
    model->atoms = atoms;
    model->every = every;
    model->edges = edges;
    int code = place_blocks(model);
    if (code) {
        model->atoms = -1;
        return code;
    }
    const int64_t *at = (const int64_t *)model->calls.at;
    int64_t *words = model->words;
    for (int64_t n = 0; n < model->count_calls; n++, at += at[0]) {
        struct call *call = model->call + n;
        call->section = (int)at[1];
        call->code = (int)at[2];
        if (call->code < KERNEL) {
            bind_loop(model, call, at + 3);
            continue;
        }
        const int64_t *kernel = model->kernel + 3 * at[3], *word = at + 10;
        call->kernel = (kernel_code)(void *)(model->machine + kernel[0] + kernel[2]);
        call->words = words;
        call->count = at[4];
        call->group = at + 5;
        for (int64_t k = 0; k < at[4]; k++, word += 1 + COEFFICIENTS) {
            int64_t value = ct_evaluate(model, word + 1);
            *words++ = word[0] < 0 ? value : (int64_t)(intptr_t)(model->block[word[0]] + value);
        }
    }
    return CARTALG_OK;
}

/* A kernel on the atoms of one type, in the order by type. */
static void run_group(const cartalg_model *model, const struct call *call) {
    const int64_t *group = call->group, start = model->starts[group[0]], count = model->starts[group[0] + 1] - start;
    int64_t words[WORDS];
    if (!count)
        return;
    memcpy(words, call->words, (size_t)call->count * sizeof *words);
    words[0] = count;
    words[group[1]] += start * group[3];
    words[group[2]] += start * group[4];
    call->kernel(words, 0, 1);
}

/* Run calls from the next on, to an exchange with ghosts, which is returned, or to the end: NULL. */
const struct call *ct_run(cartalg_model *model) {
    while (model->next < model->count_calls) {
        const struct call *call = model->call + model->next++;
        if ((call->section == OTHERS && !model->count_tensors) || (call->section == GRADIENT && !model->gradient_wanted))
            continue;
        if (call->code == KERNEL)
            call->kernel(call->words, 0, 1);
        else if (call->code == GROUP)
            run_group(model, call);
        else if (call->code != TO_GHOSTS && call->code != FROM_GHOSTS)
            ct_run_loop(call);
        else if (model->domain)
            return call;
    }
    return NULL;
}
