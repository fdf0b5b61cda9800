#!/usr/bin/env bash
# A throwaway SLURM for tests, all on one machine: no systemd, no cgroups, nothing written in /etc.
#   one-node-slurm.sh install    # root: the Debian packages
#   one-node-slurm.sh start      # munged, slurmctld, slurmd, until the nodes are idle
#   one-node-slurm.sh down | up  # slurmctld alone
#   one-node-slurm.sh stop       # scancel, end our own pids, delete SLURM_DIR
# Its clients need SLURM_CONF=$SLURM_DIR/slurm.conf. Settings: SLURM_DIR (short: unix sockets), PORT0 (2 ports, and one
# more for each further node), NODES (1; a slurmd each), and NODE_CPUS, NODE_MEM (MB), NODE_GPUS: what SLURM believes of
# each. Runs as root or as any one user.
# Partitions: cpu (default), gpu, low (pre-empted and requeued for jobs of the others).
# Memory limits are held by polling each second (OverMemoryKill): such a job ends as FAILED, not OUT_OF_MEMORY.
set -euo pipefail
D=$(realpath -m "${SLURM_DIR:-$(dirname "$(mktemp -u)")/one-node-slurm.$UID}")
CPUS=${NODE_CPUS:-8} MEM=${NODE_MEM:-8192} GPUS=${NODE_GPUS:-3} P=${PORT0:-16817} WAIT=30 ME=$(id -un)
ALL=$(seq -f n%g "${NODES:-1}") # names of the nodes
DAEMONS="$ALL slurmctld munged" # in stop order; a node's slurmd has its name
export SLURM_CONF=$D/slurm.conf PATH=$PATH:/usr/sbin:/sbin

die() { echo "one-node-slurm: $*" >&2; exit 1; }
fail() { tail -n 8 "$D"/log/*.log >&2; die "$@"; }
wait_for() { local what=$1 end=$((SECONDS + WAIT)); shift; until "$@" >/dev/null 2>&1; do [ $SECONDS -lt $end ] || fail "no $what within ${WAIT}s"; sleep 0.1; done; }
daemon() { local name=$1; shift; setsid "$@" >>"$D/log/$name.log" 2>&1 </dev/null & echo $! >"$D/run/$name.pid"; } # in the foreground: $! is the daemon
ours() { local p; p=$(cat "$D/run/$1.pid" 2>/dev/null) && { tr '\0' '\n' <"/proc/$p/environ" | grep -qxF "SLURM_CONF=$SLURM_CONF"; } 2>/dev/null && echo "$p"; }
end() { local p i; p=$(ours "$1") || return 0; kill "$p"; for ((i = 0; i < 100; i++)); do [ -d "/proc/$p" ] || return 0; sleep 0.1; done; kill -9 "$p"; }
wipe() { [ ! -e "$D" ] || [ -e "$D/.one-node-slurm" ] || die "$D was not made by this script: not deleting it"; rm -rf "$D"; }
idle() { [ "$(sinfo -h -N -p cpu -o %T | sort -u)" = idle ]; }
controller() { daemon slurmctld slurmctld -D; wait_for slurmctld scontrol ping; }

write_conf() {
  local i n
  for ((i = 0; i < GPUS; i++)); do # fake GPUs: File= must be a character device; without cgroups nothing opens it
    ln -s /dev/null "$D/dev/nvidia$i"
    for n in $ALL; do echo "NodeName=$n Name=gpu Type=fake File=$D/dev/nvidia$i" >>"$D/gres.conf"; done
  done
  cat >"$SLURM_CONF" <<CONF
ClusterName=onenode
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=$ME
SlurmdUser=$ME
SlurmctldPort=$P
AuthType=auth/munge
CredType=cred/munge
# cred_expire is also the delay before a requeued job may start again (default 120 s)
AuthInfo=socket=$D/run/munge.sock,cred_expire=10
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool/%n
SlurmctldPidFile=$D/run/slurmctld.own
SlurmdPidFile=$D/run/%n.own
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill,UsePss
AccountingStorageType=accounting_storage/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=0
MinJobAge=600
KillWait=10
ReturnToService=2
SlurmdParameters=config_overrides
MailProg=/bin/true
GresTypes=gpu
$(for n in $ALL; do echo "NodeName=$n NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((P + ${n#n})) CPUs=$CPUS RealMemory=$MEM Gres=gpu:fake:$GPUS State=UNKNOWN"; done)
PartitionName=cpu Nodes=ALL Default=YES MaxTime=1:00:00 PriorityTier=10 PreemptMode=OFF
PartitionName=gpu Nodes=ALL MaxTime=1:00:00 PriorityTier=10 PreemptMode=OFF
PartitionName=low Nodes=ALL MaxTime=1:00:00 PriorityTier=1 PreemptMode=REQUEUE GraceTime=5
CONF
}

case ${1:-} in
install)
  export DEBIAN_FRONTEND=noninteractive
  [ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
  apt-get update -q && apt-get install -qy --no-install-recommends slurmctld slurmd slurm-client munge ;;
start)
  for c in munged slurmctld slurmd sbatch; do command -v "$c" >/dev/null || die "$c is missing: run '$0 install' as root"; done
  for d in $DAEMONS; do ! ours "$d" >/dev/null || die "$d already runs in $D: run '$0 stop' first"; done
  for p in $(seq $P $((P + ${NODES:-1}))); do ! (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || die "port $p is taken: set PORT0"; done
  wipe; mkdir -p "$D"/{run,log,state,spool,dev}; touch "$D/.one-node-slurm"; chmod 755 "$D" "$D/run"; chmod 700 "$D"/{state,spool}
  (umask 077; head -c 128 /dev/urandom >"$D/munge.key")
  write_conf
  daemon munged munged -F --socket="$D/run/munge.sock" --key-file="$D/munge.key" --pid-file="$D/run/munged.own" --seed-file="$D/run/munge.seed" --log-file="$D/log/munged.own.log"
  wait_for munged munge -n -S "$D/run/munge.sock"
  controller
  for n in $ALL; do daemon "$n" slurmd -D -N "$n"; done
  wait_for "idle nodes" idle ;;
down) end slurmctld ;;
up) controller ;;
stop)
  if ours slurmctld >/dev/null && timeout 10 scancel -u "$ME"; then
    for ((i = 0; i < 75; i++)); do [ -n "$(timeout 5 squeue -h -t R,CG)" ] || break; sleep 0.2; done
  fi
  for d in $DAEMONS; do end "$d"; done
  wipe ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
