#!/bin/bash
# One search on SLURM: a Ray cluster of this allocation's nodes, for as long as the search runs. From the checkout:
#   sbatch deploy/slurm.sh my.yaml --name first
# CHANGE nodes, processors, GPUs and time; the folder must be one that all nodes see.
#SBATCH --job-name=tune_kd
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
##SBATCH --gpus-per-node=1
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
ip=$(srun --nodes=1 --ntasks=1 -w "${nodes[0]}" hostname -I | awk '{print $1}')
port=$((20000 + SLURM_JOB_ID % 20000))
# Who has this token may use the cluster; it lies in your home, which all nodes see.
export RAY_AUTH_MODE=token
ray get-auth-token --generate >/dev/null
# When the search has ended, nothing has to be waited for on the nodes.
export RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=0

steps=()
end() { # Ray's processes are steps of this job, so nothing of anybody else is stopped.
    kill "${steps[@]}" 2>/dev/null || true
    wait "${steps[@]}" 2>/dev/null || true
}
trap end EXIT

# Since SLURM 22.05 a step has one processor unless it says how many.
step=(srun --nodes=1 --ntasks=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" -w)
"${step[@]}" "${nodes[0]}" ray start --head --node-ip-address="$ip" --port="$port" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false --block &
steps+=($!)
for _ in $(seq 120); do
    ray status --address="$ip:$port" >/dev/null 2>&1 && break
    sleep 1
done
for node in "${nodes[@]:1}"; do
    "${step[@]}" "$node" ray start --address="$ip:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
    steps+=($!)
done

# SLURM's TERM, two minutes before the time is up, stops the search cleanly: the same command with --resume goes on.
python -m tune_kd.search "$@" --address "$ip:$port" --storage "${TUNE_KD_STORAGE:-$PWD/runs/storage}" &
search=$!
trap 'kill -TERM $search' TERM
while kill -0 "$search" 2>/dev/null; do wait "$search" || true; done
wait "$search"
