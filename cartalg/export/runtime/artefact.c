/* The file of a model: read, checked, and its machine code put where it can run. Its layout: cartalg/export/artefact.py. */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#if !defined(__x86_64__) || !defined(__linux__)
#error "exported models hold machine code for Linux on x86-64"
#endif

enum { HEADER = 64, FORMAT = 1, PARTS = 10 };
static const char MAGIC[] = "CARTALG\n";

int ct_fail(cartalg_model *model, int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(model->message, sizeof model->message, format, arguments);
    va_end(arguments);
    return code;
}

/* SHA-256, as in FIPS 180-4. */

static uint32_t turned(uint32_t x, int n) { return x >> n | x << (32 - n); }

static void sha256_block(uint32_t state[8], const unsigned char *bytes) {
    static const uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64];
    for (int n = 0; n < 16; n++)
        w[n] = (uint32_t)bytes[4 * n] << 24 | (uint32_t)bytes[4 * n + 1] << 16 | (uint32_t)bytes[4 * n + 2] << 8 |
               bytes[4 * n + 3];
    for (int n = 16; n < 64; n++) {
        uint32_t x = w[n - 15], y = w[n - 2];
        w[n] = w[n - 16] + w[n - 7] + (turned(x, 7) ^ turned(x, 18) ^ x >> 3) + (turned(y, 17) ^ turned(y, 19) ^ y >> 10);
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
/* a round leaves its results in d and h: the next one has the letters moved on by one */
#define ROUND(a, b, c, d, e, f, g, h, n)                                                                               \
    h += (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + (g ^ (e & (f ^ g))) + constants[n] + w[n];                   \
    d += h;                                                                                                            \
    h += (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) | (c & (a | b)));
    for (int n = 0; n < 64; n += 8) {
        ROUND(a, b, c, d, e, f, g, h, n)
        ROUND(h, a, b, c, d, e, f, g, n + 1)
        ROUND(g, h, a, b, c, d, e, f, n + 2)
        ROUND(f, g, h, a, b, c, d, e, n + 3)
        ROUND(e, f, g, h, a, b, c, d, n + 4)
        ROUND(d, e, f, g, h, a, b, c, n + 5)
        ROUND(c, d, e, f, g, h, a, b, n + 6)
        ROUND(b, c, d, e, f, g, h, a, n + 7)
    }
#undef ROUND
    const uint32_t found[8] = {a, b, c, d, e, f, g, h};
    for (int n = 0; n < 8; n++)
        state[n] += found[n];
}

