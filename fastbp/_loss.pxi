# A loss in Python, called from the engine; part of _core.pyx.

from libc.string cimport memcpy


cdef fastbp_status_t _call_loss(void *context, long rows, const void *a, long lda,
                                const void *const *targets, double *row_loss, void *slope,
                                long ld_slope) noexcept with gil:
    """fastbp_loss_fn of a Net: its `function` on copies of the rows; an exception is kept."""
    cdef Net net = <Net>context
    try:
        _fill_loss(net, rows, a, lda, targets, row_loss, slope, ld_slope)
        return FASTBP_OK
    except BaseException as error:
        net.error = error
        return FASTBP_ERR_CALL


cdef int _fill_loss(Net net, long rows, const void *a, long lda, const void *const *targets,
                    double *row_loss, void *slope, long ld_slope) except -1:
    cdef size_t size = 8 if net.code == b"d" else 4
    cdef size_t n_out = net.widths[-1], n_targets = net.n_targets, i
    outputs = bytearray(rows * n_out * size)
    wanted = bytearray(rows * n_targets * size)
    cdef char *to_a = outputs
    cdef char *to_y = wanted
    cdef const char *g
    for i in range(<size_t>rows):
        memcpy(to_a + i * n_out * size, <const char *>a + i * lda * size, n_out * size)
        memcpy(to_y + i * n_targets * size, targets[i], n_targets * size)
    values, slopes = net.function(outputs, wanted)
    memcpy(row_loss, _vector(values, b"d", rows), rows * sizeof(double))
    if slope != NULL:
        g = <const char *>_vector(slopes, net.code, rows * n_out)
        for i in range(<size_t>rows):
            memcpy(<char *>slope + i * ld_slope * size, g + i * n_out * size, n_out * size)
    return 0


cdef int _check_call(Net net, fastbp_status_t status) except -1:
    """_check, and the exception of a loss in Python."""
    if status == FASTBP_ERR_CALL:
        error, net.error = net.error, None
        raise error
    return _check(status)
