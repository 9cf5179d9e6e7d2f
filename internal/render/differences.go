package render

import "strings"

// Differences are the files of after that before has not, or not the same, and
// those of before that after has not. Both are in the order of their paths.
func Differences(before, after *Bundle) (changed, gone []File) {
	from, to := before.Files, after.Files
	for len(from) > 0 || len(to) > 0 {
		var order int
		switch {
		case len(from) == 0:
			order = 1
		case len(to) == 0:
			order = -1
		default:
			order = strings.Compare(from[0].Path, to[0].Path)
		}
		if order < 0 {
			gone = append(gone, from[0])
		} else if order > 0 || !from[0].same(&to[0]) {
			changed = append(changed, to[0])
		}
		if order <= 0 {
			from = from[1:]
		}
		if order >= 0 {
			to = to[1:]
		}
	}
	return changed, gone
}

// same compares two files of one path.
func (f *File) same(other *File) bool {
	return f.Mode == other.Mode && f.Sensitive == other.Sensitive && f.Equal(other.Content)
}
