#!/usr/bin/env bash
# A Slurm of one node on this machine's loopback: tests/slurm/cluster.sh start|stop FOLDER
#
# Needs root and Debian's slurmctld, slurmd, slurm-client and munge. Everything it writes lies in FOLDER, but for the
# link /etc/slurm/slurm.conf: jobs of Snakemake know Slurm's usual place alone. A machine that has one is left alone.
set -euo pipefail
command=${1:?start or stop}
usual=/etc/slurm/slurm.conf
folder=$(realpath -m "${2:?a folder}")

stop() {
    local program pid
    for program in slurmd slurmctld munged; do
        pid=$(cat "$folder/$program.pid" 2>/dev/null) && kill "$pid" 2>/dev/null || continue
        # A controller told to stop saves its state first: until it is gone, FOLDER is not anybody else's to remove.
        for _ in $(seq 150); do
            test -e "/proc/$pid/exe" || break
            sleep 0.2
        done
        ! test -e "/proc/$pid/exe" || kill -KILL "$pid" 2>/dev/null || true
    done
    if test "$(readlink "$usual")" = "$folder/slurm.conf"; then rm "$usual"; fi
}

start() {
    if test -e "$usual"; then
        echo "$usual is there: this machine has a Slurm of its own" >&2
        exit 1
    fi
    mkdir -p /etc/slurm "$folder/state" "$folder/spool" "$folder/munge"
    chmod 755 "$folder"
    # munged refuses keys, sockets and logs that others could have written.
    chown -R munge: "$folder/munge"
    chmod 711 "$folder/munge"
    dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
    chown munge: "$folder/munge/key"
    chmod 400 "$folder/munge/key"
    touch "$folder/munged.pid" && chown munge: "$folder/munged.pid"
    runuser -u munge -- /usr/sbin/munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" \
        --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
    cp "$folder/munge/pid" "$folder/munged.pid"

    local host memory
    host=$(hostname -s)
    memory=$(awk '/MemTotal/ { print int($2 / 1024 * 0.9) }' /proc/meminfo)
    cat > "$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmdPort=16818
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
# No kernel features beyond what a container has.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,batch_sched_delay=1
ReturnToService=2
KillWait=2
MinJobAge=600
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
    ln -sf "$folder/slurm.conf" "$usual"
    /usr/sbin/slurmctld
    /usr/sbin/slurmd
    for _ in $(seq 60); do
        if sinfo --noheader --format=%T 2>/dev/null | grep -q idle; then
            sinfo
            return
        fi
        sleep 1
    done
    tail -n 20 "$folder"/*.log >&2
    echo "Slurm did not come up" >&2
    exit 1
}

"$command"
