/* number.c: the grammar of plain numbers, and their correct rounding.
 *
 *   number = [+-] (digits [. [digits]] | . digits) [e [+-] digits]
 *
 * A number is w · 10^q with an integer w. If w has at most 19 digits, the result is a product or
 * quotient of two doubles that are exact (W. D. Clinger, "How to read floating point numbers
 * accurately", 1990), or else a 128-bit product or quotient by 5^|q|, rounded once. strtod does the
 * rest. */
#include "number.h"
#include "../base/common.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_DIGITS = 19,   /* any 19 digits fit uint64_t */
    KEPT_DIGITS = 780, /* past 767 digits, the rest can only break a tie; one digit stands for it */
    MAX_MARKED = 128,  /* the most bytes of a number with thousands marks */
    MAX_EXPONENT = 100000,
};

static const char MINUS[] = "\xe2\x88\x92"; /* U+2212 */
enum { MINUS_SIZE = sizeof MINUS - 1 };

/* ---- digits to double ---- */

#if defined(__SIZEOF_INT128__)
__extension__ typedef unsigned __int128 wide_t;

/* 5^27 < 2^63 is the last one that fits. */
static const uint64_t FIVES[] = {
    1u,
    5u,
    25u,
    125u,
    625u,
    3125u,
    15625u,
    78125u,
    390625u,
    1953125u,
    9765625u,
    48828125u,
    244140625u,
    1220703125u,
    6103515625u,
    30517578125u,
    152587890625u,
    762939453125u,
    3814697265625u,
    19073486328125u,
    95367431640625u,
    476837158203125u,
    2384185791015625u,
    11920928955078125u,
    59604644775390625u,
    298023223876953125u,
    1490116119384765625u,
    7450580596923828125u,
};
enum { MAX_FIVE = sizeof FIVES / sizeof FIVES[0] - 1 };

static int leading_zeros(uint64_t x) { return __builtin_clzll(x); }

/* m · 2^e, rounded to even. `more`: some bits below m are not 0. The top bit of m is set, and the
 * result is a normal number. */
static double round_to_even(uint64_t m, bool more, int e) {
    uint64_t kept = m >> 11, rest = m & 0x7ff;
    bool up = rest > 0x400 || (rest == 0x400 && (more || (kept & 1)));
    uint64_t power = (uint64_t)(1023 + e + 11) << 52;
    double scale;
    memcpy(&scale, &power, sizeof scale);
    return (double)(kept + up) * scale;
}

/* w · 10^q, rounded once; w > 0, |q| <= MAX_FIVE. */
static double times_power(uint64_t w, int q) {
    int lz = leading_zeros(w);
    w <<= lz;
    uint64_t five = FIVES[q < 0 ? -q : q];
    int fz = leading_zeros(five);
    five <<= fz;
    if (q < 0) { /* w/five is in (½, 2): take 64 bits of it; the remainder says if there are more */
        int shift = w >= five ? 63 : 64;
        wide_t dividend = (wide_t)w << shift;
        uint64_t quotient = (uint64_t)(dividend / five);
        bool more = dividend != (wide_t)quotient * five;
        return round_to_even(quotient, more, q + fz - lz - shift);
    }
    wide_t product = (wide_t)w * five; /* in [2^126, 2^128) */
    int top = (product >> 127) == 0;
    product <<= top;
    return round_to_even((uint64_t)(product >> 64), (uint64_t)product != 0, q + 64 - lz - fz - top);
}
#endif

/* Powers of ten that are exact in double. */
static const double TENS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                              1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                              1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
enum { MAX_TEN = sizeof TENS / sizeof TENS[0] - 1 };

