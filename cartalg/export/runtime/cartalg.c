/* The interface: cartalg.h says what each function does. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSOR_NAME = 32, TENSOR_WORDS = 3 + COEFFICIENTS };

int cartalg_create(const char *file, cartalg_model **model, char *message, size_t size) {
    if (message && size)
        message[0] = 0;
    if (!model || !file) {
        if (message)
            snprintf(message, size, "file or model is NULL");
        return CARTALG_NULL;
    }
    *model = NULL;
    cartalg_model *made = calloc(1, sizeof *made);
    if (!made) {
        if (message)
            snprintf(message, size, "no memory");
        return CARTALG_MEMORY;
    }
    int code = ct_read_artefact(made, file);
    if (!code)
        code = ct_load_code(made);
    if (!code)
        code = ct_parse_calls(made);
    if (code) {
        if (message)
            snprintf(message, size, "%s", made->message);
        cartalg_free(made);
        return code;
    }
    *model = made;
    return CARTALG_OK;
}

void cartalg_free(cartalg_model *model) {
    if (!model)
        return;
    ct_unload_code(model);
    for (int n = 0; n < INPUTS; n++)
        free(model->input[n]);
    free(model->arena);
    free(model->block);
    free(model->words);
    free(model->call);
    free(model->file);
    free(model);
}

const char *cartalg_message(const cartalg_model *model) { return model ? model->message : "the model is NULL"; }

int cartalg_elements(const cartalg_model *model) { return model ? (int)model->count_elements : 0; }

const char *cartalg_symbol(const cartalg_model *model, int type) {
    return model && type >= 0 && type < model->count_elements ? model->elements.at + 8 * type : NULL;
}

double cartalg_cutoff(const cartalg_model *model) { return model ? model->cutoff : 0; }

const char *cartalg_about(const cartalg_model *model) { return model ? model->about.at : NULL; }

static char *placed(const cartalg_model *model, const int64_t *place) {
    return model->block[place[0]] + ct_evaluate(place + 1, model->atoms, model->edges);
}

/* Forces on receivers and senders, and the virial, from the gradient to edge vectors. */
static void collect(const cartalg_model *model, double *forces, double *virial) {
    const double *slope = (const double *)placed(model, model->gradient), *vector = model->input[VECTORS];
    const int64_t *senders = model->input[SENDER], *receivers = model->input[RECEIVER];
    double total[3][3] = {{0}};
    if (forces)
        memset(forces, 0, 3 * (size_t)model->atoms * sizeof *forces);
    for (int64_t e = 0; e < model->edges; e++, slope += 3, vector += 3)
        for (int k = 0; k < 3; k++) {
            if (forces) {
                forces[3 * receivers[e] + k] += slope[k];
                forces[3 * senders[e] + k] -= slope[k];
            }
            for (int m = 0; m < 3; m++)
                total[m][k] += vector[m] * slope[k];
        }
    if (virial)
        for (int k = 0; k < 9; k++)
            virial[k] = (total[k / 3][k % 3] + total[k % 3][k / 3]) / 2;
}

int cartalg_compute(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                    const int32_t *owners, const int64_t *first, const int32_t *neighbours, double *energy,
                    double *energies, double *forces, double *virial) {
    if (!model)
        return CARTALG_NULL;
    model->message[0] = 0;
    if (atoms < 0 || ghosts < 0)
        return ct_fail(model, CARTALG_SIZE, "%lld atoms and %lld ghosts", (long long)atoms, (long long)ghosts);
    if (!first || (atoms + ghosts && (!positions || !types)) || (ghosts && !owners))
        return ct_fail(model, CARTALG_NULL, "positions, types, first, or owners of ghosts are NULL");
    int64_t edges = 0;
    int code = ct_build_edges(model, atoms, ghosts, positions, types, owners, first, neighbours, &edges);
    if (!code && (atoms != model->atoms || edges != model->edges))
        code = ct_bind_calls(model, atoms, edges);
    if (code)
        return code;
    ct_run_section(model, SETUP);
    ct_run_section(model, ATOMS);
    ct_run_section(model, RESULT);
    if (model->count_tensors)
        ct_run_section(model, OTHERS);
    if (forces || virial)
        ct_run_section(model, GRADIENT);
    const double *found = (const double *)placed(model, model->energies);
    double sum = 0;
    for (int64_t n = 0; n < atoms; n++)
        sum += found[n];
    if (energy)
        *energy = sum;
    if (energies)
        memcpy(energies, found, (size_t)atoms * sizeof *found);
    if (forces || virial)
        collect(model, forces, virial);
    return CARTALG_OK;
}

static const char *tensor(const cartalg_model *model, int number) {
    return model && number >= 0 && number < model->count_tensors
               ? model->tensors.at + number * (TENSOR_NAME + TENSOR_WORDS * (int)sizeof(int64_t))
               : NULL;
}

int cartalg_tensors(const cartalg_model *model) { return model ? (int)model->count_tensors : 0; }

const char *cartalg_tensor_name(const cartalg_model *model, int number) { return tensor(model, number); }

int cartalg_tensor_size(const cartalg_model *model, int number) {
    const char *about = tensor(model, number);
    return about ? (int)*(const int64_t *)(about + TENSOR_NAME) : 0;
}

int cartalg_tensor(cartalg_model *model, int number, double *values) {
    const char *about = tensor(model, number);
    if (!model || !values)
        return CARTALG_NULL;
    if (!about)
        return ct_fail(model, CARTALG_SIZE, "tensor %d of %lld", number, (long long)model->count_tensors);
    if (model->atoms < 0)
        return ct_fail(model, CARTALG_ORDER, "tensors are there after cartalg_compute");
    const int64_t *words = (const int64_t *)(about + TENSOR_NAME);
    const char *found = placed(model, words + 2);
    for (int64_t n = 0; n < model->atoms * words[0]; n++)
        values[n] = words[1] == REAL32 ? ((const float *)found)[n] : ((const double *)found)[n];
    return CARTALG_OK;
}
