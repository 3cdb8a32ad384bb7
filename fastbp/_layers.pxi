# Options of layers, from Python to C; part of _core.pyx.


cdef fastbp_layer_options_t *_layer_options(tuple layers) except NULL:
    """One fastbp_layer_options_t for each tuple of its fields; to be freed."""
    cdef fastbp_layer_options_t *options = <fastbp_layer_options_t *>malloc(
        len(layers) * sizeof(fastbp_layer_options_t))
    if options == NULL:
        raise MemoryError()
    for i, (no_bias, norm, eps, dropout, residual, max_norm, non_negative) in enumerate(layers):
        options[i].no_bias = no_bias
        options[i].norm = <fastbp_norm_t><int>norm
        options[i].norm_eps = eps
        options[i].dropout = dropout
        options[i].residual = residual
        options[i].max_norm = max_norm
        options[i].non_negative = non_negative
    return options
