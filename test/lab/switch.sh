# Process 1 of the switch. With it dies everything that it started.
set -eu

# Descriptor 3 is the lifeline: the lab's owner holds its other end. The first
# line comes when the host's cable is plugged in.
exec 3<&0 </dev/null
read -r _ <&3 || exit 0

mount --make-rprivate /
mount --bind "$DIR/run" /run
mount -t proc proc /proc

ip link set lo up
ip link add br0 address "$MAC" type bridge
ip address add "$ADDRESS" dev br0
ip link set host master br0 up
ip link set br0 up
echo 1 >/proc/sys/net/bridge/bridge-nf-call-iptables

docker-registry serve "$DIR/registry.yml" 3<&- &
registry=$!

# An end of the lifeline without the word "stay" means that the owner is gone.
trap 'exit 0' TERM
(
	while read -r word <&3; do
		[ "$word" != stay ] || exit 0
	done
	kill -TERM 1
) &
wait "$registry"
