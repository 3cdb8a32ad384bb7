/* texts.c: a hash table per column, with open addressing and triangular probing. Most texts are
 * short and lie in the list of texts; the bytes of the others lie one after the other.
 *
 * The hash is SipHash-1-3 (J.-P. Aumasson and D. J. Bernstein, "SipHash: a fast short-input PRF",
 * 2012), cut to 32 bits: with a random key, texts that were chosen to collide do not. */
#include "texts.h"
#include "../base/common.h"
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_SLOTS = 8,    /* of a column with a text */
    FIRST_BYTES = 64,   /* for its long texts */
    SMALL_TABLE = 4096, /* slots that stay in the cache */
    WORDS = 2,          /* of a short text */
    SHORT = 8 * WORDS,
};

typedef struct {
    uint32_t hash;
    uint32_t number; /* code + 1; 0: the slot is free */
} slot_t;

typedef struct {
    uint64_t words[WORDS]; /* a short text, then zeros; words[0] of a long one: where it begins */
    size_t size;
} text_t;

typedef struct {
    slot_t *slots;
    size_t n_slots; /* 0, or a power of two */
    text_t *texts;  /* by their codes; room for as many as may fill the slots */
    char *bytes;    /* of the long texts */
    size_t size, room;
    uint32_t count;
    uint32_t hash; /* of the text that waits */
    text_t text;   /* that waits, if it is short */
    const char *waits;
    bool closed;
} column_t;

struct fastbp_texts {
    uint64_t key0, key1;
    size_t used, max_bytes; /* of all columns */
    bool limited;           /* some could not take more */
    ptrdiff_t n_columns;
    column_t columns[];
};

/* ---- hash ---- */

static uint64_t load8(const void *p) {
    uint64_t x;
    memcpy(&x, p, sizeof x);
    return x;
}

/* Copies a short text, with zeros behind it. `ahead` bytes can be read from p on: if there are
 * enough, no branch depends on the size, which could not be foreseen. */
static void copy_short(text_t *to, const char *p, size_t size, size_t ahead) {
    static const unsigned char KEEP[2 * SHORT] = {255, 255, 255, 255, 255, 255, 255, 255,
                                                  255, 255, 255, 255, 255, 255, 255, 255};
    *to = (text_t){{0, 0}, size};
    if (ahead < SHORT) {
        if (size > 0) memcpy(to->words, p, size);
        return;
    }
    const unsigned char *keep = KEEP + SHORT - size;
    for (int i = 0; i < WORDS; i++) to->words[i] = load8(p + 8 * i) & load8(keep + 8 * i);
}

FBP_INLINE uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

