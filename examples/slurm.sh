#!/bin/bash
# Train on several machines of a cluster with Slurm:
#
#     sbatch examples/slurm.sh
#
# Run this in a folder that all machines see. Change the lines below to fit your cluster: most
# clusters also want --partition and --account.

# Ranks: one for each socket (or NUMA node) of each machine is a good choice. Their number must not
# exceed `parts` in many_machines.py, which is 16.
#SBATCH --job-name=fastbp
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=2
# Threads of each rank.
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00

# Slurm sends SIGTERM to all ranks 120 seconds before the time limit. The fit then writes a
# checkpoint, and the ranks end. The commands at the end of this script put the job back into the
# queue, and it continues from the checkpoint.
#SBATCH --signal=TERM@120

# Slurm itself puts the job back into the queue if a machine fails, or if the job has to make room.
#SBATCH --requeue

# One file for the output of all runs of this job.
#SBATCH --output=fastbp-%j.log
#SBATCH --open-mode=append

set -u

# Load Python here, for example: source "$HOME/venv/bin/activate"

# OMP_NUM_THREADS, which some clusters set, would take precedence.
unset OMP_NUM_THREADS
export FASTBP_NUM_THREADS="$SLURM_CPUS_PER_TASK"

# If the machines have different processors, choose an instruction set that all of them have. The
# check below says which one.
# export FASTBP_ISA=avx2

# srun does not take the number of threads from the lines above by itself, and may have to be told
# which protocol the MPI uses: `srun --mpi=list` shows what the cluster offers. An MPICH that was
# installed by pip takes pmi2.
ranks=(srun "--cpus-per-task=$SLURM_CPUS_PER_TASK" --mpi=pmi2)

# What the ranks are, how fast messages are, and whether all machines compute the same bits.
"${ranks[@]}" python -m fastbp.distributed --check || exit 1

"${ranks[@]}" python examples/many_machines.py
status=$?

# 143 is 128 + SIGTERM (15): the time limit came first.
if [ "$status" -eq 143 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
