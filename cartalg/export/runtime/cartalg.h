/* A trained potential without Python or Torch: energies, forces and virial from positions and neighbours.
 *
 * Units: angstrom, eV. Every function that can fail returns a code; cartalg_message() says what was wrong.
 * A model belongs to one thread at a time; any number of models may be used at once, for nothing is shared.
 */
#ifndef CARTALG_H
#define CARTALG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

enum cartalg_code {
    CARTALG_OK = 0,
    CARTALG_NULL = 1,      /* a pointer that is needed is NULL */
    CARTALG_FILE = 2,      /* the file cannot be read */
    CARTALG_FORMAT = 3,    /* it is no exported model, or of another version */
    CARTALG_DAMAGED = 4,   /* it is not what was written: its hash differs */
    CARTALG_PROCESSOR = 5, /* it holds no code for this processor */
    CARTALG_MEMORY = 6,    /* the system gives no memory, or does not let it hold code */
    CARTALG_SIZE = 7,      /* a negative number of atoms, or neighbours that are not counted up */
    CARTALG_TYPE = 8,      /* a type that the model does not know, or a ghost of another type than its owner */
    CARTALG_POSITION = 9,  /* a position that is not finite */
    CARTALG_NEIGHBOUR = 10,/* a neighbour or an owner that is no atom */
    CARTALG_OVERLAP = 11,  /* two atoms closer than 0.05 angstrom */
    CARTALG_ORDER = 12     /* layers called out of order */
};

typedef struct cartalg_model cartalg_model;

/* Read an exported model.
 *   file     written by `cartalg export`
 *   model    is set to it, or to NULL
 *   message  gets the text of an error, cut to `size` bytes; may be NULL
 */
int cartalg_create(const char *file, cartalg_model **model, char *message, size_t size);

/* Give back all memory; of NULL nothing is done. */
void cartalg_free(cartalg_model *model);

/* What was wrong in the last call with this model; "" if nothing was. */
const char *cartalg_message(const cartalg_model *model);

/* Number of elements, the chemical symbol of a type (NULL if there is none), cutoff in angstrom, and JSON about it all. */
int cartalg_elements(const cartalg_model *model);
const char *cartalg_symbol(const cartalg_model *model, int type);
double cartalg_cutoff(const cartalg_model *model);
const char *cartalg_about(const cartalg_model *model);

/* Energy, forces and virial.
 *   atoms, ghosts  numbers of atoms, and of images of them that neighbours may name
 *   positions      [atoms + ghosts][3], the atoms first
 *   types          [atoms + ghosts], from 0, in the order of cartalg_symbol
 *   owners         [ghosts], the atom that each ghost is an image of; may be NULL if there are none
 *   first          [atoms + 1], where the neighbours of each atom begin; first[0] is 0
 *   neighbours     [first[atoms]], of each atom all neighbours, both j of i and i of j; those beyond the cutoff may be
 *                  among them and are not counted
 *   energy         the sum
 *   energies       [atoms], of each atom
 *   forces         [atoms][3], those on images included in their owners'
 *   virial         [3][3], derivative of the energy with respect to strain; over the volume it is the stress
 * The last four may be NULL. Without forces and virial only energies are computed.
 */
int cartalg_compute(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                    const int32_t *owners, const int64_t *first, const int32_t *neighbours, double *energy,
                    double *energies, double *forces, double *virial);

/* The same for a domain whose ghosts other processes own, in steps: between its layers a model has to send values of
 * atoms to their ghosts, and gradients back.
 *
 *     cartalg_begin(model, atoms, ghosts, positions, types, first, neighbours, 1);
 *     while (!cartalg_next(model, &exchange) && exchange.direction) {
 *         if (exchange.direction == CARTALG_TO_GHOSTS) ..    write the ghosts' rows: copies of their owners'
 *         else ..                                            add the ghosts' rows to their owners' rows in `into`
 *     }
 *     cartalg_end(model, &energy, energies, forces, virial);
 *
 * All domains make the same exchanges in one order, whatever atoms they hold. Arguments as above; forces are
 * [atoms + ghosts][3], and those on ghosts are to be added to their owners'. Energy and virial are the domain's part of
 * the sum.
 */
enum cartalg_direction { CARTALG_DONE = 0, CARTALG_TO_GHOSTS = 1, CARTALG_FROM_GHOSTS = 2 };

typedef struct {
    int direction;
    int bytes;     /* of a number: 4 for float, 8 for double */
    int64_t width; /* numbers in a row */
    void *rows;    /* [atoms + ghosts][width] */
    void *into;    /* [atoms][width], where ghosts' rows are added; NULL on the way to ghosts */
} cartalg_exchange;

int cartalg_begin(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                  const int64_t *first, const int32_t *neighbours, int gradient);
int cartalg_next(cartalg_model *model, cartalg_exchange *exchange);
int cartalg_end(cartalg_model *model, double *energy, double *energies, double *forces, double *virial);

/* Tensors that the model predicts beside the energy, of the last cartalg_compute: how many, their names, numbers of
 * each atom (row-major, 3 a vector, 9 a matrix), and values [atoms][numbers] in the unit of the training data. */
int cartalg_tensors(const cartalg_model *model);
const char *cartalg_tensor_name(const cartalg_model *model, int tensor);
int cartalg_tensor_size(const cartalg_model *model, int tensor);
int cartalg_tensor(cartalg_model *model, int tensor, double *values);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
