package cache

import (
	"time"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// timeOf is the time in a directory once the wall clock tells that: what its newest cut
// saw, and what has passed since the record was cut, as far as the wall clock tells.
// Both count: the directory may be ahead of the wall clock, for it was once wrong, and
// what passes while no process runs ends times to live all the same. So does the
// record of a generation that somebody goes back from.
func timeOf(res *loader.Result, wall time.Time) int64 {
	at := max(res.Clock, lapsed(res.Record, wall))
	for _, r := range res.Retained {
		if r.Generation > res.Record.Generation {
			at = max(at, lapsed(r, wall))
		}
	}
	return at
}

// lapsed is a record's time, and what has passed since.
func lapsed(r *pagefile.Record, wall time.Time) int64 {
	return r.Clock + millis(wall.Sub(time.Unix(0, r.Wall)))
}