/* *out = w · 10^q, where w has all digits of the number; false if this method cannot do it. */
static bool from_word(uint64_t w, int q, double *out) {
    if (w == 0) {
        *out = 0.0;
        return true;
    }
#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD == 0
    if (w <= (uint64_t)1 << 53 && -MAX_TEN <= q && q <= MAX_TEN) {
        *out = q < 0 ? (double)w / TENS[-q] : (double)w * TENS[q];
        return true;
    }
#endif
#if defined(__SIZEOF_INT128__)
    if (-MAX_FIVE <= q && q <= MAX_FIVE) {
        *out = times_power(w, q);
        return true;
    }
#endif
    return false;
}

/* The digits p … end, possibly with a point, times 10^exponent. strtod gets an integer and an
 * exponent, which it reads the same way in every locale. */
static double from_digits(const char *p, const char *end, ptrdiff_t exponent) {
    char text[KEPT_DIGITS + 16];
    size_t n = 0;
    bool point = false, more = false;
    for (; p < end; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        if (n == 0 && *p == '0') {
            exponent -= point;
        } else if (n < KEPT_DIGITS) {
            text[n++] = *p;
            exponent -= point;
        } else {
            more = more || *p != '0';
            exponent += !point;
        }
    }
    if (more) { /* one digit for all that were left out */
        text[n++] = '1';
        exponent--;
    }
    exponent = fbp_max(-MAX_EXPONENT, fbp_min(exponent, MAX_EXPONENT));
    text[n++] = 'e';
    text[n++] = exponent < 0 ? '-' : '+';
    unsigned long size = (unsigned long)(exponent < 0 ? -exponent : exponent);
    for (unsigned long unit = MAX_EXPONENT; unit > 0; unit /= 10)
        text[n++] = (char)('0' + size / unit % 10);
    text[n] = '\0';
    return strtod(text, NULL);
}

/* ---- the grammar ---- */

static bool is_digit(char c) { return '0' <= c && c <= '9'; }

/* Reads an exponent from its e on, limits its size, and moves *at past it; false if it is none. */
static bool read_exponent(const char **at, const char *end, ptrdiff_t *exponent, bool *sign) {
    const char *p = *at + 1;
    *sign = p < end && (*p == '+' || *p == '-');
    bool minus = *sign && *p == '-';
    p += *sign;
    if (p == end || !is_digit(*p)) return false;
    ptrdiff_t e = 0;
    for (; p < end && is_digit(*p); p++)
        if (e < MAX_EXPONENT) e = 10 * e + (*p - '0');
    *exponent = minus ? -e : e;
    *at = p;
    return true;
}

#if defined(_WIN32) || (defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
enum { AT_ONCE = 8 };

/* Reads eight digits at once: by pairs, fours and eights, the first digit in the lowest byte. */
static bool eight_digits(const char *p, uint64_t *out) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    const uint64_t high = 0xf0f0f0f0f0f0f0f0u, threes = 0x3030303030303030u;
    const uint64_t carry = 0x0606060606060606u; /* moves : … ? out of the range of digits */
    if ((x & high) != threes || ((x + carry) & high) != threes) return false;
    x -= threes;
    x = (x * 10 + (x >> 8)) & 0x00ff00ff00ff00ffu;
    x = (x * 100 + (x >> 16)) & 0x0000ffff0000ffffu;
    *out = (x * 10000 + (x >> 32)) & 0xffffffffu;
    return true;
}
#else
enum { AT_ONCE = MAX_DIGITS + 1 }; /* eight_digits is never called */

static bool eight_digits(const char *p, uint64_t *out) {
    (void)p, (void)out;
    return false;
}
#endif

/* The digits read so far: w, and their number without leading zeros, up to one more than fit. */
typedef struct {
    uint64_t w;
    int n;
} digits_t;

/* Adds the digits from p on. Returns their end. */
static const char *read_digits(const char *p, const char *end, digits_t *digits) {
    uint64_t w = digits->w;
    int n = digits->n;
    if (n == 0)
        while (p < end && *p == '0') p++;
    for (uint64_t eight; n + AT_ONCE <= MAX_DIGITS && end - p >= AT_ONCE; p += AT_ONCE) {
        if (!eight_digits(p, &eight)) break;
        w = 100000000 * w + eight;
        n += AT_ONCE;
    }
    for (; p < end && is_digit(*p); p++) {
        if (n < MAX_DIGITS) w = 10 * w + (uint64_t)(*p - '0');
        if (n <= MAX_DIGITS) n++;
    }
    *digits = (digits_t){w, n};
    return p;
}

