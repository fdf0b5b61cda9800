#!/bin/sh
# properties = {properties}
# One step under sbatch; Snakemake fills in the braces. SIGTERM (time limit, pre-emption, scancel) reaches the step, this
# shell waits for its end, and the exit mark tells the end to status.py once squeue has forgotten the job.
mark=logs/slurm/.exit/$SLURM_JOB_ID
mkdir -p logs/slurm/.exit && rm -f "$mark" # left by a run that was requeued
unset SLURM_NTASKS # Lightning would take it for srun's word on how many processes there are
trap 'trap : TERM; kill -TERM 0' TERM # 0: all processes of this job
(
    trap : TERM
    {exec_job}
) &
while wait $!; code=$?; kill -0 $! 2>/dev/null; do :; done # SIGTERM interrupts wait
echo $code >"$mark.new" && mv "$mark.new" "$mark"
exit $code
