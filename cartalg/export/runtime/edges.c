/* A caller's atoms and neighbours, checked, as the edges that kernels read. */
#include "internal.h"

#include <math.h>
#include <string.h>

static const double OVERLAP = 0.05;

static int check_atoms(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions,
                       const int32_t *types, const int32_t *owners) {
    for (int64_t n = 0; n < atoms + ghosts; n++) {
        const double *r = positions + 3 * n;
        if (!isfinite(r[0]) || !isfinite(r[1]) || !isfinite(r[2]))
            return ct_fail(model, CARTALG_POSITION, "atom %lld: its position is not finite", (long long)n);
        if (types[n] < 0 || types[n] >= model->count_elements)
            return ct_fail(model, CARTALG_TYPE, "atom %lld: type %d; the model knows types 0 to %lld", (long long)n, types[n],
                        (long long)model->count_elements - 1);
    }
    for (int64_t n = 0; owners && n < ghosts; n++) {
        if (owners[n] < 0 || owners[n] >= atoms)
            return ct_fail(model, CARTALG_NEIGHBOUR, "ghost %lld: its owner %d is none of the %lld atoms", (long long)n,
                        owners[n], (long long)atoms);
        if (types[atoms + n] != types[owners[n]])
            return ct_fail(model, CARTALG_TYPE, "ghost %lld: type %d, but its owner %d has type %d", (long long)n,
                        types[atoms + n], owners[n], types[owners[n]]);
    }
    return CARTALG_OK;
}

static int check_lists(cartalg_model *model, int64_t atoms, int64_t every, const int64_t *first, const int32_t *neighbours) {
    if (first[0])
        return ct_fail(model, CARTALG_SIZE, "first[0] is %lld and must be 0", (long long)first[0]);
    for (int64_t i = 0; i < atoms; i++)
        if (first[i + 1] < first[i])
            return ct_fail(model, CARTALG_SIZE, "the neighbours of atom %lld end before they begin", (long long)i);
    if (first[atoms] && !neighbours)
        return ct_fail(model, CARTALG_NULL, "neighbours is NULL");
    for (int64_t i = 0; i < atoms; i++)
        for (int64_t k = first[i]; k < first[i + 1]; k++)
            if (neighbours[k] < 0 || neighbours[k] >= every || neighbours[k] == i)
                return ct_fail(model, CARTALG_NEIGHBOUR, "atom %lld has the neighbour %d; there are %lld atoms and ghosts, "
                            "and none is its own neighbour", (long long)i, neighbours[k], (long long)every);
    return CARTALG_OK;
}

/* Edges within the cutoff, by receiver. */
static int fill_edges(cartalg_model *model, int64_t atoms, const double *positions, const int32_t *owners,
                      const int64_t *first, const int32_t *neighbours, int64_t *edges) {
    double *vectors = model->input[VECTORS];
    int64_t *rows = model->input[ROW_PTR], *senders = model->input[SENDER], *receivers = model->input[RECEIVER];
    const double most = model->cutoff * model->cutoff;
    int64_t count = 0;
    rows[0] = 0;
    for (int64_t i = 0; i < atoms; i++) {
        const double *here = positions + 3 * i;
        for (int64_t k = first[i]; k < first[i + 1]; k++) {
            int64_t j = neighbours[k];
            const double *there = positions + 3 * j;
            double x = there[0] - here[0], y = there[1] - here[1], z = there[2] - here[2], square = x * x + y * y + z * z;
            if (square >= most)
                continue;
            if (square < OVERLAP * OVERLAP)
                return ct_fail(model, CARTALG_OVERLAP, "atoms %lld and %lld are %.4f angstrom apart; check positions and units",
                            (long long)i, (long long)j, sqrt(square));
            vectors[3 * count] = x;
            vectors[3 * count + 1] = y;
            vectors[3 * count + 2] = z;
            receivers[count] = i;
            senders[count++] = j < atoms || !owners ? j : owners[j - atoms];
        }
        rows[i + 1] = count;
    }
    *edges = count;
    return CARTALG_OK;
}

/* The order by sender: a counting sort. */
static void sort_by_sender(cartalg_model *model, int64_t every, int64_t edges) {
    int64_t *columns = model->input[COL_PTR], *order = model->input[COL_EDGE];
    const int64_t *senders = model->input[SENDER];
    memset(columns, 0, (size_t)(every + 2) * sizeof *columns);
    for (int64_t e = 0; e < edges; e++)
        columns[senders[e] + 2]++;
    for (int64_t j = 0; j < every; j++)
        columns[j + 2] += columns[j + 1];
    for (int64_t e = 0; e < edges; e++)
        order[columns[senders[e] + 1]++] = e;
}

/* The order by type, and back: a counting sort. */
static void sort_by_type(cartalg_model *model, int64_t atoms, const int32_t *types) {
    int64_t *starts = model->starts, *order = model->input[ORDER], *back = model->input[BACK];
    memset(starts, 0, (size_t)(model->count_elements + 2) * sizeof *starts);
    for (int64_t n = 0; n < atoms; n++)
        starts[types[n] + 2]++;
    for (int64_t n = 2; n < model->count_elements + 2; n++)
        starts[n] += starts[n - 1];
    for (int64_t n = 0; n < atoms; n++) {
        back[n] = starts[types[n] + 1]++;
        order[back[n]] = n;
    }
}

int ct_build_edges(cartalg_model *model, int64_t atoms, int64_t ghosts, const double *positions, const int32_t *types,
                const int32_t *owners, const int64_t *first, const int32_t *neighbours, int64_t *edges) {
    int code = check_atoms(model, atoms, ghosts, positions, types, owners);
    if (!code)
        code = check_lists(model, atoms, atoms + ghosts, first, neighbours);
    if (code)
        return code;
    const int64_t every = owners ? atoms : atoms + ghosts; /* that kernels know */
    size_t most = (size_t)first[atoms] * sizeof(int64_t), rows = (size_t)(every + 2) * sizeof(int64_t);
    const size_t bytes[INPUTS] = {[VECTORS] = 3 * most, [SPECIES] = rows, [ROW_PTR] = rows, [SENDER] = most,
                                  [RECEIVER] = most, [COL_PTR] = rows, [COL_EDGE] = most, [ORDER] = rows, [BACK] = rows};
    for (int n = 1; n < INPUTS; n++) {
        void *before = model->input[n];
        if (!ct_room(model, n, bytes[n]))
            return ct_fail(model, CARTALG_MEMORY, "no memory for %lld neighbours", (long long)first[atoms]);
        if (before != model->input[n])
            model->atoms = -1; /* calls know the old address */
    }
    for (int64_t n = 0; n < every; n++)
        ((int64_t *)model->input[SPECIES])[n] = types[n];
    sort_by_type(model, atoms, types);
    code = fill_edges(model, atoms, positions, owners, first, neighbours, edges);
    if (!code)
        sort_by_sender(model, every, *edges);
    return code;
}
