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
    free(model->starts);
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
    return model->block[place[0]] + ct_evaluate(model, place + 1);
}

/* Check the input and get ready to run. */
static int start(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                 const int32_t *owners, const int64_t *first, const int32_t *neighbours, int gradient) {
    model->message[0] = 0;
    model->next = -1;
    if (atoms < 0 || ghosts < 0)
        return ct_fail(model, CARTALG_SIZE, "%lld atoms and %lld ghosts", (long long)atoms, (long long)ghosts);
    if (!first || (atoms + ghosts && (!positions || !types)))
        return ct_fail(model, CARTALG_NULL, "positions, types or first are NULL");
    int64_t edges = 0;
    int code = ct_build_edges(model, atoms, ghosts, positions, types, owners, first, neighbours, &edges);
    if (!code)
        code = ct_bind_calls(model, atoms, owners ? atoms : atoms + ghosts, edges);
    model->gradient_wanted = gradient;
    model->domain = !owners;
    model->next = code ? -1 : 0;
    return code;
}

/* Forces on receivers and senders, and the virial, from the gradient to edge vectors. */
static void collect(const cartalg_model *model, double *forces, double *virial) {
    const double *slope = (const double *)placed(model, model->gradient), *vector = model->input[VECTORS];
    const int64_t *senders = model->input[SENDER], *receivers = model->input[RECEIVER];
    double total[3][3] = {{0}};
    if (forces)
        memset(forces, 0, 3 * (size_t)model->every * sizeof *forces);
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

static void results(const cartalg_model *model, double *energy, double *energies, double *forces, double *virial) {
    const double *found = (const double *)placed(model, model->energies);
    double sum = 0;
    for (int64_t n = 0; n < model->atoms; n++)
        sum += found[n];
    if (energy)
        *energy = sum;
    if (energies)
        memcpy(energies, found, (size_t)model->atoms * sizeof *found);
    if (forces || virial)
        collect(model, forces, virial);
}

int cartalg_compute(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                    const int32_t *owners, const int64_t *first, const int32_t *neighbours, double *energy,
                    double *energies, double *forces, double *virial) {
    static const int32_t none[1];
    if (!model)
        return CARTALG_NULL;
    if (ghosts > 0 && !owners)
        return ct_fail(model, CARTALG_NULL, "owners of ghosts are NULL");
    int code = start(model, atoms, ghosts, positions, types, owners ? owners : none, first, neighbours, forces || virial);
    if (code)
        return code;
    ct_run(model);
    results(model, energy, energies, forces, virial);
    model->next = -1;
    return CARTALG_OK;
}

int cartalg_begin(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                  const int64_t *first, const int32_t *neighbours, int gradient) {
    return model ? start(model, atoms, ghosts, positions, types, NULL, first, neighbours, gradient) : CARTALG_NULL;
}

int cartalg_next(cartalg_model *model, cartalg_exchange *exchange) {
    if (!model || !exchange)
        return CARTALG_NULL;
    memset(exchange, 0, sizeof *exchange);
    if (model->next < 0)
        return ct_fail(model, CARTALG_ORDER, "cartalg_next comes after cartalg_begin");
    const struct call *call = ct_run(model);
    if (!call)
        return CARTALG_OK;
    exchange->direction = call->code == TO_GHOSTS ? CARTALG_TO_GHOSTS : CARTALG_FROM_GHOSTS;
    exchange->bytes = call->operand[0].type == REAL32 ? 4 : 8;
    exchange->width = call->size[0];
    exchange->rows = call->operand[0].at;
    exchange->into = call->code == TO_GHOSTS ? NULL : call->operand[1].at;
    return CARTALG_OK;
}

int cartalg_end(cartalg_model *model, double *energy, double *energies, double *forces, double *virial) {
    if (!model)
        return CARTALG_NULL;
    if (model->next < model->count_calls)
        return ct_fail(model, CARTALG_ORDER, "cartalg_end comes when cartalg_next has nothing to exchange");
    if ((forces || virial) && !model->gradient_wanted)
        return ct_fail(model, CARTALG_ORDER, "forces and virial were not asked for in cartalg_begin");
    results(model, energy, energies, forces, virial);
    model->next = -1;
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
