# Kernels and threads in the open, for tests and benchmarks; part of _core.pyx.


_VMATH = {
    "exp": FBP_VMATH_EXP, "expm1": FBP_VMATH_EXPM1, "log": FBP_VMATH_LOG,
    "log1p": FBP_VMATH_LOG1P, "tanh": FBP_VMATH_TANH, "sigmoid": FBP_VMATH_SIGMOID,
    "softplus": FBP_VMATH_SOFTPLUS, "silu": FBP_VMATH_SILU, "mish": FBP_VMATH_MISH,
    "gelu": FBP_VMATH_GELU, "gelu_tanh": FBP_VMATH_GELU_TANH, "sin": FBP_VMATH_SIN,
    "cos": FBP_VMATH_COS,
}


def vmath(str name, x, out=None):
    """f(x) by the engine's vector function, element by element; x is 1-D, float32 or float64."""
    import numpy

    cdef int op = _VMATH[name]
    cdef char code = b"d" if x.dtype.itemsize == 8 else b"f"
    out = numpy.empty_like(x) if out is None else out
    cdef long n = x.shape[0]
    cdef void *source = _vector(x, code, n)
    cdef void *to = _vector(out, code, n, True)
    cdef fastbp_dtype_t dtype = FASTBP_F64 if code == b"d" else FASTBP_F32
    cdef fastbp_status_t status
    with nogil:
        status = fastbp_vmath(op, dtype, n, source, to)
    _check(status)
    return out


def gemm(str form, a, b, c, *, bias=None, int activation=0, double alpha=0, aux=None, z=None,
         bint panels=False, int repeats=1):
    """C by one of the engine's products: "nn" A B, "tn" A^T B, "nt" A B^T, epilogue included.

    aux given, the a or z of Activation.derivative_from: C = (product) * sigma'; otherwise
    C = sigma(product + bias), z = product + bias.
    """
    cdef char code = b"d" if a.dtype.itemsize == 8 else b"f"
    cdef Matrix at_a = _locate(a, code)
    cdef Matrix at_b = _locate(b, code)
    cdef Matrix at_c = _locate(c, code, True)
    cdef Matrix at_z, at_aux
    cdef fastbp_gemm_call_t call
    cdef fastbp_status_t status
    call.form = {"nn": FASTBP_GEMM_NN, "tn": FASTBP_GEMM_TN, "nt": FASTBP_GEMM_NT}[form]
    call.dtype = FASTBP_F64 if code == b"d" else FASTBP_F32
    call.m, call.n = at_c.rows, at_c.cols
    call.k = at_a.rows if form == "tn" else at_a.cols
    if (at_a.rows, at_a.cols) != ((call.k, call.m) if form == "tn" else (call.m, call.k)):
        raise ValueError("a does not fit c")
    if (at_b.rows, at_b.cols) != ((call.n, call.k) if form == "nt" else (call.k, call.n)):
        raise ValueError("b does not fit a and c")
    call.a, call.lda = at_a.at, at_a.ld
    call.b, call.ldb = at_b.at, at_b.ld
    call.c, call.ldc = at_c.at, at_c.ld
    call.bias = NULL if bias is None else _vector(bias, code, call.n)
    call.z = call.aux = NULL
    call.ldz = call.ldaux = 0
    for name, array in (("z", z), ("aux", aux)):
        if array is not None and array.shape != c.shape:
            raise ValueError(f"{name} does not have the shape of c")
    if z is not None:
        at_z = _locate(z, code, True)
        call.z, call.ldz = at_z.at, at_z.ld
    if aux is not None:
        at_aux = _locate(aux, code)
        call.aux, call.ldaux = at_aux.at, at_aux.ld
    call.activation, call.alpha = activation, alpha
    call.panels, call.repeats = panels, repeats
    with nogil:
        status = fastbp_gemm(&call)
    _check(status)


def fma_peak(bint f64=False, double seconds=0.2):
    """GFLOP/s of multiply-adds held in registers, on one core, on the chosen ISA."""
    cdef double peak
    with nogil:
        peak = fastbp_fma_peak(FASTBP_F64 if f64 else FASTBP_F32, seconds)
    return peak


def memory_rate(bint f64=False, size_t bytes=1 << 28, int n_threads=0, double seconds=0.05):
    """GB/s of a += s b over so much memory, read and written, on up to n_threads threads."""
    cdef double rate
    with nogil:
        rate = fastbp_memory_rate(FASTBP_F64 if f64 else FASTBP_F32, bytes, n_threads, seconds)
    return rate


def pool_latency(int n_threads, long repeats):
    """Seconds that a region of the thread pool with two barriers and no work takes, on average."""
    cdef double seconds
    with nogil:
        seconds = fastbp_pool_latency(n_threads, repeats)
    return seconds
