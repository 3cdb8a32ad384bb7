/* texts.h: the distinct texts of the columns of a table. Each text of a column has a code, 0, 1, …
 * in the order in which the texts came first. It knows nothing of files, and allocates what it
 * holds. One thread at a time. */
#ifndef FASTBP_TEXT_TEXTS_H
#define FASTBP_TEXT_TEXTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FASTBP_TEXTS_MOST INT32_MAX /* texts of a column */

typedef struct fastbp_texts fastbp_texts_t;

/* Columns without texts; NULL if there is no memory. Texts are found by a hash with a key of 128
 * bits. It must be random, so that nobody can write a file whose texts have the same hash.
 *
 * A column is closed, which means that it loses its texts and takes no more, if all columns would
 * need more than max_bytes bytes for a text of it, or more than the system has, or if it has
 * FASTBP_TEXTS_MOST texts. */
fastbp_texts_t *fastbp_texts_new(ptrdiff_t n_columns, size_t max_bytes, uint64_t key0,
                                 uint64_t key1);

void fastbp_texts_free(fastbp_texts_t *texts);

/* Closes a column, if there is such a one, and gives its memory back. */
void fastbp_texts_close(fastbp_texts_t *texts, ptrdiff_t column);

/* The code of a text of `size` bytes, which is added if it is new; -1 if the column is closed. If
 * it is `doubled`, each "" in it stands for one quote. */
int64_t fastbp_texts_code(fastbp_texts_t *texts, ptrdiff_t column, const char *text, size_t size,
                          bool doubled);

/* The number of texts of a column; -1 if it is closed or there is none. */
int64_t fastbp_texts_count(const fastbp_texts_t *texts, ptrdiff_t column);

/* Whether a column was closed because of max_bytes. */
bool fastbp_texts_limited(const fastbp_texts_t *texts);

/* The text with a code from 0 to the number of texts less 1, and its size. The pointer is valid
 * until the column gets another text. */
const char *fastbp_texts_at(const fastbp_texts_t *texts, ptrdiff_t column, int64_t code,
                            size_t *size);

/* The two halves of fastbp_texts_code. A column whose text waits fetches what it takes to find it;
 * the text must stay where it is until it is settled. Between the halves, other columns may be
 * used. `ahead` bytes, at least `size`, can be read. */
void fbp_texts_wait(fastbp_texts_t *texts, ptrdiff_t column, const char *text, size_t size,
                    size_t ahead, bool doubled);
int64_t fbp_texts_settle(fastbp_texts_t *texts, ptrdiff_t column);

#endif
