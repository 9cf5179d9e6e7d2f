# Process 1 of a node. With it dies everything that it started.
set -eu

# Descriptor 3 is the lifeline: the lab's owner holds its other end. The first
# line comes when the cable is plugged in.
exec 3<&0 </dev/null
read -r _ <&3 || exit 0

mount --make-rprivate /
mount --bind "$DIR/run" /run
mount -t proc proc /proc
echo "$NAME" >/proc/sys/kernel/hostname

# A sysfs of the node's own shows its own network devices; the host's would show,
# and let the engine change, the host's.
mkdir -p /run/cgroup
mount --rbind /sys/fs/cgroup /run/cgroup
mount -t sysfs sysfs /sys
mount --rbind /run/cgroup /sys/fs/cgroup
umount -l /run/cgroup

# Engines keep a key in /etc/docker and folders in /opt.
mount -t overlay -o "lowerdir=/etc,upperdir=$DIR/etc,workdir=$DIR/etc.work" overlay /etc
mount -t tmpfs tmpfs /opt

ip link set lo up
ip address add "$ADDRESS" dev eth0
ip link set eth0 up

dockerd --config-file "$DIR/daemon.json" 3<&- &
engine=$!

# An end of the lifeline without the word "stay" means that the owner is gone.
trap 'exit 0' TERM
(
	while read -r word <&3; do
		[ "$word" != stay ] || exit 0
	done
	kill -TERM 1
) &
wait "$engine"
