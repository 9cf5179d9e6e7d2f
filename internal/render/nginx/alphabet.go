package nginx

// alphabet is a set of ASCII characters: a table, since a file asks of hundreds
// of thousands.
type alphabet [128]bool

func newAlphabet(characters string) (a alphabet) {
	for i := range len(characters) {
		a[characters[i]] = true
	}
	return a
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// spells says whether a text has no other characters.
func (a *alphabet) spells(s string) bool {
	for i := range len(s) {
		if s[i] >= 128 || !a[s[i]] {
			return false
		}
	}
	return true
}
