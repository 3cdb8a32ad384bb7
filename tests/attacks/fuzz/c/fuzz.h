/* fuzz.h: what the targets share: numbers and choices taken from the bytes of an input, memory of
 * exact size, checks, and the ISA and machine of a run. A target is a function target(input) in one
 * file, target_NAME.c. An input that has ended gives zeros, so every input is valid. */
#ifndef FUZZ_H
#define FUZZ_H

#include <fastbp.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *at, *end;
} input_t;

void target(input_t *in);

/* ---- numbers from bytes ---- */

unsigned take_byte(input_t *in);
int64_t take_word(input_t *in);         /* eight bytes, the lowest first */
int take_below(input_t *in, int limit); /* 0 … limit - 1, from one byte, or two if limit > 256 */
int take_in(input_t *in, int low, int high);
bool take_flag(input_t *in);
bool take_rarely(input_t *in); /* true for one byte in sixteen */

/* A code from 0 … count - 1; rarely any int. */
int take_code(input_t *in, int count);

/* A size from low … high; rarely one of those that overflow, or any number. */
ptrdiff_t take_size(input_t *in, int low, int high);

/* Any double: small integers, fractions, special values, any bits. */
double take_number(input_t *in);
double take_tame(input_t *in);     /* a multiple of 1/16 in [-8, 8) */
double take_fraction(input_t *in); /* in [0, 1); rarely any double */

/* Random bits that depend only on the state, by xorshift64*. */
uint64_t next_random(uint64_t *state);

/* ---- memory ---- */

/* `count` zeroed elements, in a block that ends after the last one, so that AddressSanitizer sees
 * an access beyond it. The blocks of a run are freed at its end. */
void *exact(size_t count, size_t size);

/* The same for bytes on a cache line; their number is a multiple of its size. */
void *exact_on_line(size_t bytes);

/* Frees a block before the end of the run. */
void drop(void *block);

/* Elements of a dtype. fill_* takes up to 256 bytes of the input and then repeats them. */
size_t size_of(fastbp_dtype_t dtype);
double get(fastbp_dtype_t dtype, const void *array, size_t i);
void put(fastbp_dtype_t dtype, void *array, size_t i, double value);
void fill_any(input_t *in, fastbp_dtype_t dtype, void *array, size_t n);
void fill_tame(input_t *in, fastbp_dtype_t dtype, void *array, size_t n);

/* Whether the elements have the same bits; all NaN count as equal. */
bool same_bits(fastbp_dtype_t dtype, const void *x, const void *y, size_t n);
bool all_finite(fastbp_dtype_t dtype, const void *x, size_t n);

/* ---- checks ---- */

/* Ends the program with a message unless the condition holds. */
#define REQUIRE(holds, ...)                                                                        \
    do {                                                                                           \
        if (!(holds)) fault(__FILE__, __LINE__, #holds, __VA_ARGS__);                              \
    } while (0)
_Noreturn void fault(const char *file, int line, const char *text, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Whether a call succeeded; ends the program if the status is none of the listed ones. */
bool succeeded(fastbp_status_t status);

/* ---- transcripts ---- */

/* What the calls of a run returned and wrote. */
typedef struct {
    int n;
    uint64_t hash[1 << 10];
    const char *call[1 << 10];
} transcript_t;

/* Notes a status, and the elements of a result; all NaN are alike. */
bool note_status(transcript_t *to, const char *call, fastbp_status_t status);
void note_values(transcript_t *to, const char *call, fastbp_dtype_t dtype, const void *x, size_t n);
void require_same(const transcript_t *x, const transcript_t *y, const char *what);

/* ---- the engine ---- */

/* Chooses an ISA, and the default machine with one thread. */
void take_isa(input_t *in);

/* From now on the engine is tuned for a machine with tiny caches, on which every bit of work is
 * worth a thread. Results must have the same bits as on the machine of take_isa. */
void use_tiny_machine(unsigned variant);
void use_own_machine(void);

#endif
