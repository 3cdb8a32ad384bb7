# cython: embedsignature=True
"""Binding of the C engine: pointer extraction, one call without the GIL, status to exception.

No arithmetic and no policy live here. Arrays come in by the buffer protocol, so that the binary is
not tied to a NumPy ABI; `_validation` has made them right before, and `_locate` refuses what would
not be safe to hand to C.
"""

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

from ._sparse import SparseRows


# ---- buffers ----------------------------------------------------------------------------------


cdef struct Matrix:
    void *at
    long rows, cols, ld  # ld in elements
    fastbp_element_t element


# what X may hold besides the network's dtype, by kind and bytes of an element
_ELEMENTS = {
    "i1": FASTBP_X_I8, "i2": FASTBP_X_I16, "i4": FASTBP_X_I32, "i8": FASTBP_X_I64,
    "u1": FASTBP_X_U8, "u2": FASTBP_X_U16, "u4": FASTBP_X_U32, "u8": FASTBP_X_U64,
    "f2": FASTBP_X_F16, "f4": FASTBP_X_F32, "f8": FASTBP_X_F64,
}
_KINDS = dict.fromkeys("bhilq", "i") | dict.fromkeys("?BHILQ", "u") | dict.fromkeys("efd", "f")


cdef fastbp_element_t _element(str kind, Py_ssize_t size) except *:
    """What a buffer holds whose format has this letter."""
    try:
        return _ELEMENTS[f"{_KINDS[kind]}{size}"]
    except KeyError:
        raise TypeError(f"a buffer of format {kind!r} is not one that the engine reads") from None


cdef Matrix _locate(object array, char code, bint writable=False, bint foreign=False) except *:
    """Where a 1-D or 2-D buffer of format `code` lies, or, if `foreign`, of any that is read.

    A vector counts as one row. The buffer is let go at once: callers keep `array` alive for the
    length of the C call.
    """
    cdef Py_buffer view
    cdef Matrix found
    cdef int flags = PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if writable else 0)
    cdef bint own
    PyObject_GetBuffer(array, &view, flags)
    try:
        own = view.format != NULL and view.format[0] == code
        if view.ndim not in (1, 2) or view.format == NULL or not (own or foreign):
            raise TypeError(f"expected a 1-D or 2-D buffer of format {chr(code)!r}")
        found.element = FASTBP_X_OWN if own else _element(chr(view.format[0]), view.itemsize)
        last = view.ndim - 1
        if view.shape[last] > 1 and view.strides[last] != view.itemsize:
            raise ValueError("the last axis must be contiguous")
        if view.ndim == 2 and view.strides[0] % view.itemsize != 0:
            raise ValueError("rows must be a whole number of elements apart")
        found.at = view.buf
        found.rows = view.shape[0] if view.ndim == 2 else 1
        found.cols = view.shape[last]
        found.ld = view.strides[0] // view.itemsize if view.ndim == 2 else found.cols
        return found
    finally:
        PyBuffer_Release(&view)


cdef void *_vector(object array, char code, size_t n, bint writable=False) except? NULL:
    """Address of a dense buffer of n elements, 1-D or 2-D."""
    cdef Matrix found = _locate(array, code, writable)
    if <size_t>(found.rows * found.cols) != n or (found.rows > 1 and found.ld != found.cols):
        raise ValueError(f"expected a dense buffer of {n} elements")
    return found.at


cdef int _check(fastbp_status_t status) except -1:
    if status == FASTBP_OK:
        return 0
    if status == FASTBP_ERR_MEMORY:
        raise MemoryError("not enough memory for the buffers of this network and batch")
    if status == FASTBP_ERR_STATE:
        raise RuntimeError("called out of order")
    raise ValueError("the engine refused an argument")


# ---- ISA ----------------------------------------------------------------------------------------


def available_isas():
    """Names of the ISAs that were built and that this machine supports, slowest first."""
    cdef int i, n = 0
    while fastbp_isa_available(n) != NULL:
        n += 1
    return [fastbp_isa_available(i).decode() for i in range(n)]


def select_isa(str name):
    """Choose an ISA for all networks made from now on; ValueError if it is not available."""
    if fastbp_isa_select(name.encode()) != FASTBP_OK:
        raise ValueError(f"ISA {name!r} is not available here: {', '.join(available_isas())}")


def isa():
    """Name of the chosen ISA."""
    return fastbp_isa().decode()


