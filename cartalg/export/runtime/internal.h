/* What the files of the library share. */
#ifndef CARTALG_INTERNAL_H
#define CARTALG_INTERNAL_H

#include "cartalg.h"

/* Coefficients of a size: constant, for each atom, for each atom or ghost, for each edge. */
enum { COEFFICIENTS = 4, AXES = 4, OPERANDS = 3 };
enum { REAL32 = 0, REAL64 = 1, INT64 = 2 };
enum { SETUP, ATOMS, RESULT, OTHERS, GRADIENT };
/* Blocks of memory: constants, then what neighbours are written to. */
enum { CONSTANTS, VECTORS, SPECIES, ROW_PTR, SENDER, RECEIVER, COL_PTR, COL_EDGE, ORDER, BACK, INPUTS };
enum { TO_GHOSTS = 16, FROM_GHOSTS = 17, KERNEL = 100, GROUP = 101 };
enum { WORDS = 64 }; /* of a kernel that treats the atoms of a type, at most */

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
    int64_t *words, count;
    const int64_t *group; /* type, two places of addresses among words, bytes of an atom in each */
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
    int64_t *starts; /* of each type in the order by type */
    void *input[INPUTS];
    size_t input_size[INPUTS];
    int64_t atoms, every, edges; /* what calls are bound to; atoms is -1 for nothing */
    int64_t next;                /* the call that comes next, of a computation in steps; -1 if there is none */
    int gradient_wanted, domain; /* whether ghosts are of other processes */
    char message[512];
};

int ct_fail(cartalg_model *model, int code, const char *format, ...);
int ct_read_artefact(cartalg_model *model, const char *file);
int ct_load_code(cartalg_model *model);
void ct_unload_code(cartalg_model *model);
int ct_parse_calls(cartalg_model *model);
int ct_bind_calls(cartalg_model *model, int64_t atoms, int64_t every, int64_t edges);
const struct call *ct_run(cartalg_model *model);
void ct_run_loop(const struct call *call);
int ct_build_edges(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                const int32_t *owners, const int64_t *first, const int32_t *neighbours, int64_t *edges);
void *ct_room(cartalg_model *model, int input, size_t bytes);
int64_t ct_evaluate(const cartalg_model *model, const int64_t *coefficients);

#endif