FBP_INLINE void sip_round(uint64_t v[4]) {
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

FBP_INLINE void sip_word(uint64_t v[4], uint64_t word) {
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* The hash of the words of a short text, or else of those of all its bytes, the last eight of them
 * together, and of its size. */
static uint32_t hash_of(const fastbp_texts_t *texts, const text_t *text, const char *p) {
    const uint64_t key0 = texts->key0, key1 = texts->key1;
    uint64_t v[4] = {key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du,
                     key0 ^ 0x6c7967656e657261u, key1 ^ 0x7465646279746573u};
    if (text->size <= SHORT) {
        for (int i = 0; i < WORDS; i++) sip_word(v, text->words[i]);
    } else {
        for (size_t i = 0; i + 8 < text->size; i += 8) sip_word(v, load8(p + i));
        sip_word(v, load8(p + text->size - 8));
    }
    sip_word(v, text->size);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++) sip_round(v);
    const uint64_t hash = v[0] ^ v[1] ^ v[2] ^ v[3];
    return (uint32_t)(hash ^ hash >> 32);
}

/* ---- memory ---- */

/* Whether the columns may take so many bytes more. */
static bool may_take(fastbp_texts_t *texts, size_t more) {
    const bool may = more <= texts->max_bytes - texts->used;
    texts->limited = texts->limited || !may;
    return may;
}

/* How many texts a table takes. Where slots cost little, more of them are free, so that most texts
 * are in the first slot where they may be: that is foreseen, and 5 to 10 % of the time. */
static size_t most_of(size_t n_slots) { return n_slots / (n_slots > SMALL_TABLE ? 2 : 4); }

/* Makes a table of twice as many slots. */
static bool grow_slots(fastbp_texts_t *texts, column_t *c) {
    const size_t old = c->n_slots, old_most = most_of(old);
    size_t n, slots_size, texts_size;
    if (!fbp_size_mul(old, 2, &n)) return false;
    n = n > 0 ? n : FIRST_SLOTS;
    const size_t most = most_of(n);
    if (!fbp_size_mul(n, sizeof *c->slots, &slots_size)) return false;
    if (!fbp_size_mul(most, sizeof *c->texts, &texts_size)) return false;
    const size_t more = (n - old) * sizeof *c->slots + (most - old_most) * sizeof *c->texts;
    if (!may_take(texts, more)) return false;
    text_t *list = realloc(c->texts, texts_size);
    if (list == NULL) return false;
    c->texts = list;
    slot_t *slots = calloc(n, sizeof *slots);
    if (slots == NULL) return false;
    for (size_t i = 0; i < old; i++) {
        if (c->slots[i].number == 0) continue;
        size_t at = c->slots[i].hash;
        for (size_t step = 1; slots[at & (n - 1)].number != 0; step++) at += step;
        slots[at & (n - 1)] = c->slots[i];
    }
    free(c->slots);
    c->slots = slots;
    c->n_slots = n;
    texts->used += more;
    return true;
}

/* Makes room for more bytes of long texts. */
static bool grow_bytes(fastbp_texts_t *texts, column_t *c, size_t more) {
    size_t least, room = c->room > 0 ? c->room : FIRST_BYTES;
    if (!fbp_size_add(c->size, more, &least)) return false;
    if (least <= c->room) return true;
    while (room < least)
        if (!fbp_size_mul(room, 2, &room)) return false;
    if (!may_take(texts, room - c->room)) return false;
    char *bytes = realloc(c->bytes, room);
    if (bytes == NULL) return false;
    texts->used += room - c->room;
    c->bytes = bytes;
    c->room = room;
    return true;
}

fastbp_texts_t *fastbp_texts_new(ptrdiff_t n_columns, size_t max_bytes, uint64_t key0,
                                 uint64_t key1) {
    size_t size;
    if (n_columns < 0 || !fbp_size_mul((size_t)n_columns, sizeof(column_t), &size)) return NULL;
    if (!fbp_size_add(size, sizeof(fastbp_texts_t), &size)) return NULL;
    fastbp_texts_t *texts = calloc(1, size);
    if (texts == NULL) return NULL;
    texts->key0 = key0;
    texts->key1 = key1;
    texts->max_bytes = max_bytes;
    texts->n_columns = n_columns;
    return texts;
}

static bool is_column(const fastbp_texts_t *texts, ptrdiff_t column) {
    return 0 <= column && column < texts->n_columns;
}

void fastbp_texts_close(fastbp_texts_t *texts, ptrdiff_t column) {
    if (!is_column(texts, column)) return;
    column_t *c = &texts->columns[column];
    const size_t most = most_of(c->n_slots);
    texts->used -= c->n_slots * sizeof *c->slots + most * sizeof *c->texts + c->room;
    free(c->slots);
    free(c->texts);
    free(c->bytes);
    *c = (column_t){.closed = true};
}

void fastbp_texts_free(fastbp_texts_t *texts) {
    if (texts == NULL) return;
    for (ptrdiff_t j = 0; j < texts->n_columns; j++) fastbp_texts_close(texts, j);
    free(texts);
}

/* ---- texts ---- */

bool fastbp_texts_limited(const fastbp_texts_t *texts) { return texts->limited; }

int64_t fastbp_texts_count(const fastbp_texts_t *texts, ptrdiff_t column) {
    if (!is_column(texts, column) || texts->columns[column].closed) return -1;
    return (int64_t)texts->columns[column].count;
}

static const char *bytes_of(const column_t *c, const text_t *text) {
    return text->size <= SHORT ? (const char *)text->words : c->bytes + text->words[0];
}

const char *fastbp_texts_at(const fastbp_texts_t *texts, ptrdiff_t column, int64_t code,
                            size_t *size) {
    const column_t *c = &texts->columns[column];
    *size = c->texts[code].size;
    return bytes_of(c, &c->texts[code]);
}

/* Writes a text with one quote for each "" behind the long ones. */
static bool write_quotes(fastbp_texts_t *texts, column_t *c, const char *text, size_t *size) {
    if (!grow_bytes(texts, c, *size)) return false;
    char *to = c->bytes + c->size;
    for (size_t i = 0; i < *size; i++) {
        *to++ = text[i];
        if (text[i] == '"' && i + 1 < *size && text[i + 1] == '"') i++;
    }
    *size = (size_t)(to - (c->bytes + c->size));
    return true;
}

void fbp_texts_wait(fastbp_texts_t *texts, ptrdiff_t column, const char *text, size_t size,
                    size_t ahead, bool doubled) {
    column_t *c = &texts->columns[column];
    if (c->closed) return;
    if (doubled) {
        if (!write_quotes(texts, c, text, &size)) {
            fastbp_texts_close(texts, column);
            return;
        }
        text = c->bytes + c->size;
        ahead = size;
    }
    c->waits = text;
    if (size <= SHORT) {
        copy_short(&c->text, text, size, ahead);
    } else {
        c->text = (text_t){{0, 0}, size};
    }
    c->hash = hash_of(texts, &c->text, text);
    if (c->n_slots > 0) FBP_PREFETCH_L1(&c->slots[c->hash & (c->n_slots - 1)]);
}

/* Adds the text that waits. */
static bool add(fastbp_texts_t *texts, column_t *c) {
    const size_t size = c->text.size;
    if (c->count == FASTBP_TEXTS_MOST) return false;
    if (c->count == most_of(c->n_slots) && !grow_slots(texts, c)) return false;
    if (size > SHORT) {
        const bool there = c->room > 0 && c->waits == c->bytes + c->size; /* by write_quotes */
        if (!there && !grow_bytes(texts, c, size)) return false;
        if (!there) memcpy(c->bytes + c->size, c->waits, size);
        c->text.words[0] = c->size;
        c->size += size;
    }
    size_t at = c->hash;
    for (size_t step = 1; c->slots[at & (c->n_slots - 1)].number != 0; step++) at += step;
    c->texts[c->count++] = c->text;
    c->slots[at & (c->n_slots - 1)] = (slot_t){c->hash, c->count};
    return true;
}

static bool is_waiting(const column_t *c, const text_t *text) {
    if (text->size != c->text.size) return false;
    if (text->size > SHORT) return memcmp(bytes_of(c, text), c->waits, text->size) == 0;
    return ((text->words[0] ^ c->text.words[0]) | (text->words[1] ^ c->text.words[1])) == 0;
}

int64_t fbp_texts_settle(fastbp_texts_t *texts, ptrdiff_t column) {
    column_t *c = &texts->columns[column];
    if (c->closed) return -1;
    size_t at = c->hash, step = 1;
    while (c->n_slots > 0) {
        const slot_t slot = c->slots[at & (c->n_slots - 1)];
        if (slot.number == 0) break;
        if (slot.hash == c->hash && is_waiting(c, &c->texts[slot.number - 1]))
            return slot.number - 1;
        at += step++;
    }
    if (add(texts, c)) return c->count - 1;
    fastbp_texts_close(texts, column);
    return -1;
}

int64_t fastbp_texts_code(fastbp_texts_t *texts, ptrdiff_t column, const char *text, size_t size,
                          bool doubled) {
    fbp_texts_wait(texts, column, text, size, size, doubled);
    return fbp_texts_settle(texts, column);
}