def machine():
    """(processor name, L1d bytes, L2 bytes, L3 bytes)."""
    cdef fastbp_machine_t m = fastbp_machine()
    return m.cpu.decode(errors="replace"), m.l1d, m.l2, m.l3


# ---- threads ------------------------------------------------------------------------------------


def set_num_threads(int n):
    """The most threads that a call uses; 0 for the default."""
    _check(fastbp_set_num_threads(n))


def get_num_threads():
    """The most threads that a call uses."""
    return fastbp_get_num_threads()


# ---- network ------------------------------------------------------------------------------------


include "_layers.pxi"  # options of layers


cdef class Net:
    """An architecture: widths (L + 1), activation codes and alphas (L), loss code, penalties, the
    loss's parameters and the columns of its dense targets.

    options: a tuple a layer, of the fields of fastbp_layer_options_t; empty: plain layers.
    """

    cdef fastbp_net_t *net
    cdef readonly size_t n_params
    cdef readonly tuple widths
    cdef long n_targets
    cdef object function  # of the bytes of a and of y, or None; see _loss.pxi
    cdef object error  # what it has raised
    cdef char code  # buffer format of the dtype: f or d

    def __cinit__(self, tuple widths, tuple activations, tuple alphas, int loss, bint f64,
                  double l1, double l2, tuple loss_params, long n_targets, tuple options=(),
                  double input_dropout=0, function=None):
        cdef int n = <int>len(widths) - 1
        cdef fastbp_spec_t spec
        cdef long *c_widths = <long *>malloc((n + 1) * sizeof(long))
        cdef int *c_activations = <int *>malloc((n + 1) * sizeof(int))
        cdef double *c_alphas = <double *>malloc((n + 1) * sizeof(double))
        cdef int n_params = <int>len(loss_params)
        cdef double *c_params = <double *>malloc((n_params + 1) * sizeof(double))
        cdef fastbp_layer_options_t *c_options = NULL
        try:
            if (c_widths == NULL or c_activations == NULL or c_alphas == NULL
                    or c_params == NULL):
                raise MemoryError()
            for i in range(n + 1):
                c_widths[i] = widths[i]
            for i in range(n):
                c_activations[i] = activations[i]
                c_alphas[i] = alphas[i]
            for i in range(n_params):
                c_params[i] = loss_params[i]
            spec = fastbp_spec_t(n, c_widths, c_activations, c_alphas, <fastbp_loss_t>loss,
                                 FASTBP_F64 if f64 else FASTBP_F32, l1, l2, c_params, n_params,
                                 n_targets, &_call_loss, <void *>self)
            if options:
                c_options = _layer_options(options)
            spec.options = c_options
            spec.input_dropout = input_dropout
            _check(fastbp_net_new(&self.net, &spec))
        finally:
            free(c_widths)
            free(c_activations)
            free(c_alphas)
            free(c_params)
            free(c_options)
        self.widths = widths
        self.n_targets = n_targets
        self.function = function
        self.code = b"d" if f64 else b"f"
        self.n_params = fastbp_net_n_params(self.net)

    def __dealloc__(self):
        fastbp_net_free(self.net)

    cdef fastbp_data_t data(self, object x, object y, object weights, long rows) except *:
        """Pointers to a batch; x or y may be None, y holds int32 labels (n,) or dense rows."""
        cdef fastbp_data_t data
        cdef Matrix at
        data.rows = rows
        data.x_type = FASTBP_X_OWN
        data.x = data.targets = data.weights = NULL
        data.labels = NULL
        data.ldx = data.ldy = 0
        data.indptr = NULL
        data.indices = NULL
        if isinstance(x, SparseRows):
            if x.shape != (rows, self.widths[0]):
                raise ValueError("x does not have the shape of this batch")
            data.x = _vector(x.values, self.code, len(x.values))
            data.indptr = <const int64_t *>_vector(
                x.indptr, <char>ord(x.indptr.dtype.char), rows + 1)
            data.indices = <const int32_t *>_vector(x.indices, b"i", len(x.indices))
        elif x is not None:
            at = _locate(x, self.code, False, True)
            data.x_type = at.element
            if at.rows != rows or at.cols != self.widths[0]:
                raise ValueError("x does not have the shape of this batch")
            data.x = at.at
            data.ldx = at.ld
        if y is not None and y.ndim == 1:
            data.labels = <const int32_t *>_vector(y, b"i", rows)
        elif y is not None:
            at = _locate(y, self.code)
            if at.rows != rows or at.cols != self.n_targets:
                raise ValueError("y does not have the shape of this batch")
            data.targets = at.at
            data.ldy = at.ld
        if weights is not None:
            data.weights = _vector(weights, self.code, rows)
        return data

    def set_trainable(self, int layer, bint trainable):
        """Whether updates change layer l = 1 ... L."""
        fastbp_net_set_trainable(self.net, layer, trainable)

    def predict(self, theta, x, out):
        """a^L of the rows of x into out (dense)."""
        cdef void *params = _vector(theta, self.code, self.n_params)
        cdef fastbp_data_t data = self.data(x, None, None, x.shape[0])
        cdef void *to = _vector(out, self.code, data.rows * <size_t>self.widths[-1], True)
        cdef fastbp_status_t status
        with nogil:
            status = fastbp_predict(self.net, params, &data, to, NULL)
        _check(status)

    def cost(self, theta, x, y, weights, out=None):
        """J of a data set; a^L into out as well, if it is given."""
        cdef void *params = _vector(theta, self.code, self.n_params)
        cdef fastbp_data_t data = self.data(x, y, weights, x.shape[0])
        cdef void *to = NULL
        cdef double cost = 0
        cdef fastbp_status_t status
        if out is not None:
            to = _vector(out, self.code, data.rows * <size_t>self.widths[-1], True)
        with nogil:
            status = fastbp_predict(self.net, params, &data, to, &cost)
        _check_call(self, status)
        return cost

    def step(self, theta, grad, optimizer):
        """One update of theta by grad with a bound fastbp.optim.Optimizer."""
        cdef list kept = []
        cdef fastbp_optimizer_t state = _optimizer(self, optimizer, kept)
        cdef void *params = _vector(theta, self.code, self.n_params, True)
        cdef void *slope = _vector(grad, self.code, self.n_params)
        cdef fastbp_status_t status
        with nogil:
            status = fastbp_step(self.net, params, slope, &state)
        _check(status)
        optimizer._t = state.t


