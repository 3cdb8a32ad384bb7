# Training sessions; part of _core.pyx.

from libc.stdint cimport uint64_t


cdef class Fit:
    """A training session: keeps the arrays it was given until it goes."""

    cdef fastbp_fit_t *fit
    cdef fastbp_optimizer_t state
    cdef Net net
    cdef object optimizer
    cdef tuple kept, rates
    cdef fastbp_place_t at

    def __cinit__(self, Net net, theta, x, y, weights, optimizer, long batch_size, bint shuffle,
                  uint64_t seed, int n_threads=0, long part_rows=0):
        cdef fastbp_data_t data = net.data(x, y, weights, x.shape[0])
        cdef fastbp_fit_options_t options = fastbp_fit_options_t(
            batch_size, shuffle, seed, n_threads, part_rows)
        cdef void *params = _vector(theta, net.code, net.n_params, True)
        self.net = net
        self.optimizer = optimizer
        self.state = _optimizer(net, optimizer, [])
        self.kept = (theta, x, y, weights)
        _check(fastbp_fit_new(&self.fit, net.net, params, &data, &self.state, &options))

    def __dealloc__(self):
        fastbp_fit_free(self.fit)

    def run(self, double seconds):
        """Whole steps until the epoch ends or the time is up, with the optimiser as it now is.

        Returns (diverged, epoch done, epoch, step, mean loss so far, last loss).
        """
        cdef fastbp_progress_t progress
        cdef fastbp_status_t status
        kept = []  # for the length of the call
        self.state = _optimizer(self.net, self.optimizer, kept)
        with nogil:
            status = fastbp_fit_run(self.fit, seconds, &progress)
        self.optimizer._t = self.state.t
        if status != FASTBP_ERR_DIVERGED:
            _check_call(self.net, status)
        self.at = progress.place
        return (status == FASTBP_ERR_DIVERGED, progress.epoch_done, progress.epoch, progress.step,
                progress.loss, progress.last_loss)

    def set_rates(self, rates, momenta=None):
        """float64 learning rates (n,) of the steps of an epoch, and momenta; None for neither."""
        cdef size_t n = 0 if rates is None else len(rates)
        cdef const double *lr = NULL if rates is None else <double *>_vector(rates, b"d", n)
        cdef const double *mu = NULL if momenta is None else <double *>_vector(momenta, b"d", n)
        _check(fastbp_fit_set_rates(self.fit, lr, mu, n))
        self.rates = (rates, momenta)

    def set_clocks(self, bint on):
        """Start or stop the clocks of the runs to come."""
        _check(fastbp_fit_set_clocks(self.fit, on))

    def report(self):
        """fastbp_fit_report_t as a dict, and under "layers" what belongs to each, [0] to none."""
        cdef fastbp_fit_report_t report
        room = bytearray(len(self.net.widths) * sizeof(fastbp_layer_report_t))
        cdef fastbp_layer_report_t *layers = <fastbp_layer_report_t *><char *>room
        fastbp_fit_report(self.fit, &report, layers)
        return dict(report, layers=[layers[i] for i in range(len(self.net.widths))])

    def rebind(self, x, y, weights):
        """Other data: ValueError if there are more rows than the session has room for."""
        cdef fastbp_data_t data = self.net.data(x, y, weights, x.shape[0])
        _check(fastbp_fit_rebind(self.fit, &data))
        self.kept = (self.kept[0], x, y, weights)

    @property
    def place(self):
        """(epoch, step, block, first, loss sum, weight sum): where the last run ended."""
        return (self.at.epoch, self.at.step, self.at.block, self.at.first, self.at.loss_sum,
                self.at.weight_sum)

    def seek(self, long epoch, long step, long block, long first, double loss_sum,
             double weight_sum):
        """Go on from such a place, of the data that is bound."""
        self.at = fastbp_place_t(epoch, step, block, first, loss_sum, weight_sum)
        _check(fastbp_fit_seek(self.fit, &self.at))
