// Package ember is the root of the Ember module: a persistent in-process cache
// for Go services. The cache itself is package
// [github.com/embercache/ember/cache]; start there.
//
// The packages stand on floors, and each looks only down: cache uses dump (the
// only writer) and loader (the only reader at start), which use dirty (the set
// of pages to write) and pagefile (every byte of every file). docs/DESIGN.md
// describes what is built and why, docs/FORMAT.md the files.
package ember