cdef fastbp_optimizer_t _optimizer(Net net, object optimizer, list kept) except *:
    """The optimiser for the engine; what it points to is added to `kept`."""
    cdef fastbp_optimizer_t state
    cdef int rule, clip
    cdef int i = 0
    (rule, state.lr, state.momentum, state.beta1, state.beta2, state.eps, state.dampening,
     state.lr_decay, state.momentum_decay, state.shrink, state.grow, state.least, state.most,
     state.weight_decay, state.decoupled, state.maximize, clip, state.limit, factors,
     state.average_decay) = optimizer.packed()
    state.rule = <fastbp_rule_t>rule
    state.clip = <fastbp_clip_t>clip
    state.t = optimizer._t
    state.lr_factors = NULL
    if factors is not None:
        state.lr_factors = <const double *>_vector(factors, b"d", len(net.widths) - 1)
        kept.append(factors)
    state.moment[0] = state.moment[1] = state.moment[2] = state.grad = state.average = NULL
    for moment in optimizer.moments:
        if i < 3:
            state.moment[i] = _vector(moment, net.code, net.n_params, True)
        kept.append(moment)
        i += 1
    if optimizer.scratch is not None:
        state.grad = _vector(optimizer.scratch, net.code, net.n_params, True)
        kept.append(optimizer.scratch)
    state.average_start = 0
    if optimizer.average is not None:
        state.average = _vector(optimizer.average, net.code, net.n_params, True)
        state.average_start = optimizer.average_start
        kept.append(optimizer.average)
    return state


# ---- passes ----------------------------------------------------------------------------------


cdef class Buffer:
    """One z, a or delta of a pass, (capacity, units), by the buffer protocol; keeps the pass."""

    cdef object owner
    cdef void *at
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t strides[2]
    cdef char format[2]

    def __getbuffer__(self, Py_buffer *view, int flags):
        if flags & PyBUF_STRIDES != PyBUF_STRIDES:
            raise BufferError("rows are padded: ask for strides")
        view.obj = self
        view.buf = self.at
        view.len = self.shape[0] * self.shape[1] * self.strides[1]
        view.readonly = 0
        view.itemsize = self.strides[1]
        view.format = self.format
        view.ndim = 2
        view.shape = self.shape
        view.strides = self.strides
        view.suboffsets = NULL
        view.internal = NULL

    def __releasebuffer__(self, Py_buffer *view):
        pass