static void sha256(const unsigned char *bytes, size_t size, unsigned char digest[32]) {
    uint32_t state[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    unsigned char last[128] = {0};
    size_t whole = size / 64 * 64, rest = size - whole, length = rest < 56 ? 64 : 128;
    for (size_t at = 0; at < whole; at += 64)
        sha256_block(state, bytes + at);
    memcpy(last, bytes + whole, rest);
    last[rest] = 0x80;
    for (int n = 0; n < 8; n++)
        last[length - 1 - n] = (unsigned char)((uint64_t)size * 8 >> 8 * n);
    for (size_t at = 0; at < length; at += 64)
        sha256_block(state, last + at);
    for (int n = 0; n < 32; n++)
        digest[n] = (unsigned char)(state[n / 4] >> (24 - 8 * (n % 4)));
}

/* The file. */

static int read_whole(cartalg_model *model, const char *name) {
    FILE *file = fopen(name, "rb");
    if (!file)
        return ct_fail(model, CARTALG_FILE, "%s: %s", name, strerror(errno));
    struct stat about;
    if (fstat(fileno(file), &about) || !S_ISREG(about.st_mode)) {
        fclose(file);
        return ct_fail(model, CARTALG_FILE, "%s: it is no file", name);
    }
    model->file_size = (size_t)about.st_size;
    model->file = aligned_alloc(64, (model->file_size + 64) / 64 * 64 + 64);
    size_t got = model->file ? fread(model->file, 1, model->file_size, file) : 0;
    fclose(file);
    if (!model->file)
        return ct_fail(model, CARTALG_MEMORY, "%s: no memory for its %zu bytes", name, model->file_size);
    if (got != model->file_size)
        return ct_fail(model, CARTALG_FILE, "%s: only %zu of %zu bytes could be read", name, got, model->file_size);
    return CARTALG_OK;
}

int ct_read_artefact(cartalg_model *model, const char *name) {
    struct part *parts[PARTS] = {&model->about,  &model->numbers, &model->elements, &model->blocks,    &model->calls,
                                 &model->kernels, &model->levels,  &model->tensors,  &model->constants, &model->code};
    int code = read_whole(model, name);
    if (code)
        return code;
    const int64_t *head = (const int64_t *)model->file;
    if (model->file_size < HEADER + 16 * PARTS || memcmp(model->file, MAGIC, 8))
        return ct_fail(model, CARTALG_FORMAT, "%s: no exported model; make one with `cartalg export`", name);
    if (head[1] != FORMAT)
        return ct_fail(model, CARTALG_FORMAT, "%s: format %lld, this library reads %d; export the model again", name,
                    (long long)head[1], FORMAT);
    unsigned char digest[32];
    sha256((unsigned char *)model->file + HEADER, model->file_size - HEADER, digest);
    if (head[2] != (int64_t)model->file_size || memcmp(digest, model->file + 24, 32))
        return ct_fail(model, CARTALG_DAMAGED, "%s: cut or changed since it was written; copy or export it again", name);
    for (int n = 0; n < PARTS; n++) { /* within the file, as the hash says */
        parts[n]->at = model->file + head[8 + 2 * n];
        parts[n]->size = (size_t)head[9 + 2 * n];
    }
    const int64_t *numbers = (const int64_t *)model->numbers.at;
    model->count_elements = numbers[0];
    memcpy(&model->cutoff, numbers + 1, sizeof(double));
    model->count_calls = numbers[2];
    model->count_blocks = numbers[3] + 1;
    model->count_kernels = numbers[4];
    model->count_levels = numbers[5];
    model->count_tensors = numbers[6];
    model->energies = numbers + 7;
    model->gradient = numbers + 8 + COEFFICIENTS;
    return CARTALG_OK;
}

/* The highest level of x86-64 that the processor has: 4, 3, or 0 for less. */
static int processor_level(void) {
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
          __builtin_cpu_supports("bmi2")))
        return 0;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
               ? 4
               : 3;
}

int ct_load_code(cartalg_model *model) {
    const int64_t *levels = (const int64_t *)model->levels.at;
    int here = processor_level(), best = -1;
    for (int n = 0; n < model->count_levels; n++)
        if (levels[n] <= here && (best < 0 || levels[n] > levels[best]))
            best = n;
    if (best < 0)
        return ct_fail(model, CARTALG_PROCESSOR, "the file holds code for x86-64-v%lld, and this processor has not that; "
                    "export with --level x86-64-v3 as well", (long long)levels[0]);
    model->kernel = (const int64_t *)model->kernels.at + 3 * model->count_kernels * best;
    model->machine_size = model->code.size + 1;
    model->machine = mmap(NULL, model->machine_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (model->machine == MAP_FAILED) {
        model->machine = NULL;
        return ct_fail(model, CARTALG_MEMORY, "no memory for %zu bytes of code", model->code.size);
    }
    memcpy(model->machine, model->code.at, model->code.size);
    if (mprotect(model->machine, model->machine_size, PROT_READ | PROT_EXEC))
        return ct_fail(model, CARTALG_MEMORY, "this system does not let a process run code that it has read");
    return CARTALG_OK;
}

void ct_unload_code(cartalg_model *model) {
    if (model->machine)
        munmap(model->machine, model->machine_size);
    model->machine = NULL;
}
