#!/bin/bash
# A Slurm cluster of this machine alone, for tests, in a directory:
#
#   tests/slurm_node.sh start DIR     leaves DIR/slurm.conf for SLURM_CONF
#   tests/slurm_node.sh stop DIR
#
# Exit status 77 when this machine does not allow it: Debian's slurm-wlm and
# munge are not installed, or the user is not root.
set -u
dir=$(mkdir -p "$2" && cd "$2" && pwd) || exit 1
export PATH=$PATH:/usr/sbin:/sbin SLURM_CONF=$dir/slurm.conf
if [ "$1" = stop ]; then
    for daemon in slurmd slurmctld munged; do
        pid=$(cat "$dir/$daemon.pid" 2>/dev/null) && kill "$pid" || continue
        for _ in $(seq 100); do # until it has written its state
            grep -q '^State:.[^Z]' "/proc/$pid/status" 2>/dev/null || break
            sleep 0.1
        done
    done
    exit 0
fi
[ "$(id -u)" = 0 ] && command -v slurmctld slurmd munged sbatch >/dev/null ||
    exit 77
port=$((20000 + $$ % 20000)) node=$(hostname)
cat >"$SLURM_CONF" <<CONF
ClusterName=one
SlurmctldHost=$node
AuthType=auth/munge
AuthInfo=socket=$dir/munge
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$port
SlurmdPort=$((port + 1))
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
NodeName=$node CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
mkdir -p "$dir/state" "$dir/spool"
head -c 128 /dev/urandom >"$dir/key" && chmod 400 "$dir/key"
munged --force --key-file="$dir/key" --socket="$dir/munge" \
    --pid-file="$dir/munged.pid" --log-file="$dir/munged.log" \
    --seed-file="$dir/seed" && slurmctld && slurmd -N "$node" || exit 77
for _ in $(seq 100); do
    sinfo -h -o %t 2>/dev/null | grep -q idle && exit 0
    sleep 0.2
done
exit 77
