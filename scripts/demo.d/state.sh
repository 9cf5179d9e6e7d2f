# What the demo has made, as lines "kind name". Sourced by scripts/demo.

readonly state_folder=${DEMO_STATE:-/var/lib/interlock-demo}
readonly state=$state_folder/made

# lock_state keeps a second demo off until this one ends.
lock_state() {
	mkdir -p "$state_folder"
	exec 8>"$state_folder/lock"
	flock -n 8 || fail "another make demo or make demo-down is at work"
}

anything_made() { [ -s "$state" ]; }

# remember KIND NAME is called before the thing is made: an interrupted run
# leaves nothing that is not written down.
remember() {
	made "$1" "$2" || echo "$1 $2" >>"$state"
}

# forget KIND NAME takes it back, where making it failed.
forget() { sed -i "\\|^$1 $2\$|d" "$state"; }

made() { grep -qsxF "$1 $2" "$state"; }

# recall KIND prints the names of that kind.
recall() {
	[ ! -e "$state" ] || sed -n "s/^$1 //p" "$state"
}

forget_everything() { rm -f "$state"; }
