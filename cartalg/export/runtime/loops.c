/* Loops over numbers: what a model does beside its kernels. The codes are those of cartalg/export/steps.py. */
#include "internal.h"

#include <math.h>
#include <string.h>

enum { FILL, AFFINE, COMBINE, PRODUCT, ADD_PRODUCT, ADD, DIVIDE, POWER, LEAST, EXP, SQRT, RSQRT, SIGMOID, SILU, GATHER, SCATTER };

static double raised(double x, double power) {
    int whole = (int)power;
    if (whole != power || whole < 1 || whole > 16)
        return pow(x, power);
    double result = x;
    while (--whole)
        result *= x;
    return result;
}

#define REAL float
#define NAME line_float
#define FUNCTION(name) name##f
#include "lines.h"
#undef REAL
#undef NAME
#undef FUNCTION
#define REAL double
#define NAME line_double
#define FUNCTION(name) name
#include "lines.h"

static const int64_t BYTES[] = {sizeof(float), sizeof(double), sizeof(int64_t)};

static double number(const char *at, int type) {
    return type == REAL32 ? *(const float *)at : type == REAL64 ? *(const double *)at : (double)*(const int64_t *)at;
}

/* A line whose operands have several types, or are integers: one number after the other. */
static void line_mixed(const struct call *call, char *const at[OPERANDS], int64_t count, const int64_t stride[OPERANDS]) {
    for (int64_t n = 0; n < count; n++) {
        double value[OPERANDS] = {0};
        for (int k = 0; k < call->operands; k++) {
            int type = call->operand[k].type;
            value[k] = number(at[k] + n * stride[k] * BYTES[type], type);
        }
        line_double(call->code, 1, value, 1, value + 1, 1, value + 2, 1, call->p, call->q);
        int type = call->operand[0].type;
        char *out = at[0] + n * stride[0] * BYTES[type];
        if (type == REAL32)
            *(float *)out = (float)value[0];
        else if (type == REAL64)
            *(double *)out = value[0];
        else
            *(int64_t *)out = (int64_t)value[0];
    }
}

static void line(const struct call *call, char *const at[OPERANDS], int64_t count, const int64_t stride[OPERANDS]) {
    int type = call->operand[0].type;
    int same = type != INT64;
    for (int k = 1; k < call->operands; k++)
        same = same && call->operand[k].type == type;
    /* operands that a code does not have are never read for what they say */
    const char *a = call->operands > 1 ? at[1] : at[0], *b = call->operands > 2 ? at[2] : a;
    int64_t sa = call->operands > 1 ? stride[1] : stride[0], sb = call->operands > 2 ? stride[2] : sa;
    if (!same)
        line_mixed(call, at, count, stride);
    else if (type == REAL32)
        line_float(call->code, count, (float *)at[0], stride[0], (const float *)a, sa, (const float *)b, sb, call->p, call->q);
    else
        line_double(call->code, count, (double *)at[0], stride[0], (const double *)a, sa, (const double *)b, sb, call->p,
                    call->q);
}

/* out[n] = a[b[n]], or out[b[n]] += a[n], rows of call->size[1] numbers. */
static void run_rows(const struct call *call) {
    const struct operand *out = call->operand, *a = out + 1, *index = out + 2;
    int64_t width = call->size[1], bytes = BYTES[out->type];
    for (int64_t n = 0; n < call->size[0]; n++) {
        int64_t row = ((const int64_t *)index->at)[n * index->stride[0]];
        int64_t to = call->code == SCATTER ? row : n, from = call->code == SCATTER ? n : row;
        char *target = out->at + to * out->stride[0] * bytes;
        const char *source = a->at + from * a->stride[0] * bytes;
        if (call->code == GATHER)
            memcpy(target, source, (size_t)(width * bytes));
        else if (out->type == REAL32)
            line_float(ADD, width, (float *)target, 1, (const float *)source, 1, (const float *)source, 1, 1, 0);
        else
            line_double(ADD, width, (double *)target, 1, (const double *)source, 1, (const double *)source, 1, 1, 0);
    }
}

void ct_run_loop(const struct call *call) {
    if (call->code == GATHER || call->code == SCATTER) {
        run_rows(call);
        return;
    }
    int inner = call->axes - 1;
    int64_t at[AXES] = {0}, stride[OPERANDS], total = 1;
    for (int axis = 0; axis < inner; axis++)
        total *= call->size[axis];
    for (int k = 0; k < call->operands; k++)
        stride[k] = call->operand[k].stride[inner];
    for (int64_t done = 0; done < total; done++) {
        char *start[OPERANDS];
        for (int k = 0; k < call->operands; k++) {
            const struct operand *operand = call->operand + k;
            int64_t offset = 0;
            for (int axis = 0; axis < inner; axis++)
                offset += at[axis] * operand->stride[axis];
            start[k] = operand->at + offset * BYTES[operand->type];
        }
        line(call, start, call->size[inner], stride);
        for (int axis = inner - 1; axis >= 0 && ++at[axis] == call->size[axis]; axis--)
            at[axis] = 0;
    }
}