fastbp_cell_kind_t fbp_plain_number(const char *p, const char *end, double *value,
                                    const char **stop) {
    bool minus = *p == '-', signs = minus || *p == '+';
    p += signs;
    digits_t digits = {0, 0};
    const char *first = p, *point = NULL;
    p = read_digits(p, end, &digits);
    if (p < end && *p == '.') {
        point = p;
        p = read_digits(p + 1, end, &digits);
    }
    const char *last = p;
    if (last - first == (point != NULL)) return FASTBP_CELL_TEXT; /* no digit */
    ptrdiff_t exponent = 0;
    bool scaled = p < end && (*p | 0x20) == 'e', e_sign = false;
    if (scaled && !read_exponent(&p, end, &exponent, &e_sign)) return FASTBP_CELL_TEXT;
    *stop = p;

    ptrdiff_t q = exponent - (point != NULL ? (ptrdiff_t)(last - point - 1) : 0);
    bool whole_word = digits.n <= MAX_DIGITS && -MAX_EXPONENT < q && q < MAX_EXPONENT;
    if (!whole_word || !from_word(digits.w, (int)q, value))
        *value = from_digits(first, last, exponent);
    if (minus) *value = -*value;

    bool zero = first[0] == '0' && last - first > 1 && first[1] != '.';
    bool bare = !signs && point == NULL && !e_sign;
    if (zero) return bare && !scaled ? FASTBP_CELL_ZEROS : FASTBP_CELL_PADDED;
    if (!bare) return FASTBP_CELL_NUMBER;
    return scaled ? FASTBP_CELL_CODE : FASTBP_CELL_DIGITS;
}

/* The kind of the cell [p, end), which is not empty, by the grammar above. */
static fastbp_cell_kind_t plain_number(const char *p, const char *end, double *value) {
    const char *stop;
    fastbp_cell_kind_t kind = fbp_plain_number(p, end, value, &stop);
    if (kind != FASTBP_CELL_TEXT && stop == end) return kind;
    *value = NAN;
    return FASTBP_CELL_TEXT;
}

/* ---- marks ---- */

/* The bytes of the thousands mark at p, 0 if there is none. A blank also means the no-break and
 * thin spaces that programs write, an apostrophe also the curved one. */
static size_t mark_at(const char *p, const char *end, char thousands) {
    static const char *const BLANKS[] = {"\xc2\xa0", "\xe2\x80\xaf", "\xe2\x80\x89"};
    if (thousands == 0) return 0;
    if (*p == thousands) return 1;
    size_t left = (size_t)(end - p);
    if (thousands == '\'') return left >= 3 && memcmp(p, "\xe2\x80\x99", 3) == 0 ? 3 : 0;
    if (thousands != ' ') return 0;
    for (size_t i = 0; i < sizeof BLANKS / sizeof BLANKS[0]; i++) {
        size_t size = strlen(BLANKS[i]);
        if (left >= size && memcmp(p, BLANKS[i], size) == 0) return size;
    }
    return 0;
}

/* Writes the cell in the grammar above to out[MAX_MARKED] and returns its length. Returns 0 if the
 * marks are misplaced: they belong between groups of three digits before the decimal mark; the
 * first group may have one to three digits. */
