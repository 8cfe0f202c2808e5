/* What the files of the library share. */
#ifndef CARTALG_INTERNAL_H
#define CARTALG_INTERNAL_H

#include "cartalg.h"

/* Coefficients of a size: constant, for each atom, for each edge. */
enum { COEFFICIENTS = 3, AXES = 4, OPERANDS = 3 };
enum { REAL32 = 0, REAL64 = 1, INT64 = 2 };
enum { SETUP, ATOMS, RESULT, OTHERS, GRADIENT };
/* Blocks of memory: constants, then what neighbours are written to. */
enum { CONSTANTS, VECTORS, SPECIES, ROW_PTR, SENDER, RECEIVER, COL_PTR, COL_EDGE, INPUTS };
enum { KERNEL = 100 };

typedef void (*kernel_code)(const int64_t *words, int64_t thread, int64_t threads);

struct operand {
    char *at;
    int64_t stride[AXES];
    int type;
};

/* A loop over a box of numbers, or a kernel with its words. */
struct call {
    int section, code, axes, operands;
    int64_t size[AXES];
    struct operand operand[OPERANDS];
    double p, q;
    kernel_code kernel;
    int64_t *words;
};

struct part {
    const char *at;
    size_t size;
};

struct cartalg_model {
    char *file;
    size_t file_size;
    struct part about, numbers, elements, blocks, calls, kernels, levels, tensors, constants, code;
    int64_t count_elements, count_calls, count_blocks, count_kernels, count_levels, count_tensors;
    double cutoff;
    const int64_t *energies, *gradient;
    char *machine; /* code in memory that may be run */
    size_t machine_size;
    const int64_t *kernel; /* of the level that runs here: offset, size, start of each */
    struct call *call;
    int64_t *words;
    char **block;
    char *arena;
    size_t arena_size;
    void *input[INPUTS];
    size_t input_size[INPUTS];
    int64_t atoms, edges; /* what calls are bound to; -1 for nothing */
    char message[512];
};

int ct_fail(cartalg_model *model, int code, const char *format, ...);
int ct_read_artefact(cartalg_model *model, const char *file);
int ct_load_code(cartalg_model *model);
void ct_unload_code(cartalg_model *model);
int ct_parse_calls(cartalg_model *model);
int ct_bind_calls(cartalg_model *model, int64_t atoms, int64_t edges);
void ct_run_section(cartalg_model *model, int section);
void ct_run_loop(const struct call *call);
int ct_build_edges(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                const int32_t *owners, const int64_t *first, const int32_t *neighbours, int64_t *edges);
void *ct_room(cartalg_model *model, int input, size_t bytes);
int64_t ct_evaluate(const int64_t *coefficients, int64_t atoms, int64_t edges);

#endif
