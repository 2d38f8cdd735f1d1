//go:build !race

package dump

const racing = false
