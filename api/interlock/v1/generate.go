package interlockv1

//go:generate sh generate.sh
