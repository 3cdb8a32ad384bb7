# cython: embedsignature=True, freethreading_compatible=True
"""Binding of the C engine: extract pointers, make one call without the GIL, check the status.

There is no arithmetic here and no policy. Arrays are read through the buffer protocol, so the
binary does not depend on a NumPy ABI. The package checks its arguments before it calls the binding;
`_locate` and `_dense` again refuse everything that would make C access memory out of bounds.
"""

import os
from _thread import allocate_lock
from array import array as c_array

cimport cython
from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release,
    PyObject_GetBuffer,
)
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint16_t, uint64_t
from libc.string cimport memchr, memcpy, memset

import numpy as np

from ._types import SparseRows


# ---- tables and constants ------------------------------------------------------------------------


cdef dict _codes(const char *(*name_of)(int) noexcept nogil, int first=0):
    """{name: code} of one of the engine's lists."""
    cdef int end = first
    while name_of(end) != NULL:
        end += 1
    return {name_of(code).decode(): code for code in range(first, end)}


fastbp_machine()  # cpuid, before other threads can ask or fork
ACTIVATIONS = _codes(&fastbp_activation_name)
SLOPES = {name: "z" if fastbp_slope_from_z(code) else "a" for name, code in ACTIVATIONS.items()}
LOSSES = _codes(&fastbp_loss_name)
ELEMENTS = _codes(&fastbp_element_name, FASTBP_X_OWN + 1)  # of X, by kind and size: "f4"
VMATH = _codes(&fastbp_vmath_name)
OPERATIONS = _codes(&fastbp_operation_name)  # of programs
RULES = _codes(&fastbp_rule_name)
HYPERS = _codes(&fastbp_hyper_name)
cdef dict _CLIPS = {"none": FASTBP_CLIP_NONE, "value": FASTBP_CLIP_VALUE, "norm": FASTBP_CLIP_NORM,
                    "global_norm": FASTBP_CLIP_GLOBAL_NORM}
# The kind of an element by the letter of its buffer format.
cdef dict _KINDS = (
    dict.fromkeys("bhilq", "i") | dict.fromkeys("?BHILQ", "u") | dict.fromkeys("efd", "f")
)
cdef dict _SLOTS = {"full": FASTBP_SLOT_FULL, "row": FASTBP_SLOT_ROW, "one": FASTBP_SLOT_ONE}
cdef dict _BUFFERS = {"z": FASTBP_BUFFER_Z, "a": FASTBP_BUFFER_A, "delta": FASTBP_BUFFER_DELTA}
cdef dict _GEMM_FORMS = {"nn": FASTBP_GEMM_NN, "tn": FASTBP_GEMM_TN, "nt": FASTBP_GEMM_NT}
cdef dict _CSV_FAULTS = {FASTBP_CSV_OK: "", FASTBP_CSV_RAGGED: "ragged", FASTBP_CSV_QUOTE: "quote",
                         FASTBP_CSV_OPEN: "open", FASTBP_CSV_LONG: "long",
                         FASTBP_CSV_CLOSED: "memory", FASTBP_CSV_LIMITED: "limit"}
CELL_KINDS = {
    "empty": FASTBP_CELL_EMPTY, "digits": FASTBP_CELL_DIGITS, "number": FASTBP_CELL_NUMBER,
    "code": FASTBP_CELL_CODE, "zeros": FASTBP_CELL_ZEROS, "padded": FASTBP_CELL_PADDED,
    "text": FASTBP_CELL_TEXT,
}
MAX_CELL = FASTBP_CSV_MAX_CELL
cdef str _PTRDIFF = "q" if sizeof(ptrdiff_t) == 8 else "l"  # its letter in an array


# ---- pointers and status -------------------------------------------------------------------------


cdef struct Matrix:
    void *at
    ptrdiff_t rows, cols, ld  # ld in elements
    fastbp_element_t element


cdef fastbp_element_t _element(str kind, Py_ssize_t size) except *:
    """The element type of a buffer whose format is this letter."""
    try:
        return <fastbp_element_t><int>ELEMENTS[f"{_KINDS[kind]}{size}"]
    except KeyError:
        raise TypeError(f"a buffer of format {kind!r} is not one that the engine reads") from None


