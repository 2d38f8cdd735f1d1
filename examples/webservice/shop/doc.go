// Package shop is a web service as one would write it: products in SQLite, and
// an Ember cache before it that is warm after a deploy.
//
// What belongs to the cache is in cached.go (how it is opened, the typed view,
// and what keeps it right over a restart), http.go (reads and a change), and
// server.go (the start and the end of the process). product.go changes the
// cached type in a deploy; plain.go is a Go map to compare with.
package shop
