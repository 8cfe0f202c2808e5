/* One line of a loop's box, in numbers of type REAL; included once for each type. p, q are given as doubles. */
static void NAME(int code, int64_t count, REAL *o, int64_t so, const REAL *a, int64_t sa, const REAL *b, int64_t sb,
                 double given_p, double given_q) {
    const REAL p = (REAL)given_p, q = (REAL)given_q;
#define EACH(EXPRESSION)                                                                                               \
    if (so == 1 && sa == 1 && sb == 1)                                                                                 \
        for (int64_t n = 0; n < count; n++) {                                                                          \
            const REAL x = a[n], y = b[n], z = o[n];                                                                   \
            o[n] = EXPRESSION;                                                                                         \
            (void)x, (void)y, (void)z;                                                                                 \
        }                                                                                                              \
    else                                                                                                               \
        for (int64_t n = 0; n < count; n++) {                                                                          \
            const REAL x = a[n * sa], y = b[n * sb], z = o[n * so];                                                    \
            o[n * so] = EXPRESSION;                                                                                    \
            (void)x, (void)y, (void)z;                                                                                 \
        }                                                                                                              \
    break;
    switch (code) {
    case FILL: EACH(p)
    case AFFINE: EACH(p * x + q)
    case COMBINE: EACH(p * x + q * y)
    case PRODUCT: EACH(p * x * y)
    case ADD_PRODUCT: EACH(z + p * x * y)
    case ADD: EACH(z + p * x)
    case DIVIDE: EACH(x / y)
    case POWER: EACH((REAL)raised((double)x, given_p))
    case LEAST: EACH(x < p ? x : p)
    case EXP: EACH(FUNCTION(exp)(x))
    case SQRT: EACH(FUNCTION(sqrt)(x))
    case RSQRT: EACH(1 / FUNCTION(sqrt)(x))
    case SIGMOID: EACH(1 / (1 + FUNCTION(exp)(-x)))
    case SILU: EACH(x / (1 + FUNCTION(exp)(-x)))
    }
#undef EACH
}
