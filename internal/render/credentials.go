package render

// Pair is the content of a credential as it was found, in PEM: checked by
// nobody yet. Both are the same where one material holds both.
type Pair struct{ Chain, Key []byte }

// Credentials are the contents at hand, by the name of the virtual host that
// they are for. A host that the table gives a credential and that is not there
// is not served over TLS.
type Credentials map[string]Pair