cdef class Pass:
    """Buffers for forward and backward passes of up to `capacity` rows."""

    cdef fastbp_pass_t *at
    cdef readonly Net net
    cdef readonly long capacity
    cdef long rows
    cdef object x, y  # the rows that the engine points to

    def __cinit__(self, Net net, long capacity):
        self.net = net
        self.capacity = capacity
        _check(fastbp_pass_new(&self.at, net.net, capacity))

    def __dealloc__(self):
        fastbp_pass_free(self.at)

    def buffer(self, str which, int layer):
        """The Buffer of "z", "a" or "delta" of layer l = 1 ... L."""
        cdef Buffer buffer = Buffer()
        cdef fastbp_buffer_t kind
        cdef long ld
        kind = {"z": FASTBP_BUFFER_Z, "a": FASTBP_BUFFER_A, "delta": FASTBP_BUFFER_DELTA}[which]
        buffer.at = fastbp_pass_buffer(self.at, kind, layer, &ld)
        if buffer.at == NULL:
            raise IndexError(f"there is no layer {layer}")
        buffer.owner = self
        buffer.format[0] = self.net.code
        buffer.format[1] = 0
        buffer.shape[0] = self.capacity
        buffer.shape[1] = self.net.widths[layer]
        buffer.strides[1] = 8 if self.net.code == b"d" else 4
        buffer.strides[0] = ld * buffer.strides[1]
        return buffer

    def overlaps(self, array):
        """Whether a 2-D array shares memory with the buffers of this pass."""
        cdef Matrix at = _locate(array, self.net.code, False, True)
        cdef long first = min(0, (at.rows - 1) * at.ld)
        cdef long last = max(0, (at.rows - 1) * at.ld) + at.cols
        cdef size_t size = array.itemsize
        return fastbp_pass_overlaps(
            self.at, <char *>at.at + first * <long>size, (last - first) * size)

    def forward(self, theta, x):
        """Every z and a for the rows of x, which is kept for the backward pass."""
        cdef void *params = _vector(theta, self.net.code, self.net.n_params)
        cdef fastbp_data_t data = self.net.data(x, None, None, x.shape[0])
        cdef fastbp_status_t status
        with nogil:
            status = fastbp_forward(self.at, params, &data)
        _check(status)
        self.x = x
        self.rows = data.rows

    def backward(self, theta, y, weights, grad):
        """Every delta and, unless it is None, grad for the targets y; returns J."""
        cdef void *params = _vector(theta, self.net.code, self.net.n_params)
        cdef void *slope = NULL
        cdef fastbp_data_t data = self.net.data(None, y, weights, self.rows)
        cdef double cost = 0
        cdef fastbp_status_t status
        if grad is not None:
            slope = _vector(grad, self.net.code, self.net.n_params, True)
        with nogil:
            status = fastbp_backward(self.at, params, &data, slope, &cost)
        _check_call(self.net, status)
        self.y = y
        return cost

    def backward_from(self, theta, delta, weights, grad):
        """Every delta and grad from an injected delta^L."""
        cdef void *params = _vector(theta, self.net.code, self.net.n_params)
        cdef void *slope = _vector(grad, self.net.code, self.net.n_params, True)
        cdef Matrix source = _locate(delta, self.net.code)
        cdef void *factors = NULL
        cdef fastbp_status_t status
        if source.rows != self.rows or source.cols != self.net.widths[-1]:
            raise ValueError("delta does not have the shape of this batch")
        if weights is not None:
            factors = _vector(weights, self.net.code, self.rows)
        with nogil:
            status = fastbp_backward_from(self.at, params, source.at, source.ld, factors, slope)
        _check(status)

    def input_gradient(self, theta, out):
        """delta^1 W^1^T of the last backward pass into out (dense)."""
        cdef void *params = _vector(theta, self.net.code, self.net.n_params)
        cdef void *to = _vector(out, self.net.code, self.rows * <size_t>self.net.widths[0], True)
        cdef fastbp_status_t status
        with nogil:
            status = fastbp_input_gradient(self.at, params, to)
        _check(status)


include "_fit.pxi"  # training sessions
include "_loss.pxi"  # a loss in Python
include "_derive.pxi"  # derivatives, and backward in pieces
include "_open.pxi"  # kernels and threads in the open
include "_csv.pxi"  # .csv files
