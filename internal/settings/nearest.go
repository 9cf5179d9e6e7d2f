package settings

import "strings"

// nearest returns the name that a misspelt one was most likely meant to be,
// or "" if none is near: at most a third of the letters may differ, three at most.
func nearest(misspelt string, names []string) string {
	const longest = 64
	if len(misspelt) > longest {
		return ""
	}
	misspelt = strings.ToLower(misspelt)
	best, least := "", min(len(misspelt)/3, 3)+1
	for _, name := range names {
		if d := distance(misspelt, strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	return best
}

// distance is the number of bytes to add, drop, exchange, or swap with their
// neighbour to turn a into b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before, last, row = last, row, before
		row[0] = i + 1
		for j := range len(b) {
			cost := last[j]
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
	}
	return row[len(b)]
}
