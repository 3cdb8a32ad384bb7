# The reader of .csv files; part of _core.pyx.

cdef int64_t *_int64s(object array, size_t n) except? NULL:
    """Address of a dense, writable buffer of n int64."""
    cdef Matrix found = _locate(array, 0, writable=True, foreign=True)
    if found.element != FASTBP_X_I64 or <size_t>(found.rows * found.cols) != n or (
            found.rows > 1 and found.ld != found.cols):
        raise ValueError(f"expected a dense buffer of {n} int64")
    return <int64_t *>found.at


cdef fastbp_csv_block_t _block(object block, size_t start, size_t stop, bint last) except *:
    """The bytes start … stop of a bytearray."""
    cdef Matrix found = _locate(block, b"B")
    if start > stop or stop > <size_t>found.cols:
        raise ValueError("the block is shorter than that")
    return fastbp_csv_block_t(<const char *>found.at + start, stop - start, last)


CELL_KINDS = {
    "empty": FASTBP_CELL_EMPTY, "digits": FASTBP_CELL_DIGITS, "number": FASTBP_CELL_NUMBER,
    "code": FASTBP_CELL_CODE, "zeros": FASTBP_CELL_ZEROS, "padded": FASTBP_CELL_PADDED,
    "text": FASTBP_CELL_TEXT,
}
MAX_CELL = FASTBP_CSV_MAX_CELL
_FAULTS = {
    FASTBP_CSV_OK: "", FASTBP_CSV_RAGGED: "ragged", FASTBP_CSV_QUOTE: "quote",
    FASTBP_CSV_OPEN: "open", FASTBP_CSV_LONG: "long",
}


cdef class CsvPass:
    """One pass over a .csv file, block by block; every method hands on the bytes start … stop.

    Methods that read records return how many, the bytes they took, and "" or what the next record
    has wrong: "ragged", "quote", "open" or "long".
    """

    cdef fastbp_csv_t csv

    def __cinit__(self, str delimiter, str decimal, str thousands, long n_columns=0):
        self.csv.delimiter = <char>ord(delimiter)
        self.csv.decimal = <char>ord(decimal)
        self.csv.thousands = <char>ord(thousands) if thousands else 0
        self.csv.n_columns = n_columns
        self.csv.line = 1

    @property
    def line(self):
        """Where the next record begins, or the faulty one, from 1."""
        return self.csv.line

    @property
    def n_cells(self):
        """Cells of the record read last, or of the ragged one."""
        return self.csv.n_cells

    @property
    def n_marked(self):
        """Cells with a decimal comma or thousands marks."""
        return self.csv.n_marked

    def width(self, block, size_t start, size_t stop, bint last):
        """(number of cells of the first record, fault); 0 where it is not whole in the block."""
        cdef fastbp_csv_block_t bytes = _block(block, start, stop, last)
        cdef long found = 0
        cdef fastbp_csv_status_t status
        with nogil:
            status = fastbp_csv_width(&self.csv, &bytes, &found)
        return found, _FAULTS[status]

    def numbers(self, block, size_t start, size_t stop, bint last, values, lines, counts, first,
                kinds):
        """Read records into rows of values (rows, columns) and lines (rows,), as many as fit."""
        cdef fastbp_csv_block_t bytes = _block(block, start, stop, last)
        cdef Matrix rows = _locate(values, b"d", writable=True)
        cdef size_t n_counts = self.csv.n_columns * FASTBP_CELL_KINDS
        cdef fastbp_csv_columns_t columns
        cdef int64_t *c_lines = _int64s(lines, rows.rows)
        cdef fastbp_csv_status_t status
        cdef long n_rows = 0
        cdef size_t used = 0
        if rows.cols != self.csv.n_columns or (rows.rows > 1 and rows.ld != rows.cols):
            raise ValueError(f"expected dense rows of {self.csv.n_columns}")
        columns.counts = _int64s(counts, n_counts)
        columns.first = _int64s(first, n_counts)
        columns.kinds = <unsigned char *>_vector(kinds, b"B", self.csv.n_columns, True)
        with nogil:
            status = fastbp_csv_numbers(&self.csv, &bytes, rows.rows, &columns,
                                        <double *>rows.at, c_lines, &n_rows, &used)
        return n_rows, used, _FAULTS[status]

    def texts(self, block, size_t start, size_t stop, bint last, tuple chosen, list known, codes):
        """Read the texts of the columns `chosen`, in ascending order, as many as codes has rows.

        known: for each of them {bytes of a text: its code}, which grows; codes (rows, chosen)
        int64.
        """
        cdef fastbp_csv_block_t bytes = _block(block, start, stop, last)
        cdef long n = <long>len(chosen), n_rows = 0, i, c, room = len(codes)
        cdef int64_t *c_codes = _int64s(codes, room * n)
        cdef long *columns = <long *>malloc((n + 1) * sizeof(long))
        cdef fastbp_csv_span_t *spans = <fastbp_csv_span_t *>malloc(
            (room * n + 1) * sizeof(fastbp_csv_span_t))
        cdef fastbp_csv_span_t *span = spans
        cdef fastbp_csv_status_t status
        cdef size_t used = 0
        cdef dict texts
        try:
            if columns == NULL or spans == NULL:
                raise MemoryError()
            for c in range(n):
                columns[c] = chosen[c]
            with nogil:
                status = fastbp_csv_spans(&self.csv, &bytes, room, columns, n, spans, &n_rows,
                                          &used)
            for i in range(n_rows):
                for c in range(n):
                    texts = <dict>known[c]
                    text = (<const char *>bytes.bytes)[span.at:span.at + span.size]
                    if span.doubled:
                        text = text.replace(b'""', b'"')
                    c_codes[i * n + c] = texts.setdefault(text, len(texts))
                    span += 1
            return n_rows, used, _FAULTS[status]
        finally:
            free(columns)
            free(spans)
