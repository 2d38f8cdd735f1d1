module github.com/embercache/ember

go 1.25.0

require (
	github.com/cespare/xxhash/v2 v2.3.0
	golang.org/x/sys v0.47.0
)
