package cache

import (
	"fmt"
	"time"

	"github.com/embercache/ember/loader"
	"github.com/embercache/ember/pagefile"
)

// timeOf is the time in a directory once the wall clock tells that: what its newest cut
// saw, and what has passed since the record was cut, as far as the wall clock tells.
// Both count: the directory may be ahead of the wall clock, for it was once wrong, and
// what passes while no process runs ends times to live all the same. So does the
// record of a generation that somebody goes back from, unless that is out of range.
// res.Clock is the record's own at least.
func timeOf(res *loader.Result, wall time.Time) int64 {
	at := max(res.Clock, lapsed(res.Record, wall))
	for _, r := range res.Retained {
		if t := lapsed(r, wall); r.Generation > res.Record.Generation && t <= lastTime {
			at = max(at, t)
		}
	}
	return at
}

// lapsed is a record's time, and what has passed since. Where one of the two wall clocks
// is not believed, their difference tells nothing.
func lapsed(r *pagefile.Record, wall time.Time) int64 {
	then := time.Unix(0, r.Wall)
	if era(then) != era(wall) {
		return r.Clock
	}
	return r.Clock + millis(wall.Sub(then))
}

// checkTime refuses what is beyond the range of times: every time to live would be over
// at once, for ever. Times begin anew with an empty cache, or what was over would be back.
func checkTime(res *loader.Result, wall time.Time) error {
	if at := timeOf(res, wall); at > lastTime {
		return fmt.Errorf("cache: generation %d: the directory's clock is beyond the year 2053, where times to live end: %d ms since 2020; the wall clock was wrong when it was written, or is now: look after the machine's clock", res.Record.Generation, at)
	}
	return nil
}
