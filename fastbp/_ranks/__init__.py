"""What a fit on many ranks needs of MPI: collective calls on a communicator of mpi4py."""