cdef Matrix _locate(object array, char code, bint writable=False, bint foreign=False) except *:
    """Address and shape of a 1-D or 2-D buffer of format `code`, or of any known one if `foreign`.

    A vector counts as one row. The buffer is released immediately, so the caller must keep `array`
    alive until the C call has returned.
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


cdef Matrix _locate_or_null(object array, char code, bint writable=False) except *:
    """`_locate`, or a NULL address for None."""
    if array is None:
        return Matrix(NULL, 0, 0, 0, FASTBP_X_OWN)
    return _locate(array, code, writable)


cdef void *_dense(Matrix found, size_t n) except? NULL:
    """The address of a located buffer, which must have n elements without gaps."""
    if <size_t>(found.rows * found.cols) != n or (found.rows > 1 and found.ld != found.cols):
        raise ValueError(f"expected a dense buffer of {n} elements")
    return found.at


cdef void *_vector(object array, char code, size_t n, bint writable=False) except? NULL:
    """Address of a dense buffer of n elements, 1-D or 2-D."""
    return _dense(_locate(array, code, writable), n)


cdef void *_vector_or_null(object array, char code, size_t n, bint writable=False) except? NULL:
    """`_vector`, or NULL for None."""
    return NULL if array is None else _vector(array, code, n, writable)


cdef int32_t *_int32s(object array, size_t n, bint writable=False) except? NULL:
    """Address of a dense buffer of n int32, whose letter is i or, on Windows, l."""
    cdef Matrix found = _locate(array, b"i", writable, True)
    if found.element not in (FASTBP_X_OWN, FASTBP_X_I32):
        raise TypeError("expected a buffer of int32")
    return <int32_t *>_dense(found, n)


cdef int64_t *_int64s(object array, size_t n) except? NULL:
    """Address of a dense, writable buffer of n int64."""
    cdef Matrix found = _locate(array, 0, True, True)  # its letter depends on the system
    if found.element != FASTBP_X_I64:
        raise TypeError("expected a buffer of int64")
    return <int64_t *>_dense(found, n)


cdef size_t _itemsize(char code) noexcept nogil:
    """Size in bytes of an element of buffer format f or d."""
    return 8 if code == b"d" else 4


cdef fastbp_dtype_t _dtype(bint f64) noexcept nogil:
    return FASTBP_F64 if f64 else FASTBP_F32


cdef int _check(fastbp_status_t status) except -1 nogil:
    """Raise the exception of a bad status."""
    if status == FASTBP_OK:
        return 0
    with gil:
        if status == FASTBP_ERR_MEMORY:
            raise MemoryError("not enough memory for the buffers of this network and batch")
        if status == FASTBP_ERR_STATE:
            raise RuntimeError("called out of order")
        if status == FASTBP_ERR_ISA:
            raise ValueError(f"the ISA {isa()} has no products in bfloat16")
        if status == FASTBP_ERR_VARIANCE:
            raise ValueError(
                "a running_var has a negative number, and a variance is not negative: "
                "give it values of at least 0"
            )
        raise ValueError("the engine refused an argument")


# ---- instruction sets, machine, threads ----------------------------------------------------------


def available_isas():
    """Names of the ISAs that were built and that this machine supports, slowest first."""
    return list(_codes(&fastbp_isa_available))


def select_isa(str name):
    """Choose the ISA of all networks made after this call; ValueError if it is not available."""
    if fastbp_isa_select(name.encode()) != FASTBP_OK:
        raise ValueError(f"ISA {name!r} is not available here: {', '.join(available_isas())}")


def fastest_isa():
    """The name of the fastest instruction set of this machine."""
    return fastbp_isa_fastest().decode()


def isa():
    """Name of the chosen ISA."""
    return fastbp_isa().decode()


def isa_base(str name):
    """Name of the ISA whose kernels an ISA has, apart from products in bfloat16; or None."""
    base = fastbp_isa_base(name.encode())
    return None if base is NULL else base.decode()


def bf16_rows(str isa, int precision):
    """The rows from which an ISA makes products in bfloat16 at that precision; 0: never."""
    return fastbp_bf16_rows(isa.encode(), <fastbp_precision_t>precision)


def available_tunes():
    """Names of the machines that the engine can be tuned for."""
    return list(_codes(&fastbp_tune_available))


def select_tune(str name):
    """Tune all networks made after this call for a machine; ValueError if it is unknown."""
    if fastbp_tune_select(name.encode()) != FASTBP_OK:
        raise ValueError(f"there is no tuning {name!r}, only: {', '.join(available_tunes())}")


def tune():
    """Name of the machine that networks are tuned for."""
    return fastbp_tune().decode()


def machine():
    """(processor name, state of AMX tiles, L1d bytes, L2 bytes, L3 bytes)."""
    cdef fastbp_machine_t m = fastbp_machine()
    return m.cpu.decode(errors="replace"), m.amx.decode(), m.l1d, m.l2, m.l3


def set_num_threads(int n):
    """Set how many threads a call may use; 0 for the default."""
    _check(fastbp_set_num_threads(n))


def get_num_threads():
    """How many threads a call may use."""
    return fastbp_get_num_threads()


def stop_threads():
    """End and join the threads of the engine. If they are in use, change nothing, return False."""
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_stop_threads()
    return status == FASTBP_OK


# ---- locks ---------------------------------------------------------------------------------------


cdef int _n_forks = 0


def note_fork():
    """Count the forks that lead to this process; called in the child."""
    global _n_forks
    _n_forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=note_fork)


@cython.final
cdef class ReadWriteLock:
    """A lock that several threads hold to read, or one to write, in the order of their requests.

    A with block holds it to write, and may contain others. The child of a fork inherits no lock
    that another thread holds. The sections are critical where Python has no GIL; elsewhere the GIL
    protects them, since nothing in them runs Python code.
    """

    cdef unsigned long writer  # the thread that holds it to write, or 0
    cdef int depth  # of its with blocks
    cdef int readers, forks
    cdef list queue  # (lock, thread), or (lock, 0) of a reader, in the order of their requests

    def __cinit__(self):
        self.queue = []
        self.forks = _n_forks

    def __enter__(self):
        self.acquire(True)

    def __exit__(self, *raised):
        self.release(True)

    def copy(self, array):
        """A copy of an array, read under the lock."""
        self.acquire(False)
        try:
            return np.array(array)
        finally:
            self.release(False)

    cdef inline int acquire(self, bint to_write) except -1:
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef bint free
        with cython.critical_section(self):
            if self.forks != _n_forks:
                self.forget_others(me)
            free = self.writer == me or not (
                self.writer or self.queue or (to_write and self.readers))
            if free:
                self.take(me if to_write else 0)
        return 0 if free else self.wait(me if to_write else 0)

    cdef inline int release(self, bint to_write) except -1:
        with cython.critical_section(self):
            if self.forks != _n_forks:
                self.forget_others(PyThread_get_thread_ident())
            if not to_write:
                self.readers -= 1
            else:
                self.depth -= 1
                if self.depth == 0:
                    self.writer = 0
            if self.queue:
                self.admit()
        return 0

    cdef inline void take(self, unsigned long thread) noexcept:
        if thread:
            self.writer = thread
            self.depth += 1
        else:
            self.readers += 1

    cdef int wait(self, unsigned long thread) except -1:
        """Wait in the queue; whoever makes room takes the lock for this thread."""
        turn = allocate_lock()
        turn.acquire()
        entry = (turn, thread)
        cdef bint waits
        with cython.critical_section(self):
            self.queue.append(entry)
            self.admit()
        try:
            turn.acquire()
        except BaseException:  # KeyboardInterrupt
            with cython.critical_section(self):
                waits = entry in self.queue
                if waits:
                    self.queue.remove(entry)
                    self.admit()
            if not waits:
                self.release(thread != 0)
            raise
        return 0

    cdef int admit(self) except -1:
        """Give the lock to those at the front of the queue that can hold it now."""
        while self.queue and not self.writer:
            turn, thread = <tuple>self.queue[0]
            if thread and self.readers:
                break
            self.queue.pop(0)
            self.take(thread)
            turn.release()
        return 0

    cdef void forget_others(self, unsigned long me) noexcept:
        """In the child of a fork: only this thread is left."""
        self.forks, self.readers, self.queue = _n_forks, 0, []
        if self.writer != me:
            self.writer, self.depth = 0, 0


# ---- networks ------------------------------------------------------------------------------------


cdef class Net:
    """An architecture.

    widths has L + 1 entries, activations (names) and alphas have L. loss is a name, loss_params are
    its parameters, see csrc/lists.h, and n_targets is the number of columns of dense targets.
    options has one tuple per layer with the fields of fastbp_layer_options_t, or is empty for plain
    layers. function is a loss in Python, called with the bytes of a and y; it returns
    (losses, slopes). precision is a value of fastbp_precision_t. formulas has one entry per layer,
    or is empty: None, or (number of constants, per unit, (value, slope, push, curve)) in place of
    the activation. loss_formula is (value, slope, curve) in place of the loss, or None. lock is
    that of theta: predictions and costs read under it, steps write. One thread at a time may use
    the passes, and the sessions of one optimiser wait for each other.
    """

    cdef fastbp_net_t *net
    cdef readonly size_t n_params
    cdef readonly tuple widths
    cdef tuple fan_in  # widths, where the first counts what an embedding makes of the inputs
    cdef ptrdiff_t n_in, n_targets
    cdef object function
    cdef dict errors  # what `function` raised: {whether it computed a cost only: exception}
    cdef ReadWriteLock lock, judging  # of theta; of costs by `function`
    cdef Packed packed  # of the optimiser of the last step
    cdef char code  # buffer format of the dtype: f or d

    def __cinit__(self, tuple widths, tuple activations, tuple alphas, str loss, bint f64,
                  double l1, double l2, tuple loss_params, ptrdiff_t n_targets, tuple options=(),
                  double input_dropout=0.0, function=None, int precision=0, tuple formulas=(),
                  loss_formula=None, lock=None, bint ignore_nan=False):
        cdef int n = <int>len(widths) - 1
        cdef int n_loss_params = <int>len(loss_params)
        cdef list lists = []
        cdef bytearray room = _layer_options(options, lists)
        cdef fastbp_layer_options_t *c_options = <fastbp_layer_options_t *><char *>room
        cdef fastbp_loss_formula_t c_loss
        cdef bytearray programs = _formulas(formulas, kept := [])
        cdef fastbp_spec_t spec
        c_widths, c_alphas = c_array(_PTRDIFF, widths), c_array("d", alphas)
        c_activations = c_array("i", [
            ACTIVATIONS[name] if formula is None else FASTBP_ACT_FORMULA
            for name, formula in zip(activations, formulas or (None,) * n, strict=True)])
        c_loss_params = c_array("d", loss_params)
        if not options:
            c_options = NULL
        spec = fastbp_spec_t(
            n, <ptrdiff_t *>_vector(c_widths, ord(_PTRDIFF), n + 1),
            <int *>_vector(c_activations, b"i", n),
            <double *>_vector(c_alphas, b"d", n), FASTBP_LOSS_FORMULA, _dtype(f64),
            l1, l2, <double *>_vector(c_loss_params, b"d", n_loss_params), n_loss_params, n_targets,
            &_call_loss, <void *>self, c_options, input_dropout, <fastbp_precision_t>precision,
            NULL, NULL, ignore_nan)
        if formulas:
            spec.formulas = <const fastbp_formula_t *const *><char *>programs
        if loss_formula is None:
            spec.loss = <fastbp_loss_t><int>LOSSES[loss]
        else:
            value, slope, curve = loss_formula
            c_loss = fastbp_loss_formula_t(
                _program(value, kept), _program(slope, kept), _program(curve, kept))
            spec.loss_formula = &c_loss
        _check(fastbp_net_new(&self.net, &spec))
        self.widths = widths
        more = c_options[0].numbers * (c_options[0].width - 1) if options else 0
        for i in range(c_options[0].n_categories if options else 0):
            more += c_options[0].level_widths[i] - 1
        self.fan_in = (widths[0] + more, *widths[1:])
        self.packed = Packed()
        self.errors = {}
        self.lock = ReadWriteLock() if lock is None else lock
        self.judging = ReadWriteLock()
        self.n_in = widths[0]
        self.n_targets = n_targets
        self.function = function
        self.code = b"d" if f64 else b"f"
        self.n_params = fastbp_net_n_params(self.net)

    def __dealloc__(self):
        fastbp_net_free(self.net)

    cdef void *like_theta(self, object array, bint writable=False, size_t n=0) except? NULL:
        """Address of theta, or of a vector of its dtype with n elements, or 0 for its shape."""
        return _vector(array, self.code, n or self.n_params, writable)

    cdef fastbp_data_t data(self, object x, object y, object weights, ptrdiff_t rows) except *:
        """Pointers to a batch. x and y may be None; y holds int32 labels (n,) or dense rows."""
        cdef fastbp_data_t data = fastbp_data_t(
            rows, FASTBP_X_OWN, NULL, 0, NULL, NULL, NULL, NULL, 0,
            _vector_or_null(weights, self.code, rows), NULL, NULL)
        cdef Matrix at
        if isinstance(x, SparseRows):
            if x.shape != (rows, self.widths[0]):
                raise ValueError("x does not have the shape of this batch")
            data.x = _vector(x.values, self.code, len(x.values))
            data.indptr = <const int64_t *>_vector(
                x.indptr, <char>ord(x.indptr.dtype.char), rows + 1)
            data.indices = _int32s(x.indices, len(x.indices))
        elif x is not None:
            at = _locate(x, self.code, False, True)
            data.x_type = at.element
            if at.rows != rows or at.cols != self.widths[0]:
                raise ValueError("x does not have the shape of this batch")
            data.x = at.at
            data.ldx = at.ld
        if y is not None and y.ndim == 1:
            data.labels = _int32s(y, rows)
        elif y is not None:
            at = _locate(y, self.code)
            if at.rows != rows or at.cols != self.n_targets:
                raise ValueError("y does not have the shape of this batch")
            data.targets = at.at
            data.ldy = at.ld
        return data

    def set_trainable(self, int layer, bint trainable):
        """Set whether updates change layer l = 1 ... L."""
        fastbp_net_set_trainable(self.net, layer, trainable)

    def products(self, ptrdiff_t rows):
        """Name how batches of `rows` rows make their matrix products."""
        return fastbp_products(self.net, rows).decode()

    def fits(self, x):
        """Whether x is a dense array of the network's dtype with n_0 columns, and has a row."""
        cdef Py_buffer view
        cdef bint fits
        try:
            PyObject_GetBuffer(x, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (ValueError, BufferError):
            return False
        fits = (view.ndim == 2 and view.format[0] == self.code and view.format[1] == 0
                and view.shape[0] > 0 and view.shape[1] == self.n_in
                and <size_t>view.buf % <size_t>view.itemsize == 0)
        PyBuffer_Release(&view)
        return fits

    def predict(self, theta, x, out):
        """Write a^L of the rows of x into out (dense)."""
        cdef void *params = self.like_theta(theta)
        cdef fastbp_data_t data = self.data(x, None, None, x.shape[0])
        cdef void *to = _vector(out, self.code, data.rows * <size_t>self.widths[-1], True)
        cdef fastbp_status_t status
        self.lock.acquire(False)
        with nogil:
            status = fastbp_predict(self.net, params, &data, to, NULL)
        self.lock.release(False)
        _check(status)

    def cost(self, theta, x, y, weights, out=None):
        """Return J of a data set; also write a^L into out, unless it is None."""
        if self.function is not None:  # it may call anything, so nobody must wait for it
            with self.judging:
                return self.judged(self.lock.copy(theta), x, y, weights, out)
        self.lock.acquire(False)
        try:
            return self.judged(theta, x, y, weights, out)
        finally:
            self.lock.release(False)

    cdef double judged(self, object theta, object x, object y, object weights, object out) except *:
        cdef void *params = self.like_theta(theta)
        cdef fastbp_data_t data = self.data(x, y, weights, x.shape[0])
        cdef void *to = _vector_or_null(out, self.code, data.rows * <size_t>self.widths[-1], True)
        cdef double cost = 0
        with nogil:
            _check_call(self, fastbp_predict(self.net, params, &data, to, &cost), True)
        return cost

    def step(self, theta, grad, optimizer):
        """Update theta once from grad, with a fastbp.optim.Optimizer."""
        shared = optimizer._lock  # its methods, because a with block takes longer to begin
        self.lock.acquire(True)
        try:
            shared.acquire()
            try:
                self.update(theta, grad, optimizer)
            finally:
                shared.release()
        finally:
            self.lock.release(True)

    cdef int update(self, object theta, object grad, object optimizer) except -1:
        cdef list kept = []
        cdef fastbp_optimizer_t state = self.packed.read(self, theta, optimizer, kept)
        cdef void *params = self.like_theta(theta, True)
        cdef void *slope = self.like_theta(grad)
        with nogil:
            _check(fastbp_step(self.net, params, slope, &state))
        optimizer._t = state.t
        return 0


cdef bytearray _layer_options(tuple layers, list kept):
    """An array of fastbp_layer_options_t, made from one tuple of fields per layer.

    What they point to is added to `kept`.
    """
    cdef bytearray room = bytearray(len(layers) * sizeof(fastbp_layer_options_t))
    cdef fastbp_layer_options_t *options = <fastbp_layer_options_t *><char *>room
    for i, layer in enumerate(layers):
        no_bias, norm, eps, momentum, dropout, residual, max_norm, non_negative, scale = layer[:9]
        numbers, n_frequencies, width, rectified, keeps, levels, widths = layer[9:]
        n = len(levels)
        kept += c_array(_PTRDIFF, levels), c_array(_PTRDIFF, widths)
        options[i] = fastbp_layer_options_t(
            no_bias, <fastbp_norm_t><int>norm, eps, momentum, dropout, residual, max_norm,
            non_negative, scale, numbers, n_frequencies, width, rectified, keeps, n,
            <ptrdiff_t *>_vector(kept[-2], ord(_PTRDIFF), n),
            <ptrdiff_t *>_vector(kept[-1], ord(_PTRDIFF), n))
    return room


cdef fastbp_program_t _program(object program, list kept) except *:
    """A program as the engine reads it; what it points to is added to `kept`."""
    kept.append(Program(program))
    return (<Program>kept[-1]).at


cdef bytearray _formulas(tuple layers, list kept):
    """An array of pointers to fastbp_formula_t, from one entry of `Net` per layer."""
    cdef size_t n = len(layers)
    cdef bytearray room = bytearray(n * (sizeof(void *) + sizeof(fastbp_formula_t)))
    cdef fastbp_formula_t **at = <fastbp_formula_t **><char *>room
    cdef fastbp_formula_t *formulas = <fastbp_formula_t *>(at + n)
    for i, layer in enumerate(layers):
        if layer is None:
            continue
        n_constants, per_unit, (value, slope, push, curve) = layer
        formulas[i] = fastbp_formula_t(
            n_constants, per_unit, _program(value, kept), _program(slope, kept),
            _program(push, kept), _program(curve, kept))
        at[i] = &formulas[i]
    return room


# ---- a loss in Python, called by the engine ------------------------------------------------------


cdef fastbp_status_t _call_loss(void *context, ptrdiff_t rows, const void *a, ptrdiff_t lda,
                                const void *const *targets, double *row_loss, void *slope,
                                ptrdiff_t ld_slope) noexcept with gil:
    """The fastbp_loss_fn of a Net: calls its `function` with copies of the rows.

    An exception is stored in `net.errors`; `_check_call` raises it after the engine has returned.
    """
    cdef Net net = <Net>context
    try:
        _fill_loss(net, rows, a, lda, targets, row_loss, slope, ld_slope)
        return FASTBP_OK
    except BaseException as error:
        net.errors[slope == NULL] = error
        return FASTBP_ERR_CALL


cdef int _fill_loss(Net net, ptrdiff_t rows, const void *a, ptrdiff_t lda,
                    const void *const *targets, double *row_loss, void *slope,
                    ptrdiff_t ld_slope) except -1:
    cdef size_t size = _itemsize(net.code)
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


cdef int _check_call(Net net, fastbp_status_t status, bint cost_only=False) except -1 nogil:
    """`_check`, but also raise the exception of a loss in Python."""
    if status != FASTBP_ERR_CALL:
        return _check(status)
    with gil:
        raise net.errors.pop(cost_only)


# ---- passes --------------------------------------------------------------------------------------


cdef class Buffer:
    """A matrix of the engine, such as the z of one layer; it keeps its owner alive."""

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


cdef Buffer _buffer(owner, void *at, char code, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t ld=-1):
    cdef Buffer buffer = Buffer.__new__(Buffer)
    buffer.owner, buffer.at = owner, at
    buffer.format[0], buffer.format[1] = code, 0
    buffer.shape[0], buffer.shape[1] = rows, cols
    buffer.strides[1] = _itemsize(code)
    buffer.strides[0] = (cols if ld < 0 else ld) * buffer.strides[1]
    return buffer


cdef class Pass:
    """Buffers for forward and backward passes of up to `capacity` rows."""

    cdef fastbp_pass_t *at
    cdef readonly Net net
    cdef readonly ptrdiff_t capacity
    cdef ptrdiff_t rows
    cdef object x, y  # the engine keeps pointers to their rows

    def __cinit__(self, Net net, ptrdiff_t capacity):
        self.net = net
        self.capacity = capacity
        _check(fastbp_pass_new(&self.at, net.net, capacity))

    def __dealloc__(self):
        fastbp_pass_free(self.at)

    cdef Matrix rows_of(self, object array, ptrdiff_t cols, bint writable=False) except *:
        """Address of a matrix that must have as many rows as the last forward pass."""
        cdef Matrix found = _locate(array, self.net.code, writable)
        if found.rows != self.rows or found.cols != cols:
            raise ValueError("the array does not have the shape of this batch")
        return found

    def buffer(self, str which, int layer):
        """The Buffer of "z", "a" or "delta" of layer l = 1 ... L."""
        cdef fastbp_buffer_t kind = _BUFFERS[which]
        cdef ptrdiff_t ld
        cdef void *at = fastbp_pass_buffer(self.at, kind, layer, &ld)
        if at == NULL:
            raise IndexError(f"there is no layer {layer}")
        return _buffer(self, at, self.net.code, self.capacity, self.net.widths[layer], ld)

    def overlaps(self, array):
        """Whether a 2-D array shares memory with the buffers of this pass."""
        cdef Matrix at = _locate(array, self.net.code, False, True)
        cdef ptrdiff_t first = min(0, (at.rows - 1) * at.ld)
        cdef ptrdiff_t last = max(0, (at.rows - 1) * at.ld) + at.cols
        cdef size_t size = array.itemsize
        return fastbp_pass_overlaps(
            self.at, <char *>at.at + first * <ptrdiff_t>size, (last - first) * size)

    def forward(self, theta, x, masks=None):
        """Compute every z and a of x, which is kept.

        masks: (seed, t) of dropout, for training; or None.
        """
        cdef void *params = self.net.like_theta(theta)
        cdef fastbp_data_t data = self.net.data(x, None, None, x.shape[0])
        cdef bint drops = masks is not None
        cdef uint64_t seed = masks[0] if drops else 0, t = masks[1] if drops else 0
        with nogil:
            _check(fastbp_forward_training(self.at, params, &data, seed, t) if drops
                   else fastbp_forward(self.at, params, &data))
        self.x = x
        self.rows = data.rows

    def backward(self, theta, y, weights, grad):
        """Compute every delta for the targets y and, unless it is None, grad; return J."""
        cdef void *params = self.net.like_theta(theta)
        cdef void *slope = _vector_or_null(grad, self.net.code, self.net.n_params, True)
        cdef fastbp_data_t data = self.net.data(None, y, weights, self.rows)
        cdef double cost = 0
        with nogil:
            _check_call(self.net, fastbp_backward(self.at, params, &data, slope, &cost))
        self.y = y
        return cost

    def backward_from(self, theta, delta, weights, grad):
        """Compute every delta and grad from a given delta^L."""
        cdef void *params = self.net.like_theta(theta)
        cdef void *slope = self.net.like_theta(grad, True)
        cdef Matrix source = self.rows_of(delta, self.net.widths[-1])
        cdef void *factors = _vector_or_null(weights, self.net.code, self.rows)
        with nogil:
            _check(fastbp_backward_from(self.at, params, source.at, source.ld, factors, slope))

    def input_gradient(self, theta, out):
        """Write delta^1 W^1^T of the last backward pass into out (dense)."""
        cdef void *params = self.net.like_theta(theta)
        cdef void *to = _vector(out, self.net.code, self.rows * <size_t>self.net.widths[0], True)
        with nogil:
            _check(fastbp_input_gradient(self.at, params, to))


# ---- the backward pass in pieces: on a Pass after forward, with the same theta -------------------


def backward_output(Pass p, theta, y, weights):
    """Compute delta^L for the targets y; return J."""
    cdef void *params = p.net.like_theta(theta)
    cdef fastbp_data_t data = p.net.data(None, y, weights, p.rows)
    cdef double cost = 0
    with nogil:
        _check_call(p.net, fastbp_backward_output(p.at, params, &data, &cost))
    p.y = y
    return cost


def move_statistics(Pass p, theta):
    """Move the running statistics in theta by those of the last forward pass for training."""
    fastbp_move_statistics(p.at, p.net.like_theta(theta, True))


def backward_inject(Pass p, delta, weights):
    """Use delta as delta^L."""
    cdef Matrix source = p.rows_of(delta, p.net.widths[-1])
    cdef void *factors = _vector_or_null(weights, p.net.code, p.rows)
    _check(fastbp_backward_inject(p.at, source.at, source.ld, factors))


def backward_layer(Pass p, theta, int layer):
    """Compute delta^l of layer l = L - 1 ... 1 from the delta above it."""
    cdef void *params = p.net.like_theta(theta)
    with nogil:
        _check(fastbp_backward_layer(p.at, params, layer))


def backward_gradient(Pass p, theta, grad):
    """Compute grad from the deltas as they are now."""
    cdef void *params = p.net.like_theta(theta)
    cdef void *slope = p.net.like_theta(grad, True)
    with nogil:
        _check(fastbp_backward_gradient(p.at, params, slope))


def pull_back(Pass p, int layer, g):
    """Turn g from dJ_i/da^l into dJ_i/dz^l, in place."""
    cdef Matrix at
    if not 1 <= layer < len(p.net.widths):
        raise IndexError(f"there is no layer {layer}")
    at = p.rows_of(g, p.net.widths[layer], True)
    _check(fastbp_pull_back(p.at, layer, at.at, at.ld))


# ---- derivatives: on a Pass after forward, with the same theta -----------------------------------


def vjp(Pass p, theta, v, out):
    """Write v da^L/dx, row by row, into out (rows, n_0)."""
    cdef void *params = p.net.like_theta(theta)
    cdef Matrix source = p.rows_of(v, p.net.widths[-1])
    cdef void *to = _vector(out, p.net.code, p.rows * <size_t>p.net.widths[0], True)
    with nogil:
        _check(fastbp_vjp(p.at, params, source.at, source.ld, to))


def jacobian(Pass p, theta, out):
    """Write da^L/dx into out, dense, (rows, n_L n_0)."""
    cdef void *params = p.net.like_theta(theta)
    cdef size_t each = <size_t>p.net.widths[-1] * <size_t>p.net.widths[0]
    cdef void *to = _vector(out, p.net.code, p.rows * each, True)
    with nogil:
        _check(fastbp_jacobian(p.at, params, to))


def sample_gradients(Pass p, out):
    """Write dJ_i/dtheta of the last backward pass into out (rows, n_params)."""
    cdef void *to = _vector(out, p.net.code, p.rows * p.net.n_params, True)
    with nogil:
        _check(fastbp_sample_gradients(p.at, to))


def gradient_norms(Pass p, out):
    """Write the norms of dJ_i/d(W^l, b^l) of the last backward pass into out (rows, L), float64."""
    cdef void *to = _vector(out, b"d", p.rows * <size_t>(len(p.net.widths) - 1), True)
    with nogil:
        _check(fastbp_gradient_norms(p.at, <double *>to))


def relevance(Pass p, theta, list outs):
    """Write a^l * dJ_i/da^l of the last backward pass, l = 0 ... L, into outs (rows, n_l)."""
    cdef void *params = p.net.like_theta(theta)
    cdef size_t n = len(p.net.widths)
    cdef bytearray room = bytearray(n * sizeof(void *))
    cdef void **to = <void **><char *>room
    for i in range(n):
        to[i] = _vector(outs[i], p.net.code, p.rows * <size_t>p.net.widths[i], True)
    with nogil:
        _check_call(p.net, fastbp_relevance(p.at, params, to))


def jvp(Pass p, theta, dx, dtheta, out):
    """Write da^L along dx (rows, n_0) and dtheta into out (rows, n_L); either may be None."""
    cdef void *params = p.net.like_theta(theta)
    cdef void *to = _vector(out, p.net.code, p.rows * <size_t>p.net.widths[-1], True)
    cdef void *direction = _vector_or_null(dtheta, p.net.code, p.net.n_params)
    cdef Matrix moved = _locate_or_null(None, p.net.code)
    if dx is not None:
        moved = p.rows_of(dx, p.net.widths[0])
    with nogil:
        _check(fastbp_jvp(p.at, params, moved.at, moved.ld, direction, to))


def hvp(Pass p, theta, v, out):
    """Write the Hessian of J of the last backward pass times v into out; both are like theta."""
    cdef void *params = p.net.like_theta(theta)
    cdef void *direction = p.net.like_theta(v)
    cdef void *to = p.net.like_theta(out, True)
    with nogil:
        _check(fastbp_hvp(p.at, params, direction, to))


# ---- updates and training sessions ---------------------------------------------------------------


cdef class Packed:
    """The options of an optimiser in C, read again only if they have changed."""

    cdef object last, values  # what `packed` returned; the values whose state has been bound
    cdef size_t first, count  # the elements of theta whose state it has; count 0: all of them
    cdef fastbp_optimizer_t options  # rule, hyper-parameters and options; no pointers

    cdef fastbp_optimizer_t read(self, Net net, theta, optimizer, list kept) except *:
        """The optimiser as the engine reads it; the arrays it points to are added to `kept`."""
        cdef fastbp_optimizer_t state
        cdef int i = 0
        values = optimizer._values
        if values is not self.values:
            optimizer.bind(self.count or theta.size, theta.dtype, len(net.widths) - 1)
            self.values = values
        cdef dict packed = optimizer.packed()
        if packed is not self.last:
            self.options = _unpacked(packed)
            self.last = packed
        state = self.options
        state.t, state.state_first = optimizer._t, self.first
        factors = optimizer.factors(net.fan_in)
        if factors is not None:
            n = (len(net.widths) - 1) * <size_t>FASTBP_GROUPS
            state.lr_factors = <const double *>_vector(factors[0], b"d", n)
            state.decay_factors = <const double *>_vector(factors[1], b"d", n)
            kept.append(factors)
        for moment in optimizer.moments:
            if i < 3:
                state.moment[i] = net.like_theta(moment, True, self.count)
            kept.append(moment)
            i += 1
        if optimizer.scratch is not None:
            state.grad = net.like_theta(optimizer.scratch, True, self.count)
            kept.append(optimizer.scratch)
        if optimizer.average is not None:
            state.average = net.like_theta(optimizer.average, True, self.count)
            state.average_start = optimizer.average_start
            kept.append(optimizer.average)
        return state


cdef fastbp_optimizer_t _unpacked(dict packed) except *:
    """The result of `Optimizer.packed` in C; TypeError for a name that the engine does not know."""
    cdef fastbp_optimizer_t state
    memset(&state, 0, sizeof(state))
    try:
        state.rule = <fastbp_rule_t><int>RULES[packed["rule"]]
        for name, value in packed["hyper"].items():
            fastbp_hyper_at(&state, HYPERS[name])[0] = value
        state.clip = <fastbp_clip_t><int>_CLIPS[packed["clip"]]
    except KeyError as unknown:
        raise TypeError(f"the engine has no rule, hyper-parameter or clip {unknown}") from None
    state.limit = packed["limit"]
    state.weight_decay = packed["weight_decay"]
    state.decoupled = packed["decoupled"]
    state.maximize = packed["maximize"]
    state.average_decay = packed["average_decay"]
    return state


@cython.no_gc_clear  # a population outlives its sessions, in a cycle too
cdef class Fit:
    """A training session; it keeps its arrays alive."""

    cdef int rank, n_ranks
    cdef readonly unsigned flags  # of all ranks, if they ended the last run
    cdef readonly int beside  # how many others ran side by side with it, in the last run
    cdef fastbp_fit_t *fit
    cdef fastbp_optimizer_t state
    cdef Packed packed
    cdef Net net
    cdef object optimizer, teams, exchange
    cdef Population population
    cdef tuple kept, rates, smoothing
    cdef fastbp_place_t at

    def __cinit__(self, Net net, theta, x, y, weights, optimizer, ptrdiff_t batch_size,
                  bint shuffle, uint64_t seed, int n_threads=0, ptrdiff_t part_rows=0,
                  population=None, chosen=None, parts=None, rows_of_parts=None):
        cdef fastbp_data_t data = net.data(x, y, weights, x.shape[0])
        cdef fastbp_fit_options_t options = fastbp_fit_options_t(
            batch_size, shuffle, seed, n_threads, part_rows, NULL, NULL)
        cdef fastbp_parts_t divided
        cdef void *params = net.like_theta(theta, True)
        if population is not None:
            options.population = (<Population?>population).at
        if chosen is not None:
            if not (len(chosen) and 0 <= chosen.min() and chosen.max() < data.rows):
                raise IndexError("chosen names rows that are not there")
            data.rows = len(chosen)
            data.chosen = _int32s(chosen, data.rows)
        if parts is not None:
            self.exchange, self.rank, self.n_ranks = parts.exchange, parts.rank, parts.n_ranks
            divided = fastbp_parts_t(parts.n, parts.rank, parts.n_ranks, parts.sync_every,
                                     _call_exchange, <void *>self)
            options.parts = &divided
            data.part_rows = _rows_of_parts(rows_of_parts, parts.n)
        self.net, self.population = net, population
        self.optimizer = optimizer
        self.packed = Packed()
        if parts is not None:
            self.packed.first, self.packed.count = parts.state
        self.state = self.packed.read(net, theta, optimizer, [])
        self.kept = (theta, x, y, weights, chosen)
        _check(fastbp_fit_new(&self.fit, net.net, params, &data, &self.state, &options))

    def __dealloc__(self):
        fastbp_fit_free(self.fit)

    def run(self, double seconds):
        """Run whole steps until the epoch ends or the time is up, with the optimiser as it is now.

        Returns (diverged, epoch done, epoch, step, mean loss so far, last loss).
        """
        shared = self.optimizer._lock
        self.net.lock.acquire(True)
        try:
            shared.acquire()  # after the other one, always
            try:
                return self.steps(seconds)
            finally:
                shared.release()
        finally:
            self.net.lock.release(True)

    cdef tuple steps(self, double seconds):
        cdef fastbp_progress_t progress
        cdef fastbp_status_t status
        cdef list kept = []  # keeps arrays alive until the call has returned
        self.state = self.packed.read(self.net, self.kept[0], self.optimizer, kept)
        with nogil:
            status = fastbp_fit_run(self.fit, seconds, &progress)
        return self.ran(status, progress)

    cdef tuple ran(self, fastbp_status_t status, fastbp_progress_t progress):
        """The result of a run; raises what a loss has raised."""
        self.optimizer._t = self.state.t
        if status != FASTBP_ERR_DIVERGED:
            _check_call(self.net, status)
        self.at = progress.place
        self.flags = progress.flags
        return (status == FASTBP_ERR_DIVERGED, progress.epoch_done, progress.epoch, progress.step,
                progress.loss, progress.last_loss)

    def set_rates(self, rates, momenta=None):
        """Set the learning rates and momenta of an epoch's steps, float64 (n,), or None."""
        cdef size_t n = 0 if rates is None else len(rates)
        cdef double *lr = <double *>_vector_or_null(rates, b"d", n)
        cdef double *mu = <double *>_vector_or_null(momenta, b"d", n)
        _check(fastbp_fit_set_rates(self.fit, lr, mu, n))
        self.rates = (rates, momenta)

    def set_smoothing(self, size_t n, smoothing, dropout):
        """Set the label smoothing (n,) and dropout (n·(L + 1),) of n steps, float64, or None."""
        cdef double *epsilon = <double *>_vector_or_null(smoothing, b"d", n)
        cdef double *p = <double *>_vector_or_null(dropout, b"d", n * len(self.net.widths))
        _check(fastbp_fit_set_smoothing(self.fit, epsilon, p, n))
        self.smoothing = (smoothing, dropout)

    def set_teams(self, sizes):
        """Let step i use sizes[i % n] threads; sizes is int32 (n,). None: measure instead."""
        cdef size_t n = 0 if sizes is None else len(sizes)
        cdef int *c_sizes = NULL if sizes is None else <int *>_int32s(sizes, n)
        _check(fastbp_fit_set_teams(self.fit, c_sizes, n))
        self.teams = sizes

    def set_clocks(self, bint on):
        """Start or stop the clocks of the following runs."""
        _check(fastbp_fit_set_clocks(self.fit, on))

    def report(self):
        """fastbp_fit_report_t as a dict; "layers" has one dict per layer, and [0] for no layer."""
        cdef fastbp_fit_report_t report
        cdef bytearray room = bytearray(len(self.net.widths) * sizeof(fastbp_layer_report_t))
        cdef fastbp_layer_report_t *layers = <fastbp_layer_report_t *><char *>room
        fastbp_fit_report(self.fit, &report, layers)
        return dict(report, products=report.products.decode(),
                    layers=[layers[i] for i in range(len(self.net.widths))])

    def rebind(self, x, y, weights, rows_of_parts=None):
        """Bind other data; ValueError if they have more rows than the session can hold."""
        cdef fastbp_data_t data = self.net.data(x, y, weights, x.shape[0])
        if rows_of_parts is not None:
            data.part_rows = _rows_of_parts(rows_of_parts, len(rows_of_parts))
        _check(fastbp_fit_rebind(self.fit, &data))
        self.kept = (self.kept[0], x, y, weights, None)

    @property
    def place(self):
        """(epoch, step, block, first, loss sum, weight sum) after the last run."""
        return (self.at.epoch, self.at.step, self.at.block, self.at.first, self.at.loss_sum,
                self.at.weight_sum)

    def seek(self, ptrdiff_t epoch, ptrdiff_t step, ptrdiff_t block, ptrdiff_t first,
             double loss_sum, double weight_sum):
        """Continue from such a place; the bound data are its block."""
        self.at = fastbp_place_t(epoch, step, block, first, loss_sum, weight_sum)
        _check(fastbp_fit_seek(self.fit, &self.at))

    def raise_flags(self, unsigned flags):
        """End the runs of all ranks before their next step; then `flags` has those of all."""
        _check(fastbp_fit_raise(self.fit, flags))

    def share(self):
        """What the ranks exchange: fastbp_share_t as a dict of tuples and buffers."""
        cdef fastbp_share_t share
        cdef int n = self.n_ranks
        _check(fastbp_fit_share(self.fit, &share))
        slots = tuple(share.rank_slots[r] for r in range(n))
        first = tuple(share.first[r] for r in range(n + 1))
        piece = tuple(share.piece[r] for r in range(n + 1))
        own = first[self.rank + 1] - first[self.rank]
        return dict(
            first=first, piece=piece, slots=slots,
            head=_buffer(self, share.head, b"d", 1, share.head_size),
            heads=_buffer(self, share.heads, b"d", n, share.head_size),
            squares=_buffer(self, share.squares, b"d", 1, piece[n]),
            sums=_buffer(self, share.sums, self.net.code, slots[self.rank], share.n_params),
            received=_buffer(self, share.received, self.net.code, sum(slots), own))


def shares(Net net, int n_ranks):
    """Where each of n_ranks ranks begins in theta, and the end: which updates what."""
    cdef bytearray room = bytearray((n_ranks + 1) * sizeof(size_t))
    cdef size_t *first = <size_t *><char *>room
    _check(fastbp_shares(net.net, n_ranks, first))
    return tuple(first[r] for r in range(n_ranks + 1))


cdef const ptrdiff_t *_rows_of_parts(rows, size_t n) except NULL:
    cdef const ptrdiff_t[::1] at = rows
    if <size_t>len(at) != n:
        raise ValueError("not the number of parts")
    return &at[0]


cdef fastbp_status_t _call_exchange(void *context, fastbp_exchange_t what) noexcept with gil:
    """The fastbp_exchange_fn of a Fit; an exception is stored as that of a loss is."""
    cdef Fit fit = <Fit>context
    try:
        fit.exchange(<int>what)
        return FASTBP_OK
    except BaseException as error:
        fit.net.errors[False] = error
        return FASTBP_ERR_CALL


cdef class Population:
    """Memory and threads for sessions that run at the same time."""

    cdef fastbp_population_t *at

    def __cinit__(self, int n_threads=0):
        _check(fastbp_population_new(&self.at, n_threads))

    def __dealloc__(self):
        fastbp_population_free(self.at)

    def interleave(self, choice):
        """Whether sessions run side by side: None where it is faster, True or False."""
        forced = FASTBP_INTERLEAVE_ALWAYS if choice else FASTBP_INTERLEAVE_NEVER
        fastbp_population_interleave(self.at, FASTBP_INTERLEAVE_AUTO if choice is None else forced)

    def run(self, list turns):
        """Run turns (fit, seconds, epochs), until the seconds or so many epochs are over.

        Returns for each ([(mean loss, seconds) of an epoch that ended, ...], what `Fit.run` returns
        or the exception that it would raise).
        """
        fits = [turn[0] for turn in turns]
        locks = sorted({(<Fit>fit).net.lock for fit in fits}, key=id)
        locks += sorted({(<Fit>fit).optimizer._lock for fit in fits}, key=id)  # always after those
        held = []
        try:
            for lock in locks:
                lock.__enter__()
                held.append(lock)
            return self.steps(turns)
        finally:
            for lock in reversed(held):
                lock.__exit__(None, None, None)

    cdef list steps(self, list turns):
        cdef Py_ssize_t n = len(turns), i, first = 0
        cdef bytearray room = bytearray(n * sizeof(fastbp_turn_t))
        cdef fastbp_turn_t *turn = <fastbp_turn_t *><char *>room
        cdef fastbp_status_t status
        cdef Fit fit
        cdef list kept = [], results = []
        times = np.empty((2, sum([epochs for _, _, epochs in turns])))
        cdef double *loss = <double *>_vector(times[0], b"d", times.shape[1], True)
        cdef double *took = <double *>_vector(times[1], b"d", times.shape[1], True)
        for i in range(n):
            fit, turn[i].seconds, turn[i].epochs = turns[i]
            fit.state = fit.packed.read(fit.net, fit.kept[0], fit.optimizer, kept)
            turn[i].fit, turn[i].loss, turn[i].took = fit.fit, loss + first, took + first
            first += turn[i].epochs
        with nogil:
            status = fastbp_population_run(self.at, turn, n)
        _check(status)
        for i in range(n):
            first = turn[i].loss - loss
            (<Fit>turns[i][0]).beside = turn[i].beside
            ended = times[:, first:first + turn[i].ended].T.tolist()
            try:
                results.append((ended, (<Fit>turns[i][0]).ran(turn[i].status, turn[i].progress)))
            except Exception as error:
                results.append((ended, error))
        return results


# ---- .csv files ----------------------------------------------------------------------------------


cdef fastbp_csv_block_t _block(object block, size_t start, size_t stop, bint last) except *:
    """The bytes start ... stop of a bytearray."""
    cdef Matrix found = _locate(block, b"B")
    if start > stop or stop > <size_t>found.cols:
        raise ValueError("the block is shorter than that")
    return fastbp_csv_block_t(<const char *>found.at + start, stop - start, last)


cdef class CsvTexts:
    """The distinct texts of n columns, by their codes; max_bytes as in texts.h, or -1 for any."""

    cdef fastbp_texts_t *texts
    cdef ptrdiff_t n

    def __cinit__(self, ptrdiff_t n, ptrdiff_t max_bytes=-1):
        key = c_array("Q", os.urandom(16))
        self.texts = fastbp_texts_new(n, <size_t>max_bytes, key[0], key[1])
        if self.texts == NULL:
            raise MemoryError
        self.n = n

    def __dealloc__(self):
        fastbp_texts_free(self.texts)

    def take(self, ptrdiff_t column, values=None, codes=None, ptrdiff_t few=0):
        """Close a column; return (its texts, what is wrong with the last, codes of short ones).

        The texts are stripped, or None if it is closed; short ones have at most `few` characters.
        With the values of `CsvPass.numbers`, (rows, n), also read codes (rows,), int32: the number
        of texts where there is none, -1 where there is a number.
        """
        cdef int64_t code, n_texts = fastbp_texts_count(self.texts, column)
        cdef Matrix rows
        cdef list found = [], short = []
        cdef size_t size = 0
        cdef const char *at
        cdef str text
        error = None
        for code in range(n_texts):
            at = fastbp_texts_at(self.texts, column, code, &size)
            try:
                text = at[:size].decode()
            except UnicodeDecodeError as caught:
                error, text = caught, ""
            if memchr(at, 0, size) != NULL:
                error = ValueError("it contains a NUL byte")
            # most have no blank of Unicode, or 0x1c ... 0x1f, at an end
            ends = size == 0 or (32 < at[0] < 127 and 32 < at[size - 1] < 127)
            found.append(text if ends else text.strip())
            if len(<str>found[code]) <= few:
                short.append(code)
            if error is not None:
                break
        if values is not None and n_texts >= 0:
            rows = _locate(values, b"d")
            if rows.cols != self.n:
                raise ValueError(f"expected values of {self.n} columns")
            fastbp_csv_codes(_int32s(codes, rows.rows, True), <double *>rows.at + column,
                             rows.rows, rows.ld, <int32_t>n_texts)
        fastbp_texts_close(self.texts, column)
        return None if n_texts < 0 else found, error, short


cdef class CsvPass:
    """One pass over a .csv file, block by block. Each method reads the bytes start ... stop.

    Methods that read records return the number of records, the number of their bytes, and the fault
    of the next record: "ragged", "quote", "open", "long", or "" if there is none.
    """

    cdef fastbp_csv_t csv

    def __cinit__(self, str delimiter, str decimal, str thousands, ptrdiff_t n=0, str comment=""):
        self.csv.delimiter = <char>ord(delimiter)
        self.csv.decimal = <char>ord(decimal)
        self.csv.thousands = <char>ord(thousands) if thousands else 0
        self.csv.comment = <char>ord(comment) if comment else 0
        self.csv.n_columns = n
        self.csv.line = 1

    @property
    def line(self):
        """The line, from 1, in which the next record (or the faulty one) begins."""
        return self.csv.line

    @property
    def n_cells(self):
        """Number of cells of the last record, or of the ragged one."""
        return self.csv.n_cells

    @property
    def n_marked(self):
        """Number of cells with a decimal comma or thousands marks."""
        return self.csv.n_marked

    def width(self, block, size_t start, size_t stop, bint last):
        """(number of cells of the first record, fault); 0 cells if the block ends within it."""
        cdef fastbp_csv_block_t bytes = _block(block, start, stop, last)
        cdef ptrdiff_t found = 0
        cdef fastbp_csv_status_t status
        with nogil:
            status = fastbp_csv_width(&self.csv, &bytes, &found)
        return found, _CSV_FAULTS[status]

    def numbers(self, block, size_t start, size_t stop, bint last, values, lines, counts, first,
                kinds, texts=None):
        """Read as many records as fit into values (rows, columns) and lines (rows,)."""
        cdef fastbp_csv_block_t bytes = _block(block, start, stop, last)
        cdef Matrix rows = _locate(values, b"d", True)
        cdef size_t n_counts = self.csv.n_columns * FASTBP_CELL_KINDS
        cdef fastbp_csv_columns_t columns
        cdef int64_t *c_lines = _int64s(lines, rows.rows)
        cdef fastbp_csv_status_t status
        cdef ptrdiff_t n_rows = 0
        cdef size_t used = 0
        if rows.cols != self.csv.n_columns or (rows.rows > 1 and rows.ld != rows.cols):
            raise ValueError(f"expected dense rows of {self.csv.n_columns}")
        columns.counts = _int64s(counts, n_counts)
        columns.first = _int64s(first, n_counts)
        columns.kinds = <unsigned char *>_vector(kinds, b"B", self.csv.n_columns, True)
        columns.texts = NULL if texts is None else (<CsvTexts?>texts).texts
        if texts is not None and (<CsvTexts>texts).n != self.csv.n_columns:
            raise ValueError(f"expected the texts of {self.csv.n_columns} columns")
        with nogil:
            status = fastbp_csv_numbers(&self.csv, &bytes, rows.rows, &columns,
                                        <double *>rows.at, c_lines, &n_rows, &used)
        return n_rows, used, _CSV_FAULTS[status]

    def texts(self, block, size_t start, size_t stop, bint last, tuple chosen, CsvTexts texts,
              codes, wanted=None):
        """Read the texts of the columns `chosen`, in ascending order, of at most len(codes) rows.

        texts has len(chosen) columns. codes (rows, len(chosen)) is int64: -1 where wanted, uint8 of
        the same shape or None, is 0. A closed column of texts is the fault "memory" or "limit".
        """
        cdef fastbp_csv_block_t bytes = _block(block, start, stop, last)
        cdef ptrdiff_t n = <ptrdiff_t>len(chosen), n_rows = 0, max_rows = len(codes)
        cdef int64_t *c_codes = _int64s(codes, max_rows * n)
        cdef unsigned char *use = <unsigned char *>_vector_or_null(wanted, b"B", max_rows * n)
        c_chosen = c_array(_PTRDIFF, chosen)
        cdef ptrdiff_t *columns = <ptrdiff_t *>_vector(c_chosen, ord(_PTRDIFF), n)
        cdef fastbp_csv_status_t status
        cdef size_t used = 0
        if texts is None or texts.n != n:
            raise ValueError(f"expected the texts of {n} columns")
        with nogil:
            status = fastbp_csv_texts(&self.csv, &bytes, max_rows, columns, n, use, texts.texts,
                                      c_codes, &n_rows, &used)
        return n_rows, used, _CSV_FAULTS[status]


# ---- single kernels and threads, for tests and benchmarks ----------------------------------------


def vmath(str name, x, out=None):
    """Return f(x) of each element by the engine; x is 1-D, float32 or float64."""
    cdef int op = VMATH[name]
    cdef char code = b"d" if x.dtype.itemsize == 8 else b"f"
    out = np.empty_like(x) if out is None else out
    cdef ptrdiff_t n = x.shape[0]
    cdef void *source = _vector(x, code, n)
    cdef void *to = _vector(out, code, n, True)
    with nogil:
        _check(fastbp_vmath(op, _dtype(code == b"d"), n, source, to))
    return out


cdef class Program:
    """A program as the engine reads it, of any object with the attributes of gates' Program."""

    cdef fastbp_program_t at
    cdef tuple kept  # what `at` points to

    def __cinit__(self, program):
        kinds = bytes(_SLOTS[kind] for kind in (*program.inputs, *program.temporaries))
        constants = c_array("d", program.constants)
        code = c_array("h", [
            number for name, out, x, y, z in program.code
            for number in (OPERATIONS[name], out, x, y, z)])  # fastbp_instruction_t
        outputs = c_array("H", program.outputs)
        self.kept = kinds, constants, code, outputs
        self.at = fastbp_program_t(
            <int>len(program.inputs), <int>len(constants), <int>len(program.temporaries),
            <int>len(program.code), <int>len(outputs),
            <const unsigned char *>_vector(kinds, b"B", len(kinds)),
            <const double *>_vector(constants, b"d", len(constants)),
            <const fastbp_instruction_t *>_vector(code, b"h", len(code)),
            <const uint16_t *>_vector(outputs, b"H", len(outputs)))


def run_program(program, inputs, tuple shape, bint f64=False, *, by_rows=None, scale=None, out=None,
                int repeats=1):
    """Return the outputs of a program on slots of `shape`, (rows, cols), as a list of arrays.

    inputs: "full" has that shape, or (cols,) for equal rows; "row" is (rows,) and "one" is (1,).
    The last may be labels, int32, instead of one-hot rows. Outputs of kind "row" are float64.
    by_rows: whether to compute as losses are, by default if there is a "row"; scale: (rows,)
    factors of the "full" outputs, then; out: arrays for the outputs; repeats: how often to run.
    """
    cdef Program packed = Program(program)
    cdef char code = b"d" if f64 else b"f"
    cdef fastbp_program_call_t call
    cdef Matrix at
    cdef int n = packed.at.n_inputs, i
    cdef bytearray room = bytearray(
        (n + packed.at.n_outputs) * (sizeof(void *) + sizeof(ptrdiff_t)))
    cdef void **to = <void **><char *>room
    cdef ptrdiff_t *ld = <ptrdiff_t *>(to + n + packed.at.n_outputs)
    kinds = (*program.inputs, *["one"] * packed.at.n_constants, *program.temporaries)
    rows, cols = shape
    call.labels = NULL
    for i, (kind, array) in enumerate(zip(program.inputs, inputs, strict=True)):
        at = _locate(array, code, False, True)
        if at.element == FASTBP_X_I32 and i == n - 1:
            call.labels = _int32s(array, rows)
            continue
        room_of = {"full": (rows if array.ndim == 2 else 1, cols), "row": (1, rows), "one": (1, 1)}
        if at.element != FASTBP_X_OWN or (at.rows, at.cols) != room_of[kind]:
            raise ValueError(f"input {i} is not {kind} numbers of this shape and dtype")
        to[i], ld[i] = at.at, at.ld if array.ndim == 2 else 0
    if out is None:
        out = [np.empty(shape, "d" if f64 else "f") if kinds[slot] == "full" else np.empty(rows)
               for slot in program.outputs]
    for i, (slot, array) in enumerate(zip(program.outputs, out, strict=True), n):
        full = kinds[slot] == "full"
        at = _locate(array, code if full else b"d", True)
        if (at.rows, at.cols) != (shape if full else (1, rows)):
            raise ValueError("an output does not have the shape of its slot")
        to[i], ld[i] = at.at, at.ld
    call.program, call.dtype, call.rows, call.cols = &packed.at, _dtype(f64), rows, cols
    call.by_rows = "row" in kinds if by_rows is None else by_rows
    call.c_in, call.ld_in = <const void *const *>to, ld
    call.out, call.ld_out = to + n, ld + n
    call.scale = _vector_or_null(scale, code, rows)
    call.repeats = repeats
    with nogil:
        _check(fastbp_run_program(&call))
    return out


def round_factor(x, int precision, out=None):
    """Return x rounded as a factor of products is; precision is a value of fastbp_precision_t."""
    cdef char code = b"d" if x.dtype.itemsize == 8 else b"f"
    out = np.empty_like(x) if out is None else out
    cdef Matrix source = _locate(x, code)
    cdef Matrix to = _locate(out, code, True)
    if x.shape != out.shape:
        raise ValueError("out does not have the shape of x")
    with nogil:
        _check(fastbp_round(
            _dtype(code == b"d"), <fastbp_precision_t>precision, source.rows, source.cols,
            source.at, source.ld, to.at, to.ld))
    return out


def gemm(str form, a, b, c, *, bias=None, str activation="identity", double alpha=0.0, aux=None,
         z=None, bint panels=False, part_rows=None, int repeats=1):
    """Compute c by one of the engine's products: "nn" A B, "tn" A^T B or "nt" A B^T.

    With aux, which is the a or the z that SLOPES[activation] names, c = (product) * sigma'.
    Otherwise z = product + bias, unless it is None, and c = sigma(product + bias). panels: whether
    "nn" copies B into panels first. part_rows, intp (n,): "tn" sums such parts of the rows by
    themselves. repeats: how often the product is computed.
    """
    cdef const ptrdiff_t[::1] parts = part_rows
    cdef char code = b"d" if a.dtype.itemsize == 8 else b"f"
    cdef Matrix at_a = _locate(a, code), at_b = _locate(b, code), at_c = _locate(c, code, True)
    cdef Matrix at_z = _locate_or_null(z, code, True), at_aux = _locate_or_null(aux, code)
    cdef fastbp_gemm_call_t call
    call.form = _GEMM_FORMS[form]
    call.dtype = _dtype(code == b"d")
    call.m, call.n = at_c.rows, at_c.cols
    call.k = at_a.rows if form == "tn" else at_a.cols
    if (at_a.rows, at_a.cols) != ((call.k, call.m) if form == "tn" else (call.m, call.k)):
        raise ValueError("a does not fit c")
    if (at_b.rows, at_b.cols) != ((call.n, call.k) if form == "nt" else (call.k, call.n)):
        raise ValueError("b does not fit a and c")
    for name, array in (("z", z), ("aux", aux)):
        if array is not None and array.shape != c.shape:
            raise ValueError(f"{name} does not have the shape of c")
    call.a, call.lda = at_a.at, at_a.ld
    call.b, call.ldb = at_b.at, at_b.ld
    call.c, call.ldc = at_c.at, at_c.ld
    call.z, call.ldz = at_z.at, at_z.ld
    call.aux, call.ldaux = at_aux.at, at_aux.ld
    call.bias = _vector_or_null(bias, code, call.n)
    call.activation, call.alpha = ACTIVATIONS[activation], alpha
    call.panels, call.repeats = panels, repeats
    call.part_rows = NULL if part_rows is None or len(parts) == 0 else &parts[0]
    call.n_parts = 0 if part_rows is None else len(parts)
    with nogil:
        _check(fastbp_gemm(&call))


cdef int _bf16_forms(fastbp_bf16_forms_t *to, tuple forms, ptrdiff_t rows, ptrdiff_t cols,
                     int planes) except -1:
    """Set the pointers to the buffers of the forms, which are uint16 on a cache line, or None."""
    cdef size_t elems = fastbp_bf16_elems(rows, cols, planes)
    for i in range(4):
        to.form[i] = <uint16_t *>_vector_or_null(forms[i], b"H", elems, True)


def bf16_pack(x, tuple forms, *, int planes=1, bint listed=False, int repeats=1):
    """Pack x, float32, into up to four forms of factors: left, left_t, right, right_t, or None.

    planes: 1 for bfloat16, 2 for the sum of two. listed: read x by a list of pointers to its rows.
    """
    cdef Matrix at = _locate(x, b"f")
    cdef fastbp_bf16_forms_t to
    _bf16_forms(&to, forms, at.rows, at.cols, planes)
    with nogil:
        _check(fastbp_bf16_pack(<const float *>at.at, at.ld, at.rows, at.cols, planes, listed,
                                repeats, &to))


def bf16_product(a, b, c, *, int planes=1, bias=None, str activation="identity", double alpha=0.0,
                 aux=None, z=None, tuple forms=(None,) * 4, int repeats=1):
    """Compute c = A B of float32 matrices, rounded as by `bf16_pack`, with the epilogue of `gemm`.

    forms receive c as factors. repeats: how often the product is computed, after one packing.
    """
    cdef Matrix at_a = _locate(a, b"f"), at_b = _locate(b, b"f"), at_c = _locate(c, b"f", True)
    cdef Matrix at_z = _locate_or_null(z, b"f", True), at_aux = _locate_or_null(aux, b"f")
    cdef fastbp_bf16_call_t call
    call.m, call.n, call.k = at_c.rows, at_c.cols, at_a.cols
    if at_a.rows != call.m or (at_b.rows, at_b.cols) != (call.k, call.n):
        raise ValueError("a and b do not fit c")
    for name, array in (("z", z), ("aux", aux)):
        if array is not None and array.shape != c.shape:
            raise ValueError(f"{name} does not have the shape of c")
    call.planes, call.repeats = planes, repeats
    call.a, call.lda = <const float *>at_a.at, at_a.ld
    call.b, call.ldb = <const float *>at_b.at, at_b.ld
    call.c, call.ldc = <float *>at_c.at, at_c.ld
    call.z, call.ldz = <float *>at_z.at, at_z.ld
    call.aux, call.ldaux = <const float *>at_aux.at, at_aux.ld
    call.bias = <const float *>_vector_or_null(bias, b"f", call.n)
    call.activation, call.alpha = ACTIVATIONS[activation], alpha
    _bf16_forms(&call.to, forms, call.m, call.n, planes)
    with nogil:
        _check(fastbp_bf16_product(&call))


def fma_peak(bint f64=False, double seconds=0.2):
    """GFLOP/s of multiply-adds held in registers, on one core, on the chosen ISA."""
    cdef double peak
    with nogil:
        peak = fastbp_fma_peak(_dtype(f64), seconds)
    return peak


def bf16_peak(int planes=1, double seconds=0.2):
    """GFLOP/s that products in bfloat16 can reach on one core; 0 if the chosen ISA has none."""
    cdef double peak
    with nogil:
        peak = fastbp_bf16_peak(planes, seconds)
    return peak


def memory_rate(bint f64=False, size_t bytes=1 << 28, int n_threads=0, double seconds=0.05):
    """GB/s, read and written, of a += s b over `bytes` of memory, on up to n_threads threads."""
    cdef double rate
    with nogil:
        rate = fastbp_memory_rate(_dtype(f64), bytes, n_threads, seconds)
    return rate


def pool_latency(int n_threads, ptrdiff_t repeats):
    """Mean seconds of a region of the thread pool with two barriers and no work."""
    cdef double seconds
    with nogil:
        seconds = fastbp_pool_latency(n_threads, repeats)
    return seconds
