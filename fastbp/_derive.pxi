# Backward in pieces, and derivatives beyond the gradient; part of _core.pyx. Each function works on
# a Pass whose forward has been made; theta is the one it was made with.


# ---- backward in pieces ------------------------------------------------------------------------


def backward_output(Pass p, theta, y, weights):
    """delta^L for the targets y; returns J."""
    cdef void *params = _vector(theta, p.net.code, p.net.n_params)
    cdef fastbp_data_t data = p.net.data(None, y, weights, p.rows)
    cdef double cost = 0
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_backward_output(p.at, params, &data, &cost)
    _check_call(p.net, status)
    p.y = y
    return cost


def backward_inject(Pass p, delta, weights):
    """delta^L as given."""
    cdef Matrix source = _rows_of(p, delta, p.net.widths[-1])
    cdef void *factors = NULL
    if weights is not None:
        factors = _vector(weights, p.net.code, p.rows)
    _check(fastbp_backward_inject(p.at, source.at, source.ld, factors))


def backward_layer(Pass p, theta, int layer):
    """delta^l of layer l = L - 1 ... 1 from the delta above it."""
    cdef void *params = _vector(theta, p.net.code, p.net.n_params)
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_backward_layer(p.at, params, layer)
    _check(status)


def backward_gradient(Pass p, theta, grad):
    """grad from the deltas in place."""
    cdef void *params = _vector(theta, p.net.code, p.net.n_params)
    cdef void *slope = _vector(grad, p.net.code, p.net.n_params, True)
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_backward_gradient(p.at, params, slope)
    _check(status)


def pull_back(Pass p, int layer, g):
    """g from dJ_i/da^l to dJ_i/dz^l, in place."""
    cdef Matrix at
    if not 1 <= layer < len(p.net.widths):
        raise IndexError(f"there is no layer {layer}")
    at = _rows_of(p, g, p.net.widths[layer], True)
    _check(fastbp_pull_back(p.at, layer, at.at, at.ld))


cdef Matrix _rows_of(Pass p, array, long cols, bint writable=False) except *:
    """Where a matrix with the rows of the last forward lies."""
    cdef Matrix found = _locate(array, p.net.code, writable)
    if found.rows != p.rows or found.cols != cols:
        raise ValueError("the array does not have the shape of this batch")
    return found


# ---- first derivatives --------------------------------------------------------------------------


def vjp(Pass p, theta, v, out):
    """v da^L/dx, row by row, into out (rows, n_0)."""
    cdef void *params = _vector(theta, p.net.code, p.net.n_params)
    cdef Matrix source = _rows_of(p, v, p.net.widths[-1])
    cdef void *to = _vector(out, p.net.code, p.rows * <size_t>p.net.widths[0], True)
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_vjp(p.at, params, source.at, source.ld, to)
    _check(status)


def jacobian(Pass p, theta, out):
    """da^L/dx into out, dense, (rows, n_L n_0)."""
    cdef void *params = _vector(theta, p.net.code, p.net.n_params)
    cdef size_t each = <size_t>p.net.widths[-1] * <size_t>p.net.widths[0]
    cdef void *to = _vector(out, p.net.code, p.rows * each, True)
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_jacobian(p.at, params, to)
    _check(status)


def sample_gradients(Pass p, out):
    """dJ_i/dtheta of the last backward into out (rows, n_params)."""
    cdef void *to = _vector(out, p.net.code, p.rows * p.net.n_params, True)
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_sample_gradients(p.at, to)
    _check(status)


def gradient_norms(Pass p, out):
    """Norms of dJ_i/d(W^l, b^l) of the last backward into out (rows, L), float64."""
    cdef void *to = _vector(out, b"d", p.rows * <size_t>(len(p.net.widths) - 1), True)
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_gradient_norms(p.at, <double *>to)
    _check(status)


def relevance(Pass p, theta, list outs):
    """a^l * dJ_i/da^l of the last backward, l = 0 ... L, into outs (rows, n_l)."""
    cdef void *params = _vector(theta, p.net.code, p.net.n_params)
    cdef size_t n = len(p.net.widths)
    cdef void **to = <void **>malloc(n * sizeof(void *))
    cdef fastbp_status_t status
    try:
        if to == NULL:
            raise MemoryError()
        for i in range(n):
            to[i] = _vector(outs[i], p.net.code, p.rows * <size_t>p.net.widths[i], True)
        with nogil:
            status = fastbp_relevance(p.at, params, to)
        _check_call(p.net, status)
    finally:
        free(to)


# ---- along a direction --------------------------------------------------------------------------


def jvp(Pass p, theta, dx, dtheta, out):
    """da^L along dx (rows, n_0) and dtheta, either of which may be None, into out (rows, n_L)."""
    cdef void *params = _vector(theta, p.net.code, p.net.n_params)
    cdef void *to = _vector(out, p.net.code, p.rows * <size_t>p.net.widths[-1], True)
    cdef void *direction = NULL
    cdef Matrix moved
    cdef fastbp_status_t status
    moved.at = NULL
    moved.ld = 0
    if dx is not None:
        moved = _rows_of(p, dx, p.net.widths[0])
    if dtheta is not None:
        direction = _vector(dtheta, p.net.code, p.net.n_params)
    with nogil:
        status = fastbp_jvp(p.at, params, moved.at, moved.ld, direction, to)
    _check(status)


def hvp(Pass p, theta, v, out):
    """The Hessian of J of the last backward times v into out, both like theta."""
    cdef void *params = _vector(theta, p.net.code, p.net.n_params)
    cdef void *direction = _vector(v, p.net.code, p.net.n_params)
    cdef void *to = _vector(out, p.net.code, p.net.n_params, True)
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_hvp(p.at, params, direction, to)
    _check(status)