static size_t without_marks(const char *p, const char *end, char decimal, char thousands,
                            char *out) {
    size_t n = 0, group = 0;
    bool grouped = false;
    if (end - p > MAX_MARKED) return 0;
    if (*p == '+' || *p == '-') out[n++] = *p++;
    for (; p < end; p++) {
        size_t mark = mark_at(p, end, thousands);
        if (mark > 0) {
            if (group == 0 || group > 3 || (grouped && group != 3)) return 0;
            grouped = true;
            group = 0;
            p += mark - 1;
        } else if (is_digit(*p)) {
            out[n++] = *p;
            group++;
        } else {
            break;
        }
    }
    if (grouped && group != 3) return 0;
    if (p < end && *p == decimal) {
        out[n++] = '.';
        p++;
    }
    for (; p < end; p++) {
        if (*p == '.') return 0;
        out[n++] = *p;
    }
    return n;
}

/* Reads a number after the minus sign of Unicode, U+2212, as after a hyphen. */
static fastbp_cell_kind_t after_minus(const char *p, const char *end, char decimal, char thousands,
                                      double *value, bool *marked) {
    char text[MAX_MARKED];
    size_t size = (size_t)(end - p) - MINUS_SIZE;
    if (size == 0 || size + 1 > MAX_MARKED || p[MINUS_SIZE] == '-' || p[MINUS_SIZE] == '+')
        return FASTBP_CELL_TEXT;
    text[0] = '-';
    memcpy(text + 1, p + MINUS_SIZE, size);
    return fbp_cell(text, text + 1 + size, decimal, thousands, value, marked);
}

/* ---- blanks ---- */

/* The bytes of the blank at p < end, 0 if there is none: those that str.strip of Python removes. */
static size_t blank_at(const char *p, const char *end) {
    const unsigned char c = (unsigned char)p[0];
    if (c < 0x80) return (0x09 <= c && c <= 0x0d) || (0x1c <= c && c <= 0x20);
    if (end - p < 2) return 0;
    const unsigned char d = (unsigned char)p[1];
    if (c == 0xc2) return d == 0x85 || d == 0xa0 ? 2 : 0; /* U+0085, U+00a0 */
    if (end - p < 3) return 0;
    const unsigned char e = (unsigned char)p[2];
    bool found = (c == 0xe1 && d == 0x9a && e == 0x80) ||              /* U+1680 */
                 (c == 0xe2 && d == 0x80 && 0x80 <= e && e <= 0x8a) || /* U+2000 … U+200a */
                 (c == 0xe2 && d == 0x80 && (e == 0xa8 || e == 0xa9 || e == 0xaf)) ||
                 (c == 0xe2 && d == 0x81 && e == 0x9f) || /* U+205f */
                 (c == 0xe3 && d == 0x80 && e == 0x80);   /* U+3000 */
    return found ? 3 : 0;
}

/* The bytes of the blank that ends at end > p, 0 if there is none. */
static size_t blank_before(const char *p, const char *end) {
    for (size_t size = 1; size <= 3 && size <= (size_t)(end - p); size++)
        if (blank_at(end - size, end) == size) return size;
    return 0;
}

fastbp_cell_kind_t fbp_cell(const char *p, const char *end, char decimal, char thousands,
                            double *value, bool *marked) {
    *value = NAN;
    *marked = false;
    for (size_t size; p < end && (size = blank_at(p, end)) > 0;) p += size;
    for (size_t size; p < end && (size = blank_before(p, end)) > 0;) end -= size;
    if (p == end) return FASTBP_CELL_EMPTY;
    if (end - p >= MINUS_SIZE && memcmp(p, MINUS, MINUS_SIZE) == 0)
        return after_minus(p, end, decimal, thousands, value, marked);
    if (decimal == '.' && thousands == 0) return plain_number(p, end, value);
    char text[MAX_MARKED];
    size_t n = without_marks(p, end, decimal, thousands, text);
    if (n == 0) return FASTBP_CELL_TEXT;
    fastbp_cell_kind_t kind = plain_number(text, text + n, value);
    *marked = kind != FASTBP_CELL_TEXT && (n != (size_t)(end - p) || memcmp(text, p, n) != 0);
    return *marked && kind == FASTBP_CELL_DIGITS ? FASTBP_CELL_NUMBER : kind;
}
