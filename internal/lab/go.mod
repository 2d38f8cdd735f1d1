module github.com/embercache/ember/internal/lab

go 1.25.0

replace github.com/embercache/ember => ../..

require github.com/anishathalye/porcupine v1.3.1

require (
	github.com/embercache/ember v0.0.0
	github.com/hanwen/go-fuse/v2 v2.12.1
	golang.org/x/sys v0.47.0
)

require github.com/cespare/xxhash/v2 v2.3.0 // indirect
