package main

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"html/template"
	"net/http"
)

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Parse(pageSource))

// page serves the page that keeps asking /ping and shows who answers. It asks
// relative to itself, so that it works under a context root too.
func (a *app) page(w http.ResponseWriter, r *http.Request) {
	nonce := rand.Text()
	var body bytes.Buffer
	err := pageTemplate.Execute(&body, struct {
		identity
		Nonce string
	}{a.identity, nonce})
	if err != nil {
		http.Error(w, "render the page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	startSession(w, r)
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; img-src data:; "+
		"base-uri 'none'; form-action 'none'; style-src 'nonce-"+nonce+"'; script-src 'nonce-"+nonce+"'")
	_, _ = body.WriteTo(w) // fails only where the client left
}
