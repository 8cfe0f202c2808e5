/* Two atoms of the model's first element, 2 angstrom apart, then a chain of them with periodic images.
 *
 *     make && ./example model.cartalg
 */
#include "cartalg.h"

#include <stdio.h>

static int stop(const cartalg_model *model, int code) {
    fprintf(stderr, "error %d: %s\n", code, cartalg_message(model));
    return 1;
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: %s model.cartalg\n", arguments[0]);
        return 2;
    }
    cartalg_model *model;
    char message[256];
    int code = cartalg_create(arguments[1], &model, message, sizeof message);
    if (code) {
        fprintf(stderr, "error %d: %s\n", code, message);
        return 1;
    }
    printf("%d elements, the first %s; cutoff %g angstrom\n", cartalg_elements(model), cartalg_symbol(model, 0),
           cartalg_cutoff(model));

    /* A molecule: each atom is the other's neighbour. */
    double positions[][3] = {{0, 0, 0}, {2, 0, 0}, {-2, 0, 0}, {4, 0, 0}};
    int32_t types[] = {0, 0, 0, 0};
    int64_t first[] = {0, 1, 2};
    int32_t neighbours[] = {1, 0};
    double energy, forces[2][3], virial[3][3];
    code = cartalg_compute(model, 2, 0, positions[0], types, NULL, first, neighbours, &energy, NULL, forces[0], virial[0]);
    if (code)
        return stop(model, code);
    printf("molecule: %.6f eV, force on the second atom %.6f eV/angstrom\n", energy, forces[1][0]);

    /* The same two in a cell 4 angstrom long: ghost 2 is an image of atom 1, ghost 3 one of atom 0. */
    int32_t owners[] = {1, 0};
    int64_t from[] = {0, 2, 4};
    int32_t of_chain[] = {1, 2, 0, 3};
    code = cartalg_compute(model, 2, 2, positions[0], types, owners, from, of_chain, &energy, NULL, forces[0], virial[0]);
    if (code)
        return stop(model, code);
    printf("chain: %.6f eV, virial %.6f eV\n", energy, virial[0][0]);
    cartalg_free(model);
    return 0;
}
